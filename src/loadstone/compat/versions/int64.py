"""Versions packed into a signed 64-bit integer, as Baldur's Gate 3 stores them in the attribute Version64.

major << 55 | minor << 47 | revision << 31 | build; "36028797018963968" is 1.0.0.0.
"""

import re

from loadstone.compat.ranges import SortKey
from loadstone.compat.versions.base import Version
from loadstone.compat.versions.comparing import ComparatorScheme
from loadstone.compat.versions.guess import line

_PACKED = re.compile(r"(-?)([0-9]+)")
_DOTTED = re.compile(r"([0-9]+)\.([0-9]+)\.([0-9]+)\.([0-9]+)")
_SHIFTS = (55, 47, 31, 0)
_BITS = (8, 8, 16, 31)
_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1


class Int64Scheme(ComparatorScheme):
    """The order of the integers. A dotted text of four numbers is read as the integer that packs them."""

    name = "int64"

    def _key(self, raw: str) -> SortKey:
        return _encode(self.packed(raw))

    def _version(self, raw: str) -> Version:
        value = self.packed(raw)
        major, minor, _, _ = unpack(value)
        return Version(raw, self.name, _encode(value), 0, "release", line(str(major), str(minor)))

    def packed(self, raw: str) -> int:
        """The integer that `raw` writes, in decimal or as four numbers. Raises InvalidVersion."""
        plain = _PACKED.fullmatch(raw)
        if plain is not None:
            return self._integer(raw, plain[1], plain[2])
        dotted = _DOTTED.fullmatch(raw)
        if dotted is None:
            raise self._invalid(raw, "it must be a whole number or four numbers between dots such as 1.0.0.0")
        value = 0
        for digits, shift, bits in zip(dotted.groups(), _SHIFTS, _BITS, strict=True):
            value |= self._field(raw, digits, bits) << shift
        return value

    def _integer(self, raw: str, sign: str, digits: str) -> int:
        significant = digits.lstrip("0") or "0"
        value = int(sign + significant) if len(significant) <= len(str(_HIGHEST)) else _HIGHEST + 1
        if not _LOWEST <= value <= _HIGHEST:
            raise self._invalid(raw, "it does not fit into 64 bits with a sign")
        return value

    def _field(self, raw: str, digits: str, bits: int) -> int:
        significant = digits.lstrip("0") or "0"
        if len(significant) > len(str(1 << bits)) or int(significant) >> bits:
            raise self._invalid(raw, "the four numbers must be below 256, 256, 65536 and 2147483648")
        return int(significant)


def unpack(value: int) -> tuple[int, int, int, int]:
    """Major, minor, revision and build of a packed version."""
    major, minor, revision, build = (
        (value >> shift) & ((1 << bits) - 1) for shift, bits in zip(_SHIFTS, _BITS, strict=True)
    )
    return major, minor, revision, build


def _encode(value: int) -> SortKey:
    return SortKey((value - _LOWEST).to_bytes(8, "big"))
