from typing import ClassVar

from loadstone.compat.ranges import Range
from loadstone.compat.ranges.comparators import (
    MalformedComparators,
    compare_with,
    format_comparators,
    parse_comparators,
)
from loadstone.compat.versions.base import BaseScheme


class ComparatorScheme(BaseScheme):
    """A scheme whose ranges are comparators: `>=1.0 <2.0 || 3.0`."""

    bare_operator: ClassVar[str] = "="
    """What a version without an operator means."""

    def format_range(self, r: Range) -> str:
        return format_comparators(r, exact="" if self.bare_operator == "=" else "=")

    def _parse_range(self, text: str) -> Range:
        try:
            return parse_comparators(text, self._comparator)
        except MalformedComparators as error:
            raise self._invalid_range(text, str(error)) from error

    def _comparator(self, operator: str, text: str, quoted: bool) -> Range:
        if text == "*" and not quoted and operator in {"", "=", "=="}:
            return Range.any()
        plain = compare_with(operator or self.bare_operator, self.key(text), text)
        if plain is None:
            raise self._invalid_range(operator + text, f"{self.name} has no operator {operator}")
        return plain
