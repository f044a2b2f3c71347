"""Semantic Versioning 2.0.0 (semver.org), with ranges as package managers of the npm family write them."""

import re

from loadstone.compat.ranges import Interval, Range, SortKey
from loadstone.compat.ranges.comparators import (
    MalformedComparators,
    compare_with,
    format_interval,
    parse_comparators,
)
from loadstone.compat.versions.base import BaseScheme, Version
from loadstone.compat.versions.encoding import number
from loadstone.compat.versions.guess import line, prerelease_channel

_NUMBER = r"(?:0|[1-9][0-9]*)"
_IDENTIFIER = rf"(?:{_NUMBER}(?![0-9A-Za-z-])|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})"
    rf"(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_PARTIAL = re.compile(
    rf"v?(?P<major>{_NUMBER}|[xX*])(?:\.(?P<minor>{_NUMBER}|[xX*])(?:\.(?P<patch>{_NUMBER}|[xX*])"
    rf"(?:-(?P<pre>[0-9A-Za-z.-]+))?)?)?(?:\+[0-9A-Za-z.-]+)?"
)
_HYPHEN = re.compile(r"(\S+)\s+-\s+(\S+)")
_WILDCARDS = (None, "x", "X", "*")

_RELEASE = b"\xff"
_PRERELEASE = b"\x01"
_END = b"\x00"


class SemverScheme(BaseScheme):
    """Precedence of SemVer 2.0.0 §11: build metadata is ignored, a pre-release is older than its release.

    A range bound `<2.0.0` also keeps out 2.0.0's own pre-releases, as npm does; `<"2.0.0"` lets them in. Whether
    pre-releases within a range are wanted is a matter of the channel, not of the range.
    """

    name = "semver"

    def _key(self, raw: str) -> SortKey:
        return self._encode(*self._parts(raw))

    def _version(self, raw: str) -> Version:
        major, minor, patch, pre = self._parts(raw)
        key = self._encode(major, minor, patch, pre)
        return Version(raw, self.name, key, 0, prerelease_channel(pre), line(major, minor))

    def _parts(self, raw: str) -> tuple[str, str, str, str | None]:
        found = _VERSION.fullmatch(raw)
        if found is None:
            raise self._invalid(raw, _reason(raw))
        return found[1], found[2], found[3], found[4]

    @staticmethod
    def _encode(major: str, minor: str, patch: str, pre: str | None) -> SortKey:
        release = number(major) + number(minor) + number(patch)
        return SortKey(release + (_RELEASE if pre is None else _PRERELEASE + encode_identifiers(pre.split("."))))

    def format_range(self, r: Range) -> str:
        """Comparators; an upper bound that keeps the pre-releases of its version stands in quotes."""
        return " || ".join(_format(interval) for interval in r.intervals) or "none"

    def _parse_range(self, text: str) -> Range:
        if not text:
            return Range.any()
        try:
            alternatives = [self._alternative(part.strip()) for part in text.split("||")]
        except MalformedComparators as error:
            raise self._invalid_range(text, str(error)) from error
        return Range.of(interval for alternative in alternatives for interval in alternative.intervals)

    def _alternative(self, text: str) -> Range:
        if text in {"", "*"}:
            return Range.any()
        hyphen = _HYPHEN.fullmatch(text)
        if hyphen is not None:
            return self._comparator(">=", hyphen[1]).intersect(self._comparator("<=", hyphen[2]))
        return parse_comparators(text, self._comparator)

    def _comparator(self, operator: str, text: str, quoted: bool = False) -> Range:
        if quoted:
            return self._plain(operator, text)
        found = _PARTIAL.fullmatch(text)
        if found is None:
            raise self._invalid(
                text, "a bound is up to three numbers, x for any, and a pre-release: 1, 1.2.x, 1.2.3-rc.1"
            )
        return self._bounds(operator, found)

    def _bounds(self, operator: str, found: re.Match[str]) -> Range:
        numbers = found.group("major", "minor", "patch")
        given = next((i for i, value in enumerate(numbers) if value in _WILDCARDS), 3)
        if given == 0:
            return Range.none() if operator in {"<", ">", "!="} else Range.any()
        fixed = [value or "0" for value in numbers[:given]] + ["0"] * (3 - given)
        low = ".".join(fixed) + (f"-{found['pre']}" if found["pre"] and given == 3 else "")
        if operator == "^":
            first = next((i for i in range(given) if fixed[i] != "0"), given - 1)
            return self._between(low, _next(fixed, first))
        if operator == "~":
            return self._between(low, _next(fixed, min(1, given - 1)))
        if given < 3:
            return self._partial(operator, low, _next(fixed, given - 1))
        if operator == "<" and not found["pre"]:
            return self._below(low + "-0")
        return self._plain(operator, low)

    def _plain(self, operator: str, version: str) -> Range:
        plain = compare_with(operator or "=", self.key(version), version)
        if plain is None:
            raise self._invalid_range(operator + version, f"{operator} cannot stand before a quoted version")
        return plain

    def _partial(self, operator: str, low: str, beyond: str) -> Range:
        match operator:
            case ">":
                return self._from(beyond.removesuffix("-0"))
            case ">=":
                return self._from(low)
            case "<":
                return self._below(low + "-0")
            case "<=":
                return self._below(beyond)
            case "!=":
                return self._between(low, beyond).complement()
        return self._between(low, beyond)

    def _from(self, low: str) -> Range:
        return Range.at_least(self.key(low), low)

    def _below(self, high: str) -> Range:
        return Range.at_most(self.key(high), high, inclusive=False)

    def _between(self, low: str, high: str) -> Range:
        return self._from(low).intersect(self._below(high))


def _format(interval: Interval) -> str:
    high = interval.high_raw
    if high is None or interval.high_inclusive or "-" in high.partition("+")[0]:
        return format_interval(interval, "")
    below = f'<"{high}"'
    if interval.low_raw is None:
        return below
    return f"{'>=' if interval.low_inclusive else '>'}{interval.low_raw} {below}"


def encode_identifiers(identifiers: list[str]) -> bytes:
    """Dot-separated pre-release identifiers: numbers by value before texts by code point, a prefix first."""
    return b"".join(map(_encode_identifier, identifiers)) + _END


def _encode_identifier(part: str) -> bytes:
    if part.isdigit() and (part[0] != "0" or part == "0"):
        return b"\x01" + number(part)
    return b"\x02" + part.encode("ascii") + b"\x00"


def _next(numbers: list[str], position: int) -> str:
    """The lowest version above all that share `numbers` up to `position`: its pre-release 0."""
    raised = [*numbers[:position], increment(numbers[position]), *["0"] * (2 - position)]
    return ".".join(raised) + "-0"


def increment(digits: str) -> str:
    """The next number, in decimal digits; linear in their count."""
    kept = digits.rstrip("9")
    nines = len(digits) - len(kept)
    if not kept:
        return "1" + "0" * nines
    return f"{kept[:-1]}{int(kept[-1]) + 1}{'0' * nines}"


def _reason(raw: str) -> str:
    if not raw:
        return "it is empty; write three numbers such as 1.0.0"
    if raw[0] in "vV":
        return "it starts with a letter; leave the v away"
    if not re.match(r"[0-9]+\.[0-9]+\.[0-9]+(?![0-9.])", raw):
        return "it must start with three numbers such as 1.0.0"
    if re.match(r"(?:[0-9]+\.){0,2}0[0-9]", raw):
        return "a number has a leading zero"
    return "what follows the three numbers must be -identifiers and +build, of letters, digits, dots and hyphens"
