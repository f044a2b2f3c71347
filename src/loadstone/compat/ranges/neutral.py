"""The neutral form of a range: what JSON documents, the database and other programs exchange."""

from collections.abc import Callable

import msgspec

from loadstone.compat.ranges.intervals import Interval, Range, SortKey


class NeutralInterval(msgspec.Struct, frozen=True, omit_defaults=True):
    """One interval in version texts; a bound of None is open, others are inclusive unless they say not."""

    low: str | None = None
    high: str | None = None
    low_inclusive: bool = True
    high_inclusive: bool = True


NeutralRange = tuple[NeutralInterval, ...]
"""`()` is none, one interval without bounds is any."""


def to_neutral(versions: Range) -> NeutralRange:
    """The same set in version texts, without keys."""
    return tuple(
        NeutralInterval(
            interval.low_raw,
            interval.high_raw,
            interval.low_inclusive or interval.low_key is None,
            interval.high_inclusive or interval.high_key is None,
        )
        for interval in versions.intervals
    )


def from_neutral(intervals: NeutralRange, key: Callable[[str], SortKey]) -> Range:
    """The range that `intervals` describe; `key` is the scheme's.

    Overlapping intervals are merged and empty ones dropped. Raises what `key` raises.
    """
    return Range.of(
        Interval(
            None if interval.low is None else key(interval.low),
            interval.low,
            interval.low is not None and interval.low_inclusive,
            None if interval.high is None else key(interval.high),
            interval.high,
            interval.high is not None and interval.high_inclusive,
        )
        for interval in intervals
    )
