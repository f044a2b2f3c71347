"""What the releases of one package fit: game builds, channels, loaders, operating systems, sides."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from loadstone.compat.universe import Candidate, Universe

K = TypeVar("K", bound=Hashable)


class Fit:
    """Releases of one package grouped by what they fit, so that a view is a few mask operations."""

    __slots__ = ("broken", "builds", "channels", "loaders", "oses", "quarantined", "sides", "works", "yanked")

    def __init__(self, universe: Universe, index: int) -> None:
        candidates = universe.packages[index].package.candidates
        self.builds = _grouped(candidates, lambda c: tuple(_span(universe, pair) for pair in c.builds))
        self.channels = [
            (channel, mask)
            for channel, mask in _grouped(candidates, lambda c: c.channel)
            if channel != "release" or len({c.channel for c in candidates}) > 1
        ]
        self.loaders = _targets(universe, index, candidates, "loader")
        self.oses = _targets(universe, index, candidates, "os")
        self.sides = _targets(universe, index, candidates, "side")
        self.yanked = sum(2 << i for i, c in enumerate(candidates) if c.yanked)
        self.quarantined = sum(2 << i for i, c in enumerate(candidates) if c.quarantined)
        self.works: list[tuple[tuple[int, int], int]] = []
        self.broken: list[tuple[tuple[int, int], int]] = []
        for claim in universe.claims.get(index, ()):
            if claim.kind in ("works_with", "broken_in"):
                known = self.works if claim.kind == "works_with" else self.broken
                mask = universe.subject_mask(index, claim)
                known.extend((_span(universe, pair), mask) for pair in claim.builds)
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


def _span(universe: Universe, pair: tuple[str | None, str | None]) -> tuple[int, int]:
    low = -1 if pair[0] is None else universe.builds.span(pair[0])[0]
    high = 1 << 60 if pair[1] is None else universe.builds.span(pair[1])[1]
    return low, high


def _grouped(candidates: Sequence[Candidate], key: Callable[[Candidate], K]) -> list[tuple[K, int]]:
    groups: dict[K, int] = {}
    for i, candidate in enumerate(candidates):
        value = key(candidate)
        groups[value] = groups.get(value, 0) | 2 << i
    return list(groups.items())


def _fields(axis: str) -> Callable[[Candidate], tuple[str, ...]]:
    return lambda candidate: {
        "loader": candidate.loaders,
        "os": candidate.oses,
        "side": candidate.sides,
    }[axis]


def _targets(
    universe: Universe, index: int, candidates: Sequence[Candidate], axis: str
) -> list[tuple[tuple[str, ...], int]]:
    """Releases by the values they fit on an axis, narrowed by `needs` claims; empty if all fit all."""
    groups = _grouped(candidates, _fields(axis))
    for claim in universe.claims.get(index, ()):
        needed = tuple(target.name for target in claim.targets if target.axis == axis)
        if claim.kind == "needs" and needed:
            groups = _narrowed(groups, universe.subject_mask(index, claim), needed)
    return [] if all(not values for values, _ in groups) else groups


def _narrowed(
    groups: list[tuple[tuple[str, ...], int]], mask: int, needed: tuple[str, ...]
) -> list[tuple[tuple[str, ...], int]]:
    found: list[tuple[tuple[str, ...], int]] = []
    for values, releases in groups:
        if releases & mask:
            both = needed if not values else tuple(value for value in values if value in needed)
            found.append((both or ("nothing",), releases & mask))
        if releases & ~mask:
            found.append((values, releases & ~mask))
    return found
