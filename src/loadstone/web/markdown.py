"""Markdown of strangers, made harmless: CommonMark without raw HTML, then cleaned by nh3."""

from functools import lru_cache
from typing import Final

import nh3
from markdown_it import MarkdownIt

MOST_CHARACTERS: Final = 60_000
_PARSER: Final = MarkdownIt("commonmark", {"html": False, "linkify": False, "maxNesting": 12}).enable(
    ["table", "strikethrough"]
)
_TAGS: Final = {
    "a", "abbr", "b", "blockquote", "br", "code", "del", "em", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img",
    "li", "ol", "p", "pre", "s", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
_ATTRIBUTES: Final = {"a": {"href", "title"}, "img": {"src", "alt", "title"}, "th": {"align"}, "td": {"align"}}


@lru_cache(maxsize=512)
def to_html(text: str) -> str:
    """Clean HTML of a description. Headings move one level down, so that a page keeps its one ``h1``."""
    rendered = _PARSER.render(text[:MOST_CHARACTERS])
    for level in (5, 4, 3, 2, 1):
        rendered = rendered.replace(f"<h{level}>", f"<h{level + 1}>").replace(f"</h{level}>", f"</h{level + 1}>")
    return nh3.clean(
        rendered,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow ugc noopener",
    )
