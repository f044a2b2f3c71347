"""Universes spelled out release by release, for oracles and checks that share no code with the solver.

Everything here is written the slow and obvious way: no masks, no laziness, one set per relation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loadstone.compat.surroundings import Surroundings
from loadstone.compat.universe import Claim, Scheme, Target, Universe


@dataclass
class Release:
    """One release that fits the surroundings, with what it demands as sets of release numbers."""

    package: str
    version: str
    newer: int  # how many newer releases of the package fit as well
    requires: list[frozenset[int]] = field(default_factory=list)
    conflicts: set[int] = field(default_factory=set)


@dataclass
class PlainWorld:
    releases: list[Release]
    by_package: dict[str, list[int]]
    patches: list[tuple[list[frozenset[int]], frozenset[int]]] = field(default_factory=list)
    providers: dict[str, set[int]] = field(default_factory=dict)

    def violations(self, plan: Mapping[str, str]) -> list[str]:
        """What is wrong with a plan (package → version)."""
        chosen = set()
        found = []
        for package, version in plan.items():
            numbers = [n for n in self.by_package.get(package, ()) if self.releases[n].version == version]
            if not numbers:
                found.append(f"{package} {version} does not fit")
            chosen.update(numbers[:1])
        for number in chosen:
            release = self.releases[number]
            found += [f"{release.package} lacks one of {sorted(r)}" for r in release.requires if not r & chosen]
            found += [f"{release.package} conflicts with {c}" for c in release.conflicts & chosen]
        for premises, conclusion in self.patches:
            if all(premise & chosen for premise in premises) and not conclusion & chosen:
                found.append(f"patch {sorted(conclusion)} is missing")
        return found


def ckan_world(rows: Sequence[Mapping[str, Any]], games: Sequence[str], scheme: Scheme, own: Iterable[str] = ()):
    """The rows of a CKAN index that fit on any of the games, read straight from the JSON."""
    owned = set(own)
    fitting = []
    for row in rows:
        if row.get("kind") == "dlc":
            if row["id"] in owned:
                fitting.append(row)
        elif row.get("release_status", "stable") == "stable" and any(_runs(row, game) for game in games):
            fitting.append(row)
    fitting.sort(key=lambda row: (scheme.key(row["version"]), row["version"]), reverse=True)
    by_package: dict[str, list[int]] = {}
    releases = []
    for row in fitting:
        same = by_package.setdefault(row["id"], [])
        same.append(len(releases))
        releases.append(Release(row["id"], row["version"], len(same) - 1))
    provided: dict[str, list[int]] = {}
    for number, row in enumerate(fitting):
        for name in row.get("provides") or ():
            provided.setdefault(name, []).append(number)

    def matching(bound: Mapping[str, Any]) -> frozenset[int]:
        named = {n for n in by_package.get(bound["name"], ()) if _within(fitting[n]["version"], bound, scheme)}
        return frozenset(named.union(provided.get(bound["name"], ())))

    known: dict[str, frozenset[int]] = {}
    for number, row in enumerate(fitting):
        for relation in row.get("depends") or ():
            bounds = relation.get("any_of", [relation])
            matched = [known.setdefault(str(bound), matching(bound)) for bound in bounds]
            releases[number].requires.append(frozenset().union(*matched))
        for bound in row.get("conflicts") or ():
            others = {n for n in known.setdefault(str(bound), matching(bound)) if fitting[n]["id"] != row["id"]}
            releases[number].conflicts |= others
    return PlainWorld(releases, by_package, providers={name: set(n) for name, n in provided.items()})


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(".")]


def _runs(row: Mapping[str, Any], game: str) -> bool:
    here = _numbers(game)
    low, high = row.get("game_min"), row.get("game_max")
    if low is not None and here[: len(_numbers(low))] < _numbers(low):
        return False
    return high is None or here[: len(_numbers(high))] <= _numbers(high)


def _within(version: str, bound: Mapping[str, Any], scheme: Scheme) -> bool:
    key = scheme.key(version)
    if "eq" in bound and key != scheme.key(bound["eq"]):
        return False
    if "min" in bound and key < scheme.key(bound["min"]):
        return False
    return not ("max" in bound and key > scheme.key(bound["max"]))


def universe_world(universe: Universe, surroundings: Surroundings) -> PlainWorld:
    """A universe spelled out for surroundings with at most one accepted build, loader, OS and side."""
    entries = []
    for index in range(universe.first_axis):
        package = universe.packages[index].package
        newer = 0
        for candidate in package.candidates:
            if _fits(universe, package, candidate, surroundings):
                entries.append((package, candidate, newer))
                newer += 1
    by_package: dict[str, list[int]] = {}
    for number, (package, _, _) in enumerate(entries):
        by_package.setdefault(package.id, []).append(number)
    releases = [Release(package.id, candidate.version, newer) for package, candidate, newer in entries]
    claims = [claim for held in universe.claims.values() for claim in held]
    provided: dict[str, list[tuple[int, str | None]]] = {}
    for claim in claims:
        if claim.kind == "provides":
            for number in _subjects(universe, claim, entries, by_package):
                for target in claim.targets:
                    provided.setdefault(target.name, []).append((number, target.version))

    def matching(target: Target) -> frozenset[int]:
        named = {
            n for n in by_package.get(target.name, ()) if _in_bounds(universe.scheme, entries[n][1].version, target)
        }
        for number, version in provided.get(target.name, ()):
            if version is None or _in_bounds(universe.scheme, version, target):
                named.add(number)
        return frozenset(named)

    world = PlainWorld(releases, by_package, providers={k: {n for n, _ in v} for k, v in provided.items()})
    for claim in claims:
        subjects = _subjects(universe, claim, entries, by_package)
        if claim.kind == "patches":
            if claim.strength == "require":
                world.patches.append(([matching(target) for target in claim.targets], frozenset(subjects)))
            continue
        for number in subjects:
            if claim.kind == "any_of":
                releases[number].requires.append(frozenset().union(*map(matching, claim.targets)))
            for target in claim.targets:
                if claim.kind == "requires" or (claim.kind == "needs" and target.axis in ("", "dlc")):
                    releases[number].requires.append(matching(target))
                if claim.kind == "conflicts":
                    releases[number].conflicts |= {n for n in matching(target) if releases[n].package != claim.subject}
    return world


def _in_bounds(scheme: Scheme, version: str, target: Target) -> bool:
    key = scheme.key(version)
    if target.range and not scheme.parse_range(target.range).contains(key):
        return False
    if target.exactly is not None and key != scheme.key(target.exactly):
        return False
    if target.at_least is not None and key < scheme.key(target.at_least):
        return False
    return target.at_most is None or key <= scheme.key(target.at_most)


def _subjects(universe: Universe, claim: Claim, entries: list, by_package: Mapping[str, list[int]]) -> list[int]:
    numbers = by_package.get(claim.subject, [])
    if claim.releases:
        return [n for n in numbers if entries[n][1].release in claim.releases]
    if claim.subject_range:
        return [
            n
            for n in numbers
            if universe.scheme.parse_range(claim.subject_range).contains(universe.scheme.key(entries[n][1].version))
        ]
    return list(numbers)


def _fits(universe: Universe, package, candidate, here: Surroundings) -> bool:
    if package.kind == "dlc":
        return package.id in here.owned
    tolerated = set(here.channels) | set(dict(here.package_channels).get(package.id, ()))
    if candidate.yanked or candidate.quarantined or candidate.channel not in tolerated:
        return False
    for value, allowed in ((here.loader, candidate.loaders), (here.os, candidate.oses), (here.side, candidate.sides)):
        if value is not None and allowed and value not in allowed:
            return False
    if not here.builds:
        return True
    order = list(universe.builds.builds)
    known = [claim for claim in universe.claims.get(universe.index[package.id], ()) if _about(claim, candidate)]

    def inside(build: str, spans) -> bool:
        return any(
            (low is None or order.index(low) <= order.index(build))
            and (high is None or order.index(build) <= order.index(high))
            for low, high in spans
        )

    broken = [span for claim in known if claim.kind == "broken_in" for span in claim.builds]
    works = [span for claim in known if claim.kind == "works_with" for span in claim.builds]
    return any(
        not inside(build, broken) and (not candidate.builds or inside(build, (*candidate.builds, *works)))
        for build in here.builds
    )


def _about(claim: Claim, candidate) -> bool:
    return not claim.releases or candidate.release in claim.releases
