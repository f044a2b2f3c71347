"""Sets of versions as sorted, disjoint intervals over sort keys.

A range never interprets version text: a scheme turned the text into keys, and here only keys are compared.
The texts travel along so that a range can be printed again.
"""

from collections.abc import Iterable
from typing import NewType

import msgspec

SortKey = NewType("SortKey", bytes)
"""The place of a version in the order of its scheme.

Keys of one scheme compare, hash and sort as the versions do; keys of different schemes must not be mixed.
They are plain bytes, so a database column or a snapshot file orders them without knowing the scheme.
"""


class Interval(msgspec.Struct, frozen=True):
    """All versions between two bounds; a bound whose key is None is open to that side.

    `low_raw` and `high_raw` are the texts that the keys came from.
    """

    low_key: SortKey | None = None
    low_raw: str | None = None
    low_inclusive: bool = False
    high_key: SortKey | None = None
    high_raw: str | None = None
    high_inclusive: bool = False

    def contains(self, key: SortKey) -> bool:
        low, high = self.low_key, self.high_key
        if low is not None and (key < low or (key == low and not self.low_inclusive)):
            return False
        return high is None or key < high or (key == high and self.high_inclusive)

    @property
    def is_any(self) -> bool:
        return self.low_key is None and self.high_key is None

    @property
    def is_empty(self) -> bool:
        """Whether the bounds exclude every key; an open interval between two neighbours does not know."""
        if self.low_key is None or self.high_key is None:
            return False
        if self.low_key == self.high_key:
            return not (self.low_inclusive and self.high_inclusive)
        return self.low_key > self.high_key

    @property
    def is_single(self) -> bool:
        """Whether exactly one place in the order lies inside."""
        return self.low_key is not None and self.low_key == self.high_key and not self.is_empty

    def intersect(self, other: "Interval") -> "Interval":
        low = self if _low_rank(self) >= _low_rank(other) else other
        high = self if _high_rank(self) <= _high_rank(other) else other
        return _joined(low, high)


def _joined(low: Interval, high: Interval) -> Interval:
    return Interval(low.low_key, low.low_raw, low.low_inclusive, high.high_key, high.high_raw, high.high_inclusive)


def _low_rank(interval: Interval) -> tuple[int, bytes, int]:
    if interval.low_key is None:
        return (0, b"", 0)
    return (1, interval.low_key, 0 if interval.low_inclusive else 1)


def _high_rank(interval: Interval) -> tuple[int, bytes, int]:
    if interval.high_key is None:
        return (1, b"", 0)
    return (0, interval.high_key, 1 if interval.high_inclusive else 0)


def _touch(left: Interval, right: Interval) -> bool:
    """Whether no key lies between `left` and `right`, which starts at or after the low end of `left`."""
    if left.high_key is None or right.low_key is None or left.high_key > right.low_key:
        return True
    return left.high_key == right.low_key and (left.high_inclusive or right.low_inclusive)


class Range(msgspec.Struct, frozen=True):
    """A set of versions of one scheme: sorted intervals that neither overlap nor touch.

    Build one with `Range.of`, `Range.any`, `Range.none`, `Range.exactly`, or `Scheme.parse_range`.
    """

    intervals: tuple[Interval, ...] = ()

    @classmethod
    def of(cls, intervals: Iterable[Interval]) -> "Range":
        """The union of `intervals`, which may overlap, touch or be empty."""
        merged: list[Interval] = []
        for interval in sorted((i for i in intervals if not i.is_empty), key=_low_rank):
            if not merged or not _touch(merged[-1], interval):
                merged.append(interval)
            elif _high_rank(interval) > _high_rank(merged[-1]):
                merged[-1] = _joined(merged[-1], interval)
        return cls(tuple(merged))

    @classmethod
    def any(cls) -> "Range":
        return _ANY

    @classmethod
    def none(cls) -> "Range":
        return _NONE

    @classmethod
    def exactly(cls, key: SortKey, raw: str) -> "Range":
        return cls((Interval(key, raw, True, key, raw, True),))

    @classmethod
    def at_least(cls, key: SortKey, raw: str, *, inclusive: bool = True) -> "Range":
        return cls((Interval(low_key=key, low_raw=raw, low_inclusive=inclusive),))

    @classmethod
    def at_most(cls, key: SortKey, raw: str, *, inclusive: bool = True) -> "Range":
        return cls((Interval(high_key=key, high_raw=raw, high_inclusive=inclusive),))

    @property
    def is_any(self) -> bool:
        return len(self.intervals) == 1 and self.intervals[0].is_any

    @property
    def is_empty(self) -> bool:
        return not self.intervals

    def contains(self, key: SortKey) -> bool:
        return any(interval.contains(key) for interval in self.intervals)

    def intersect(self, other: "Range") -> "Range":
        """The versions in both. Linear in the number of intervals."""
        found: list[Interval] = []
        mine, theirs = 0, 0
        while mine < len(self.intervals) and theirs < len(other.intervals):
            left, right = self.intervals[mine], other.intervals[theirs]
            both = left.intersect(right)
            if not both.is_empty:
                found.append(both)
            if _high_rank(left) <= _high_rank(right):
                mine += 1
            else:
                theirs += 1
        return Range(tuple(found))

    def union(self, other: "Range") -> "Range":
        """The versions in either."""
        return Range.of((*self.intervals, *other.intervals))

    def complement(self) -> "Range":
        """The versions outside."""
        gaps: list[Interval] = []
        low_key: SortKey | None = None
        low_raw: str | None = None
        low_inclusive = False
        for interval in self.intervals:
            if interval.low_key is not None:
                gaps.append(
                    Interval(
                        low_key,
                        low_raw,
                        low_inclusive,
                        interval.low_key,
                        interval.low_raw,
                        not interval.low_inclusive,
                    )
                )
            if interval.high_key is None:
                return Range.of(gaps)
            low_key, low_raw = interval.high_key, interval.high_raw
            low_inclusive = not interval.high_inclusive
        gaps.append(Interval(low_key, low_raw, low_inclusive))
        return Range.of(gaps)

    def same_versions_as(self, other: "Range") -> bool:
        """Whether both hold the same keys, however their bounds are spelled."""
        if len(self.intervals) != len(other.intervals):
            return False
        return all(
            _low_rank(a) == _low_rank(b) and _high_rank(a) == _high_rank(b)
            for a, b in zip(self.intervals, other.intervals, strict=True)
        )


_ANY = Range((Interval(),))
_NONE = Range()
