"""Descriptions are written by strangers."""

import re
import time

import pytest

from loadstone.web.markdown import MOST_CHARACTERS, prepare, to_html

HARMLESS_TAGS = re.compile(
    r"</?(a|abbr|b|blockquote|br|code|del|em|h[2-6]|hr|i|img|li|ol|p|pre|s|strong|sub|sup|table|tbody|td|th|thead|tr|ul)"
    r"( (href|title|src|alt|align|rel)=\"[^\"<>]*\")*>"
)
HOSTILE = [
    "<script>alert(1)</script>",
    "a <img src=x onerror=alert(1)> b",
    "<svg/onload=alert(1)>",
    "[a](javascript:alert(1))",
    "[a](JaVaScRiPt:alert(1))",
    "[a](&#106;avascript:alert(1))",
    "[a](java\tscript:alert(1))",
    "<javascript:alert(1)>",
    "[a](data:text/html;base64,PHNjcmlwdD4=)",
    "[a](vbscript:x)",
    "![a](javascript:alert(1))",
    '![a" onerror="alert(1)](/media/x.webp)',
    '![a](/media/x.webp"onerror="alert(1) "t")',
    "![a](https://far.example/pixel.png)",
    '[a](https://e.org "t\\" onclick=\\"alert(1)")',
    "<style>*{display:none}</style>",
    "<iframe src=//e.org></iframe>",
    "```<script>\nalert(1)\n```",
    "`<b onclick=x>`",
    "| <a onclick=x> |\n|---|\n| <form action=//e.org> |",
    "\x00<b>\ufffd",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_a_stranger_writes_can_run_or_load(text: str) -> None:
    html = to_html(text)
    rest = HARMLESS_TAGS.sub("", html)
    assert "<" not in rest
    for href in re.findall(r'href="([^"]*)"', html):
        assert href.startswith(("http://", "https://", "mailto:", "/", "#")), href
    assert all(src.startswith("/media/") for src in re.findall(r'src="([^"]*)"', html))


def test_a_page_keeps_its_one_h1() -> None:
    assert to_html("# a\n\n## b\n\n###### c") == "<h2>a</h2>\n<h3>b</h3>\n<h6>c</h6>\n"


def test_a_picture_from_elsewhere_is_a_link_to_it_and_keeps_the_link_around_it() -> None:
    far = "https://e.org/a.png"
    assert f'<a href="{far}"' in to_html(f"![badge]({far})")
    around = to_html(f"[![badge]({far})](https://e.org/there) ![]({far})")
    assert around.count("<a ") == 2
    assert '<a href="https://e.org/there" rel="nofollow ugc noopener">badge</a>' in around
    assert ">picture</a>" in around


def test_a_picture_of_a_gallery_here_is_shown() -> None:
    assert to_html("![a & b](/media/img_1.webp)") == '<p><img src="/media/img_1.webp" alt="a &amp; b"></p>\n'


BOMBS = (
    "[", "![", "[a](", "[![a](http://x/b)](c) ", ">", "*a ", "_a__b", "`", "|a", "&", "<", "<!--", "- ", "  - a\n",
    "\\", "a\n\n",
)  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_nesting_and_repetition_cost_no_more_than_their_length(bomb: str) -> None:
    text = bomb * MOST_CHARACTERS

    def processor_seconds(length: int) -> float:
        began = time.process_time()
        to_html(text[:length])
        return time.process_time() - began

    processor_seconds(1000)
    quarter, whole = processor_seconds(MOST_CHARACTERS // 4), processor_seconds(MOST_CHARACTERS)
    assert whole / max(quarter, 0.02) < 12  # four times the text: 4 if the cost is linear, 16 if it is quadratic


def test_what_is_too_long_is_cut() -> None:
    assert len(to_html("a" * (MOST_CHARACTERS + 5))) < MOST_CHARACTERS + 20


async def test_a_long_text_is_ready_when_the_page_is_made() -> None:
    text = "word " * 5000
    await prepare([text, "short"])
    hits = to_html.cache_info().hits
    to_html(text)
    assert to_html.cache_info().hits == hits + 1
