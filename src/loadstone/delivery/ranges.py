"""Range requests (RFC 9110 §13 and §14): which bytes a request wants of a file of a known size and digest."""

import re
from typing import Final

import msgspec

from loadstone.kernel.errors import PreconditionFailedError, Problem

_LONGEST_HEADER: Final = 1024
_RANGE: Final = re.compile(r"(\d*)\s*-\s*(\d*)")


class RangeNotSatisfiableError(Problem):
    code = "range-not-satisfiable"
    status = 416
    title = "The file is shorter than the range that you ask for; its size is in Content-Range"


class Span(msgspec.Struct, frozen=True):
    """The bytes from ``start`` up to, not including, ``end``."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


def wanted_span(headers: dict[bytes, bytes], size: int, etag: bytes) -> Span | None:
    """The one range that is wanted, or None for the whole file.

    A header that is malformed, in another unit, or names several ranges that do not overlap is ignored, as
    RFC 9110 §14.2 allows: the answer is the whole file, never more. Ranges that touch become one.
    Raises :class:`RangeNotSatisfiableError`.
    """
    header = headers.get(b"range")
    if header is None or size == 0 or len(header) > _LONGEST_HEADER:
        return None
    condition = headers.get(b"if-range")
    if condition is not None and condition.strip() != etag:  # a date never fits: we send no Last-Modified
        return None
    spans = _parse(header, size)
    if spans is None:
        return None
    if not spans:
        raise RangeNotSatisfiableError(headers={"Content-Range": f"bytes */{size}"})
    return _joined(spans)


def not_modified(headers: dict[bytes, bytes], etag: bytes) -> bool:
    """Whether ``If-None-Match`` says that the client has the file (RFC 9110 §13.1.2)."""
    given = headers.get(b"if-none-match")
    return given is not None and _names(given, etag, weak=True)


def check_if_match(headers: dict[bytes, bytes], etag: bytes) -> None:
    """Raises :class:`PreconditionFailedError` when ``If-Match`` names another file (RFC 9110 §13.1.1)."""
    given = headers.get(b"if-match")
    if given is not None and not _names(given, etag, weak=False):
        raise PreconditionFailedError("The file's ETag is another one.", headers={"ETag": etag.decode()})


def _names(given: bytes, etag: bytes, *, weak: bool) -> bool:
    if given.strip() == b"*":
        return True
    tags = (tag.strip() for tag in given.split(b","))
    return any((tag.removeprefix(b"W/") if weak else tag) == etag for tag in tags)


def _parse(header: bytes, size: int) -> list[Span] | None:
    """The satisfiable ranges; None when the header is none that we know."""
    unit, separator, text = header.decode("latin-1").partition("=")
    if unit.strip().lower() != "bytes" or not separator:
        return None
    spans = []
    for part in text.split(","):
        if not part.strip():  # an empty element of a list is ignored (RFC 9110 §5.6.1)
            continue
        match = _RANGE.fullmatch(part.strip())
        if match is None or not (match[1] or match[2]):
            return None
        if match[1] and match[2] and int(match[1]) > int(match[2]):
            return None
        span = _span(match[1], match[2], size)
        if span is not None:
            spans.append(span)
    return spans if text.strip(", \t") else None


def _span(first: str, last: str, size: int) -> Span | None:
    """One range inside the file; None when it lies behind the end."""
    if not first:
        length = min(int(last), size)
        return Span(size - length, size) if length else None
    if int(first) >= size:
        return None
    return Span(int(first), min(int(last) + 1, size) if last else size)


def _joined(spans: list[Span]) -> Span | None:
    """Ranges that overlap or touch as one; None when there is a gap."""
    ordered = sorted(spans, key=lambda s: s.start)
    end = ordered[0].end
    for span in ordered[1:]:
        if span.start > end:
            return None
        end = max(end, span.end)
    return Span(ordered[0].start, end)
