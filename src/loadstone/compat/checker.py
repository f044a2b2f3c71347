"""An independent check of a plan, straight from packages and claims.

It shares no code with the solver: no masks, no clauses, no views; every version is compared again by the
scheme. It is slow and simple on purpose, and answers "is my installed set sound?" as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from loadstone.compat.universe import Candidate, Claim, Package, Target, Universe

if TYPE_CHECKING:
    from loadstone.compat.plan import Chosen
    from loadstone.compat.solving import Request, Wanted
    from loadstone.compat.surroundings import Surroundings


class Violation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong with a plan. `claims` are the ids of those that say so."""

    kind: str
    package: str
    text: str
    claims: tuple[str, ...] = ()


class Installed(msgspec.Struct, frozen=True):
    """A planned release with its package."""

    package: Package
    candidate: Candidate


def check(universe: Universe, request: Request, plan: Sequence[Chosen]) -> list[Violation]:
    """Everything that is wrong with `plan` as an answer to `request`; an empty list means sound.

    The plan may come from anywhere: entries name package and release.
    """
    if request.as_of is not None:
        universe = universe.as_of(request.as_of)
    found: list[Violation] = []
    installed = _installed(universe, plan, found)
    world = _World(universe, installed)
    found.extend(
        Violation("not-fulfilled", wanted.name, f"{wanted.name} was asked for and is missing.")
        for wanted in request.wanted
        if not any(_answers(world, wanted, item) for item in installed.values())
    )
    kept = {locked.package: (locked.release, locked.version) for locked in request.locked}
    for item in installed.values():
        found.extend(_misfits(world, item, request.surroundings, kept.get(item.package.id)))
        for claim in world.claims_about(item):
            found.extend(_broken(world, item, claim))
    found.extend(_missing_patches(world))
    found.extend(_open_axes(world, request.surroundings))
    return sorted(found, key=lambda violation: (violation.package, violation.kind, violation.text))


def _installed(universe: Universe, plan: Sequence[Chosen], found: list[Violation]) -> dict[str, Installed]:
    installed: dict[str, Installed] = {}
    packages = {held.package.id: held.package for held in universe.packages}
    for entry in plan:
        package = packages.get(entry.package)
        if package is None:
            found.append(Violation("unknown-package", entry.package, f"{entry.package} is not known."))
            continue
        if entry.package in installed:
            found.append(Violation("twice", entry.package, f"{package.name} is planned twice."))
        release = next((c for c in package.candidates if c.release == entry.release), None)
        if release is None:
            text = f"{package.name} has no release {entry.release}."
            found.append(Violation("unknown-release", entry.package, text))
            continue
        installed[entry.package] = Installed(package, release)
    return installed


class _World:
    """The planned releases and what is claimed about them."""

    def __init__(self, universe: Universe, installed: Mapping[str, Installed]) -> None:
        self.universe = universe
        self.scheme = universe.scheme
        self.installed = installed
        self.claims = [claim for held in universe.claims.values() for claim in held]
        self.by_subject: dict[str, list[Claim]] = {}
        for claim in self.claims:
            self.by_subject.setdefault(claim.subject, []).append(claim)
        self.provided: dict[str, list[tuple[Installed, str | None]]] = {}
        for item in installed.values():
            for claim in self.claims_about(item):
                if claim.kind == "provides":
                    for target in claim.targets:
                        self.provided.setdefault(target.name, []).append((item, target.version))

    def claims_about(self, item: Installed) -> list[Claim]:
        """The claims that speak of exactly this release."""
        return [claim for claim in self.by_subject.get(item.package.id, ()) if self.speaks_of(claim, item)]

    def speaks_of(self, claim: Claim, item: Installed) -> bool:
        if claim.releases:
            return item.candidate.release in claim.releases
        if not claim.subject_range:
            return True
        return self.within(item.candidate.version, Target(claim.subject, range=claim.subject_range))

    def matching(self, target: Target) -> list[Installed]:
        """The planned releases that answer to a target."""
        found = []
        named = self.installed.get(target.name)
        if named is not None and self.within(named.candidate.version, target):
            found.append(named)
        for item, version in self.provided.get(target.name, ()):
            if version is None or self.within(version, target):
                found.append(item)
        return found

    def within(self, version: str, target: Target) -> bool:
        bounds = (target.range, target.exactly, target.at_least, target.at_most)
        if not any(bounds):
            return True
        try:
            key = self.scheme.key(version)
        except ValueError:
            return False
        if target.range and not self.scheme.parse_range(target.range).contains(key):
            return False
        if target.exactly and key != self.scheme.key(target.exactly):
            return False
        if target.at_least and key < self.scheme.key(target.at_least):
            return False
        return not (target.at_most and key > self.scheme.key(target.at_most))


def _answers(world: _World, wanted: Wanted, item: Installed) -> bool:
    target = Target(wanted.name, range=wanted.range)
    if item.package.id == wanted.name:
        if wanted.release and item.candidate.release != wanted.release:
            return False
        if wanted.version and not _same_version(world, wanted, item):
            return False
        return world.within(item.candidate.version, target)
    if wanted.name in world.universe.index:
        return False
    return any(found is item for found in world.matching(target))


def _same_version(world: _World, wanted: Wanted, item: Installed) -> bool:
    if item.candidate.version == wanted.version:
        return True
    return world.within(item.candidate.version, Target(wanted.name, exactly=wanted.version))


def _misfits(world: _World, item: Installed, here: Surroundings, lock: tuple[str, str] | None) -> Iterable[Violation]:
    package, candidate = item.package, item.candidate
    if package.kind == "dlc":
        if package.id not in here.owned:
            yield Violation("dlc", package.id, f"{package.name} is a DLC that is not owned.")
        return
    if candidate.quarantined:
        yield Violation("quarantined", package.id, f"{package.name} {candidate.version} is held back for safety.")
    if candidate.yanked and (lock is None or not _is_locked(candidate, *lock)):
        yield Violation("yanked", package.id, f"{package.name} {candidate.version} was withdrawn.")
    tolerated = [*here.channels, *(c for name, cs in here.package_channels if name == package.id for c in cs)]
    if candidate.channel not in tolerated:
        text = f"{package.name} {candidate.version} is a {candidate.channel} release."
        yield Violation("channel", package.id, text)
    if here.builds and not here.choose_build:
        builds = [world.universe.builds.span(build) for build in here.builds]
        if not any(_runs(world, item, build) for build in builds):
            text = f"{package.name} {candidate.version} does not run on {' or '.join(here.builds)}."
            yield Violation("build", package.id, text)
    for axis, value, fitting in (
        ("loader", None if here.choose_loader else here.loader, candidate.loaders),
        ("os", here.os, candidate.oses),
        ("side", here.side, candidate.sides),
    ):
        if value is not None and not _works(world, item, axis, value, fitting):
            text = f"{package.name} {candidate.version} does not work with {axis} {value}."
            yield Violation(axis, package.id, text)


def _is_locked(candidate: Candidate, release: str, version: str) -> bool:
    return candidate.release == release if release else candidate.version == version


def _works(world: _World, item: Installed, axis: str, value: str, fitting: tuple[str, ...]) -> bool:
    if fitting and value not in fitting:
        return False
    for claim in world.claims_about(item):
        needed = [target.name for target in claim.targets if target.axis == axis]
        if claim.kind == "needs" and needed and value not in needed:
            return False
    return True


def _runs(world: _World, item: Installed, build: tuple[int, int]) -> bool:
    """Whether a release runs on a build, by its own limits and by what was found out since."""
    claims = world.claims_about(item)
    spans = [_span(world, pair) for claim in claims if claim.kind == "broken_in" for pair in claim.builds]
    if any(low <= build[0] and build[1] <= high for low, high in spans):
        return False
    known = [_span(world, pair) for claim in claims if claim.kind == "works_with" for pair in claim.builds]
    limits = [_span(world, pair) for pair in item.candidate.builds]
    return not limits or any(low <= build[1] and build[0] <= high for low, high in [*limits, *known])


def _span(world: _World, pair: tuple[str | None, str | None]) -> tuple[float, float]:
    low = float("-inf") if pair[0] is None else world.universe.builds.span(pair[0])[0]
    high = float("inf") if pair[1] is None else world.universe.builds.span(pair[1])[1]
    return low, high


def _broken(world: _World, item: Installed, claim: Claim) -> Iterable[Violation]:
    package = item.package
    said = (claim.id,)
    if claim.kind == "any_of":
        if not any(world.matching(target) for target in claim.targets):
            names = ", ".join(target.name for target in claim.targets)
            yield Violation("missing", package.id, f"{package.name} needs one of {names}.", said)
        return
    for target in claim.targets:
        matching = world.matching(target)
        if claim.kind == "requires" or (claim.kind == "needs" and target.axis in ("", "dlc")):
            if not matching:
                yield Violation("missing", package.id, f"{package.name} needs {target.name}.", said)
        elif claim.kind == "conflicts":
            for other in matching:
                if other.package.id != package.id:
                    text = f"{package.name} conflicts with {other.package.name}."
                    yield Violation("conflict", package.id, text, said)


def _missing_patches(world: _World) -> Iterable[Violation]:
    for claim in world.claims:
        if claim.kind != "patches" or claim.strength != "require":
            continue
        premises = [world.matching(target) for target in claim.targets]
        if not all(premises):
            continue
        patch = world.installed.get(claim.subject)
        if patch is None or not world.speaks_of(claim, patch):
            names = " and ".join(target.name for target in claim.targets)
            yield Violation("missing-patch", claim.subject, f"{names} need {claim.subject}.", (claim.id,))


def _open_axes(world: _World, here: Surroundings) -> Iterable[Violation]:
    """Where one build or loader was to be chosen, all releases must share one."""
    items = [item for item in world.installed.values() if item.package.kind != "dlc"]
    if here.choose_build:
        known = world.universe.builds
        builds = [known.span(b) for b in known.builds]
        if here.builds:
            asked = [known.span(b) for b in here.builds]
            builds = [b for b in builds if any(b[0] <= high and low <= b[1] for low, high in asked)]
        if not any(all(_runs(world, item, build) for item in items) for build in builds):
            yield Violation("build", "", "The releases do not share one game build.")
    if here.choose_loader:
        loaders = sorted({loader for item in items for loader in item.candidate.loaders})
        shared = [
            loader
            for loader in loaders
            if all(_works(world, item, "loader", loader, item.candidate.loaders) for item in items)
        ]
        if loaders and not shared:
            yield Violation("loader", "", "The releases do not share one loader.")
