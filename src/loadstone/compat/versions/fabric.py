"""Fabric Loader's SemanticVersion and VersionPredicate (github.com/FabricMC/fabric-loader).

A superset of SemVer: one or more numbers, padded with zeros; a pre-release that may be empty ("1.4-" is the
very first of 1.4); anything as build metadata. Texts that Fabric would only compare for equality are refused.
"""

import re

from loadstone.compat.ranges import InvalidRange, Range, SortKey
from loadstone.compat.ranges.comparators import compare_with, format_comparators
from loadstone.compat.versions.base import BaseScheme, InvalidVersion, Version
from loadstone.compat.versions.encoding import number
from loadstone.compat.versions.guess import line, prerelease_channel
from loadstone.compat.versions.semver import encode_identifiers, increment

_PRERELEASE = re.compile(r"|[-0-9A-Za-z]+(?:\.[-0-9A-Za-z]+)*+")
_LARGEST = "2147483647"
_OPERATORS = (">=", "<=", ">", "<", "=", "~", "^")
_WILDCARDS = frozenset("xX*")

_AT_END = b"\xf8"
_AT_PRERELEASE = b"\xf7"
_NUMBER_FOLLOWS = b"\xf9"
_ZERO = number("0")


class FabricScheme(BaseScheme):
    """Numbers, then pre-release: absent after present, empty first, numeric identifiers before texts."""

    name = "fabric"

    def _key(self, raw: str) -> SortKey:
        numbers, pre = self._parts(raw)
        return _encode(numbers, pre)

    def _version(self, raw: str) -> Version:
        numbers, pre = self._parts(raw)
        minor = numbers[1] if len(numbers) > 1 else "0"
        channel = "release" if pre is None else prerelease_channel(pre or "pre")
        return Version(raw, self.name, _encode(numbers, pre), 0, channel, line(numbers[0], minor))

    def _parts(self, raw: str) -> tuple[list[str], str | None]:
        release, pre = _split(raw)
        if pre is not None and not _PRERELEASE.fullmatch(pre):
            raise self._invalid(raw, "the part after - must be letters, digits and hyphens between single dots")
        numbers = release.split(".")
        for text in numbers:
            self._check_number(raw, text)
        return numbers, pre

    def _check_number(self, raw: str, text: str) -> None:
        if not text:
            raise self._invalid(raw, "a number is missing; write numbers between single dots such as 1.0.0")
        if not (text.isascii() and text.isdigit()):
            raise self._invalid(raw, "before any - or + there may only be numbers between dots")
        digits = text.lstrip("0")
        if len(digits) > len(_LARGEST) or (len(digits) == len(_LARGEST) and digits > _LARGEST):
            raise self._invalid(raw, f"a number is larger than {_LARGEST}")

    def format_range(self, r: Range) -> str:
        """Build metadata, which may hold anything, is left out of the bounds: it has no part in the order."""
        return format_comparators(r, exact="", spell=lambda raw: raw.partition("+")[0])

    def accepts_pattern(self, text: str) -> bool:
        """Whether `text` is a version, or one whose last numbers are x, X or * as in "1.2.x"."""
        try:
            if any(part in _WILDCARDS for part in _split(text)[0].split(".")):
                self._comparator(text, text)
            else:
                self._parts(text)
        except (InvalidRange, InvalidVersion):
            return False
        return True

    def _parse_range(self, text: str) -> Range:
        """Comparators between spaces must all hold; `||` stands for fabric.mod.json's array of predicates."""
        return Range.of(i for part in text.split("||") for i in self._predicate(text, part).intervals)

    def _predicate(self, text: str, part: str) -> Range:
        allowed = Range.any()
        for comparator in part.split():
            if comparator != "*":
                allowed = allowed.intersect(self._comparator(text, comparator))
        return allowed

    def _comparator(self, text: str, comparator: str) -> Range:
        operator = next((op for op in _OPERATORS if comparator.startswith(op)), "")
        version = comparator[len(operator) :]
        if not version:
            raise self._invalid_range(text, f"a version must follow {operator} without a space")
        release, pre = _split(version)
        if any(part in _WILDCARDS for part in release.split(".")):
            return self._wildcard(text, operator, release, pre)
        if operator in {"~", "^"}:
            return self._from_until(version, self._parts(version)[0], operator)
        plain = compare_with(operator or "=", self.key(version), version)
        if plain is None:
            raise self._invalid_range(text, f"the operator {operator} is unknown")
        return plain

    def _wildcard(self, text: str, operator: str, release: str, pre: str | None) -> Range:
        if operator not in {"", "="}:
            raise self._invalid_range(text, f"x stands for any number, so {operator} cannot stand before it")
        if pre is not None:
            raise self._invalid_range(text, "x cannot be followed by a pre-release")
        parts = release.split(".")
        numbers = parts[: next(i for i, part in enumerate(parts) if part in _WILDCARDS)]
        if not numbers:
            raise self._invalid_range(text, "x cannot be the first number; write * for any version")
        if any(part not in _WILDCARDS for part in parts[len(numbers) :]):
            raise self._invalid_range(text, "no number may follow x")
        return self._from_until(".".join(numbers) + "-", numbers, "^" if len(numbers) == 1 else "~")

    def _from_until(self, low: str, numbers: list[str], operator: str) -> Range:
        """From `low` to before the next major (`^`) or minor (`~`) number, its pre-releases excluded too."""
        major, minor = numbers[0], numbers[1] if len(numbers) > 1 else "0"
        at_low = Range.at_least(self.key(low), low)
        if operator == "~" and minor != _LARGEST:
            high = f"{major}.{increment(minor)}-"
        elif major != _LARGEST:
            high = increment(major) + "-"
        else:
            return at_low  # nothing can lie above
        return at_low.intersect(Range.at_most(self.key(high), high, inclusive=False))


def _split(raw: str) -> tuple[str, str | None]:
    release, dash, pre = raw.partition("+")[0].partition("-")
    return release, pre if dash else None


def _encode(numbers: list[str], pre: str | None) -> SortKey:
    padded = [number(text) for text in numbers]
    while padded and padded[-1] == _ZERO:
        padded.pop()
    body = b"".join(_NUMBER_FOLLOWS + piece for piece in padded)
    if pre is None:
        return SortKey(body + _AT_END)
    return SortKey(body + _AT_PRERELEASE + encode_identifiers([part for part in pre.split(".") if part]))
