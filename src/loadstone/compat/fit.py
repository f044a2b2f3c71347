"""What the releases of one package fit: game builds, channels, loaders, operating systems, sides."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from operator import attrgetter
from typing import TypeVar

from loadstone.compat.universe import Candidate, Claim, Universe

K = TypeVar("K", bound=Hashable)
Values = tuple[str, ...]

NO_VALUE: Values = ("",)
"""What fits nothing: claims that contradict each other leave no loader, OS or side."""

_BUILDS: Callable[[Candidate], tuple[tuple[str | None, str | None], ...]] = attrgetter("builds")
_CHANNEL: Callable[[Candidate], str] = attrgetter("channel")
_LOADERS: Callable[[Candidate], Values] = attrgetter("loaders")
_OSES: Callable[[Candidate], Values] = attrgetter("oses")
_SIDES: Callable[[Candidate], Values] = attrgetter("sides")


class Fit:
    """Releases of one package grouped by what they fit, so that a view is a few mask operations."""

    __slots__ = ("broken", "builds", "channels", "loaders", "oses", "quarantined", "sides", "works", "yanked")

    def __init__(self, universe: Universe, index: int) -> None:
        candidates = universe.packages[index].package.candidates
        claims = universe.claims.get(index, ()) if index in universe.fitting else ()
        spans = universe.span_of
        self.builds = [(tuple([spans(pair) for pair in pairs]), mask) for pairs, mask in _grouped(candidates, _BUILDS)]
        self.yanked = self.quarantined = 0
        bit, plain = 2, True
        for candidate in candidates:
            if candidate.yanked:
                self.yanked |= bit
            if candidate.quarantined:
                self.quarantined |= bit
            if candidate.loaders or candidate.oses or candidate.sides:
                plain = False
            bit <<= 1
        self.channels = _grouped(candidates, _CHANNEL)
        self.loaders: list[tuple[Values, int]] = []
        self.oses: list[tuple[Values, int]] = []
        self.sides: list[tuple[Values, int]] = []
        if claims or not plain:
            self.loaders = _narrowed(universe, index, claims, "loader", _grouped(candidates, _LOADERS))
            self.oses = _narrowed(universe, index, claims, "os", _grouped(candidates, _OSES))
            self.sides = _narrowed(universe, index, claims, "side", _grouped(candidates, _SIDES))
        self.works: list[tuple[tuple[int, int], int]] = []
        self.broken: list[tuple[tuple[int, int], int]] = []
        for claim in claims:
            if claim.kind in ("works_with", "broken_in"):
                known = self.works if claim.kind == "works_with" else self.broken
                mask = universe.subject_mask(index, claim)
                known.extend((spans(pair), mask) for pair in claim.builds)
        if not self.broken and all(not spans for spans, _ in self.builds):
            self.builds = []

    def for_builds(self, accepted: list[tuple[int, int]]) -> int:
        """Releases that run on at least one of the accepted builds."""
        found = 0
        for low, high in accepted:
            mask = 0
            for spans, releases in self.builds:
                if not spans or any(first <= high and low <= last for first, last in spans):
                    mask |= releases
            for (first, last), releases in self.works:
                if first <= high and low <= last:
                    mask |= releases
            for (first, last), releases in self.broken:
                if first <= low and high <= last:
                    mask &= ~releases
            found |= mask
        return found

    @staticmethod
    def for_value(groups: list[tuple[tuple[str, ...], int]], value: str) -> int:
        """Releases that fit one loader, OS or side."""
        return sum(mask for values, mask in groups if not values or value in values)


def _grouped(candidates: Sequence[Candidate], value_of: Callable[[Candidate], K]) -> list[tuple[K, int]]:
    groups: dict[K, int] = {}
    bit = 2
    for candidate in candidates:
        value = value_of(candidate)
        groups[value] = groups.get(value, 0) | bit
        bit <<= 1
    return list(groups.items())


def _narrowed(
    universe: Universe, index: int, claims: Sequence[Claim], axis: str, groups: list[tuple[Values, int]]
) -> list[tuple[Values, int]]:
    """Releases by the values they fit on an axis, narrowed by `needs` claims; empty if all fit all."""
    for claim in claims:
        needed = tuple(target.name for target in claim.targets if target.axis == axis)
        if claim.kind == "needs" and needed:
            groups = _cut(groups, universe.subject_mask(index, claim), needed)
    return [] if len(groups) <= 1 and not any(values for values, _ in groups) else groups


def _cut(groups: list[tuple[Values, int]], mask: int, needed: Values) -> list[tuple[Values, int]]:
    found: list[tuple[Values, int]] = []
    for values, releases in groups:
        if releases & mask:
            both = tuple(value for value in values if value in needed) if values else needed
            found.append((both or NO_VALUE, releases & mask))
        if releases & ~mask:
            found.append((values, releases & ~mask))
    return found
