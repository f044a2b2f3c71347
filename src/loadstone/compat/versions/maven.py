"""Maven's ComparableVersion and VersionRange (maven.apache.org/pom.html, "Version Order Specification").

As of Maven 4, where comparing is transitive. Forge and NeoForge read their mods' ranges by it.
"""

import re
from typing import NamedTuple

from loadstone.compat.ranges import Interval, Range, SortKey
from loadstone.compat.versions.base import BaseScheme, Version
from loadstone.compat.versions.encoding import number, text
from loadstone.compat.versions.guess import channel_of, line_of

_RANKS = {"alpha": 1, "beta": 2, "milestone": 3, "rc": 4, "cr": 4, "snapshot": 5, "sp": 7}
_RELEASE = 6
_UNKNOWN = 8
_RANKS |= dict.fromkeys(("", "ga", "final", "release"), _RELEASE)
_SHORT = {"a": "alpha", "b": "beta", "m": "milestone"}

_QUALIFIER_ONLY, _QUALIFIER_WITH_NUMBER = b"\x01", b"\x02"
_NESTED_NUMBER, _NUMBER = b"\x20", b"\x21"
_END = bytes((_RELEASE,)) + _QUALIFIER_ONLY + b"\x02"

_TOKEN = re.compile(r"(?P<digits>[0-9]++)|(?P<word>[^0-9.\-]++)(?:-?(?P<tail>[0-9]++))?|(?P<separator>[.\-])")
_SET = re.compile(r"\s*([\[(])([^\[\]()]*)([\])])\s*(,?)\s*")


class _Item(NamedTuple):
    """A number (`word` None) or a qualifier, perhaps with a number; `nests` when it opens a list."""

    word: str | None
    digits: str
    nests: bool

    @property
    def is_zero(self) -> bool:
        return self.word is None and not self.digits


class MavenScheme(BaseScheme):
    """Numbers and qualifiers: 1-alpha < 1-rc < 1-snapshot < 1 = 1.0 = 1-ga < 1-sp < 1-abc < 1-1 < 1.1."""

    name = "maven"

    def _key(self, raw: str) -> SortKey:
        if not raw.strip():
            raise self._invalid(raw, "it is empty; write a version such as 1.0")
        return SortKey(_encode(_normalized(_items(raw.lower()))))

    def _version(self, raw: str) -> Version:
        return Version(raw, self.name, self.key(raw), 0, channel_of(raw), line_of(raw))

    def format_range(self, r: Range) -> str:
        """Sets in brackets. `*` and `none` are not Maven's, which has no words for them."""
        if r.is_empty:
            return "none"
        return ",".join(_format_set(interval) for interval in r.intervals)

    def _parse_range(self, text: str) -> Range:
        """Sets such as `[1.0,2.0),[3.0,)`; a version without brackets only recommends, and so allows all."""
        if not text:
            raise self._invalid_range(text, "it is empty; write [1.0,) or * for any version")
        if text[0] not in "[(":
            self.key(text)
            return Range.any()
        sets: list[Interval] = []
        position = 0
        while position < len(text):
            found = _SET.match(text, position)
            if found is None:
                raise self._invalid_range(text, "every set must be in brackets, such as [1.0,2.0)")
            sets.append(self._set(text, found))
            position = found.end()
        return Range.of(sets)

    def _set(self, text: str, found: re.Match[str]) -> Interval:
        low_inclusive, high_inclusive = found[1] == "[", found[3] == "]"
        low, comma, high = (part.strip() for part in found[2].partition(","))
        if not comma:
            if not (low and low_inclusive and high_inclusive):
                raise self._invalid_range(text, "a single version must stand in square brackets, such as [1.0]")
            key = self.key(low)
            return Interval(key, low, True, key, low, True)
        if "," in high:
            raise self._invalid_range(text, "a set has a lower and an upper bound and no more")
        interval = Interval(
            self.key(low) if low else None,
            low or None,
            bool(low) and low_inclusive,
            self.key(high) if high else None,
            high or None,
            bool(high) and high_inclusive,
        )
        if interval.is_empty:
            raise self._invalid_range(text, "the lower bound of a set is not below its upper bound")
        return interval


def _format_set(interval: Interval) -> str:
    if interval.is_any:
        return "*"
    if interval.is_single:
        return f"[{interval.low_raw}]"
    opening = "[" if interval.low_inclusive else "("
    closing = "]" if interval.high_inclusive else ")"
    return f"{opening}{interval.low_raw or ''},{interval.high_raw or ''}{closing}"


def _items(version: str) -> list[_Item]:
    """The items of Maven's nested lists, flattened: there a list is always the last item of its parent."""
    items: list[_Item] = []
    in_list = 0  # items already in the innermost list
    fresh = False  # whether the next item opens a list
    expects_item = True
    for token in _TOKEN.finditer(version):
        if token["separator"]:
            if expects_item:
                items.append(_Item(None, "", fresh))
                fresh, in_list = False, 1 if fresh else in_list + 1
            expects_item = True
            if token["separator"] == "-":
                fresh, in_list = True, 0
            continue
        follows_number = not expects_item
        last = token.end() == len(version)
        nests = fresh or (in_list > 0 and (follows_number or bool(token["tail"]) or (bool(token["word"]) and last)))
        items.append(_item(token, nests))
        fresh, in_list = False, 1 if nests else in_list + 1
        expects_item = False
    return items


def _item(token: re.Match[str], nests: bool) -> _Item:
    word: str | None = token["word"]
    if word is None:
        return _Item(None, token["digits"].lstrip("0"), nests)
    if token["tail"] is None:
        return _Item(word, "-", nests)
    return _Item(_SHORT.get(word, word), token["tail"].lstrip("0"), nests)


def _normalized(items: list[_Item]) -> list[_Item]:
    """Without the zeros that end the version or stand before a qualifier."""
    kept: list[_Item] = []
    for item in reversed(items):
        if item.is_zero and (not kept or kept[-1].word is not None):
            if kept and item.nests and not kept[-1].nests:
                kept[-1] = kept[-1]._replace(nests=True)
            continue
        kept.append(item)
    kept.reverse()
    return kept


def _encode(items: list[_Item]) -> bytes:
    """Bytes whose order is Maven's.

    Maven pads the shorter list with nothing, and compares a nested list with a qualifier by its first item.
    So after a qualifier comes a byte: on which side of nothing the rest lies, and how deep it stands.
    """
    sides = _sides(items)
    pieces: list[bytes] = []
    for position, item in enumerate(items):
        if item.word is None:
            pieces.append((_NESTED_NUMBER if item.nests and position else _NUMBER) + number(item.digits))
            continue
        pieces.append(_encode_qualifier(item))
        side = sides[position + 1]
        if side == 0:
            pieces.append(b"\x02")
            return b"".join(pieces)
        depth = 2 if item.nests and position else 1
        pieces.append(bytes((2 + side * depth,)))
    return b"".join(pieces) + _END


def _encode_qualifier(item: _Item) -> bytes:
    rank = _RANKS.get(item.word or "", _UNKNOWN)
    head = bytes((rank,)) + (text(item.word or "") if rank == _UNKNOWN else b"")
    if item.digits == "-" or (rank == _RELEASE and not item.digits):
        return head + _QUALIFIER_ONLY
    return head + _QUALIFIER_WITH_NUMBER + number(item.digits)


def _sides(items: list[_Item]) -> list[int]:
    """For each position, whether what starts there is older (-1) or newer (1) than nothing, or neither."""
    sides = [0] * (len(items) + 1)
    for position in range(len(items) - 1, -1, -1):
        sides[position] = _side(items[position]) or sides[position + 1]
    return sides


def _side(item: _Item) -> int:
    if item.word is None:
        return 1 if item.digits else 0
    rank = _RANKS.get(item.word, _UNKNOWN)
    if rank != _RELEASE:
        return -1 if rank < _RELEASE else 1
    return 1 if item.digits not in {"", "-"} else 0
