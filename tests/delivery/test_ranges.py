"""Range headers: what is wanted of a file, by RFC 9110 §14."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone.delivery.ranges import RangeNotSatisfiableError, Span, check_if_match, not_modified, wanted_span
from loadstone.kernel.errors import PreconditionFailedError

ETAG = b'"abc"'


def wanted(header: str, size: int = 1000, **more: bytes) -> Span | None:
    headers = {b"range": header.encode()} | {name.replace("_", "-").encode(): value for name, value in more.items()}
    return wanted_span(headers, size, ETAG)


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", Span(0, 1)),
        ("bytes=0-499", Span(0, 500)),
        ("bytes=500-", Span(500, 1000)),
        ("bytes=-1", Span(999, 1000)),
        ("bytes=-5000", Span(0, 1000)),
        ("bytes=999-99999999999999999999999999", Span(999, 1000)),
        ("BYTES=1-2", Span(1, 3)),
        ("bytes= 1 - 2 ", Span(1, 3)),
        ("bytes=,,1-2,", Span(1, 3)),
        ("bytes=0-9,10-19", Span(0, 20)),
        ("bytes=15-19,0-15", Span(0, 20)),
        ("bytes=5-9,2000-", Span(5, 10)),
    ],
)
def test_one_range_is_answered(header: str, span: Span) -> None:
    assert wanted(header) == span


@pytest.mark.parametrize(
    "header",
    [
        "", "bytes", "bytes=", "bytes=,", "bytes=-", "bytes=a-b", "bytes=1", "bytes=2-1", "bytes=--1", "bytes=1--2",
        "bytes=0x1-2", "items=0-1", "bytes=0-1,x", "bytes=1-2-3", "bytes=0-9,20-29", "bytes=²-3",
        "bytes=" + ",".join("0-0" for _ in range(5000)), "bytes=" + "9" * 5000 + "-",
    ],
)  # fmt: skip
def test_what_cannot_be_one_range_means_the_whole_file(header: str) -> None:
    assert wanted(header) is None


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=5000-,-0"])
def test_a_range_behind_the_end_is_refused_with_the_size(header: str) -> None:
    with pytest.raises(RangeNotSatisfiableError) as refused:
        wanted(header)
    assert refused.value.headers == {"Content-Range": "bytes */1000"}


def test_an_empty_file_is_always_sent_whole() -> None:
    assert wanted("bytes=0-", size=0) is None
    assert wanted("bytes=-1", size=0) is None


@pytest.mark.parametrize(
    ("condition", "span"),
    [
        (ETAG, Span(1, 3)),
        (b'"other"', None),
        (b'W/"abc"', None),
        (b"Wed, 21 Oct 2015 07:28:00 GMT", None),
    ],
)
def test_a_range_of_another_version_becomes_the_whole_file(condition: bytes, span: Span | None) -> None:
    assert wanted("bytes=1-2", if_range=condition) == span


@given(st.text(max_size=60).map(lambda text: f"bytes={text}"), st.integers(0, 50))
def test_no_header_reaches_outside_the_file(header: str, size: int) -> None:
    try:
        span = wanted_span({b"range": header.encode("utf-8", "surrogatepass")}, size, ETAG)
    except RangeNotSatisfiableError:
        return
    assert span is None or 0 <= span.start < span.end <= size


def test_a_known_file_is_not_sent_again() -> None:
    assert not_modified({b"if-none-match": b'"x", W/"abc"'}, ETAG)
    assert not_modified({b"if-none-match": b"*"}, ETAG)
    assert not not_modified({b"if-none-match": b'"x"'}, ETAG)
    assert not not_modified({}, ETAG)


def test_a_condition_on_another_file_fails() -> None:
    check_if_match({b"if-match": b'"x", "abc"'}, ETAG)
    check_if_match({b"if-match": b"*"}, ETAG)
    check_if_match({}, ETAG)
    for other in (b'"x"', b'W/"abc"'):
        with pytest.raises(PreconditionFailedError):
            check_if_match({b"if-match": other}, ETAG)
