"""Markdown of strangers, made harmless: CommonMark without raw HTML, then cleaned by nh3."""

import asyncio
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import nh3
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

MOST_CHARACTERS: Final = 60_000
_LONG: Final = 2_000
_OURS: Final = "/media/"
_TAGS: Final = {
    "a", "abbr", "b", "blockquote", "br", "code", "del", "em", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img",
    "li", "ol", "p", "pre", "s", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
_ATTRIBUTES: Final = {"a": {"href", "title"}, "img": {"src", "alt", "title"}, "th": {"align"}, "td": {"align"}}


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "linkify": False, "maxNesting": 12})
    parser.enable(["table", "strikethrough"])
    parser.add_render_rule("image", _image)
    parser.add_render_rule("link_open", _link)
    parser.add_render_rule("link_close", _link)
    return parser


def _link(renderer: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    env["in link"] = tokens[at].nesting == 1
    return renderer.renderToken(tokens, at, options, env)


def _image(renderer: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    """A picture of this site's own galleries; from elsewhere, a link to it: readers are not counted by strangers."""
    source = str(tokens[at].attrs.get("src", ""))
    text = escapeHtml(renderer.renderInlineAsText(tokens[at].children or [], options, env))
    if source.startswith(_OURS):
        return f'<img src="{escapeHtml(source)}" alt="{text}">'
    if env.get("in link"):
        return text or "picture"
    return f'<a href="{escapeHtml(source)}">{text or "picture"}</a>'


_PARSER: Final = _parser()


async def prepare(texts: Iterable[str]) -> None:
    """Render long texts beside the event loop; the template that shows them then finds them done."""
    long = [text for text in texts if len(text) > _LONG]
    if long:
        await asyncio.to_thread(lambda: [to_html(text) for text in long])


@lru_cache(maxsize=128)
def to_html(text: str) -> str:
    """Clean HTML of a description. Headings move one level down, so that a page keeps its one ``h1``."""
    rendered = _PARSER.render(text[:MOST_CHARACTERS], {})
    for level in (5, 4, 3, 2, 1):
        rendered = rendered.replace(f"<h{level}>", f"<h{level + 1}>").replace(f"</h{level}>", f"</h{level + 1}>")
    return nh3.clean(
        rendered,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow ugc noopener",
    )
