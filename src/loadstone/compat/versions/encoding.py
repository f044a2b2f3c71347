"""Pieces of sort keys: byte strings that concatenate, and compare as the values they stand for.

Every piece delimits itself, so that a longer neighbour never changes how two keys compare.
"""

_LONG = 0xF0
_SHORT_NUMBERS = tuple(bytes((len(str(n) if n else ""),)) + (str(n) if n else "").encode() for n in range(1000))


def number(digits: str) -> bytes:
    """ASCII decimal digits (of any length; none means zero) as bytes that order by value.

    A length byte, then the significant digits: no conversion to an integer, whose cost grows quadratically.
    """
    if len(digits) <= 3:
        return _SHORT_NUMBERS[int(digits or "0")]
    significant = digits.lstrip("0").encode("ascii")
    size = len(significant)
    if size < _LONG:
        return bytes((size,)) + significant
    return bytes((_LONG,)) + size.to_bytes(8, "big") + significant


def text(value: str) -> bytes:
    """Text as bytes that order by code point, with an end mark. What follows must not start with 0xFF."""
    return value.encode("utf-8", "surrogatepass").replace(b"\x00", b"\x00\xff") + b"\x00"
