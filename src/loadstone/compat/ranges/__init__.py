"""Version ranges: sets of versions, their algebra, their text and a neutral form for JSON."""

from loadstone.compat.ranges.errors import InvalidRange
from loadstone.compat.ranges.intervals import Interval, Range, SortKey
from loadstone.compat.ranges.neutral import NeutralInterval, NeutralRange, from_neutral, to_neutral

__all__ = [
    "Interval",
    "InvalidRange",
    "NeutralInterval",
    "NeutralRange",
    "Range",
    "SortKey",
    "from_neutral",
    "to_neutral",
]
