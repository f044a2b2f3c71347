"""Is what is installed sound, and what would another game build break? Nothing is searched for, only checked."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from loadstone.catalog import knowledge
from loadstone.catalog import service as catalog
from loadstone.compat import checker, solver
from loadstone.compat.checker import Violation
from loadstone.compat.universe import Claim, Target, Universe
from loadstone.installs.keeping import keeper_of
from loadstone.installs.models import Check, CheckRequest, Finding, Held, Move, Said
from loadstone.installs.service import check_build
from loadstone.installs.worlds import World
from loadstone.kernel.errors import FieldError, InvalidInputError, TooLargeError
from loadstone.kernel.ids import decode, is_id
from loadstone.kernel.platform import Platform

_MOST_CLASHES: Final = 50_000
_MOST_FINDINGS: Final = 2_000
_WARNINGS: Final = frozenset({"yanked"})
"""A withdrawn release that is installed still works; whoever has it should only know."""


class _Item(msgspec.Struct, frozen=True):
    """An installed thing that is known here."""

    place: int
    chosen: solver.Chosen


async def check(platform: Platform, asked: CheckRequest) -> Check:
    """What is wrong with an installed set, by what is known at this moment.

    Raises :class:`NotFoundError` (no such game), :class:`InvalidInputError` for an item that names nothing,
    :class:`UnknownWantedError` for a build that is none, :class:`TooLargeError`, :class:`SolverBusyError`.
    """
    _check_items(asked)
    game = await catalog.find_game(platform, asked.game)
    keeper = keeper_of(platform)
    world = await keeper.world(platform, game["id"], game["version_scheme"])
    for field, build in (("build", asked.build), ("going_to", asked.going_to)):
        check_build(world, build, field)
    items = [_known(world, place, held) for place, held in enumerate(asked.installed)]
    ids = [decode("release", item.chosen.release) for item in items if item]
    offered = await knowledge.offered(platform, ids)
    here = [item for item in items if item and decode("release", item.chosen.release) in offered]
    unknown = [_unknown(world, place, asked.installed[place]) for place in _missing(items, here)]

    def work() -> Check:
        _refuse_endless(world.universe, here)
        return _judged(world.universe, asked, game["slug"], here, unknown)

    return await keeper.workers.run(work)


def _check_items(asked: CheckRequest) -> None:
    errors = [
        FieldError(f"/installed/{place}", "name either a release, or a package and its version")
        for place, held in enumerate(asked.installed)
        if (held.release is None) == (held.version is None) or (held.version is not None and held.package is None)
    ]
    if errors:
        raise InvalidInputError(f"{len(errors)} of the items cannot be used.", errors=errors[:100])


def _known(world: World, place: int, held: Held) -> _Item | None:
    universe = world.universe
    if held.release is not None:
        at, bit = universe.release_index.get(held.release, (-1, 0)) if is_id("release", held.release) else (-1, 0)
    else:
        name = held.package or ""
        at = universe.index.get(name, universe.index.get(world.package_of(name) or "", -1))
        mask = universe.packages[at].mask_of_version(held.version or "") if at >= 0 and _reads(universe, held) else 0
        bit = mask & -mask
    if at < 0 or at >= universe.first_axis or not bit:
        return None
    candidate = universe.packages[at].candidate(bit)
    return _Item(place, solver.Chosen(universe.packages[at].package.id, candidate.release, candidate.version))


def _reads(universe: Universe, held: Held) -> bool:
    """Whether the scheme can read the version; what it cannot read is none of the releases."""
    try:
        universe.scheme.key(held.version or "")
    except ValueError:
        return False
    return True


def _missing(items: Iterable[_Item | None], here: Iterable[_Item]) -> list[int]:
    known = {item.place for item in here}
    return [place for place, _ in enumerate(items) if place not in known]


def _unknown(world: World, place: int, held: Held) -> Finding:
    name = held.package or ""
    package = world.package_of(name) or name
    at = world.universe.index.get(package)
    shown = f"{name} {held.version}" if held.release is None else f"The release {held.release}"
    if held.release is None and at is not None:
        shown = f"{world.universe.packages[at].package.name} {held.version}"
    text = f"{shown} is not known here, or was taken away; nothing can be said about it."
    return Finding(kind="unknown-release", text=text, package=package, item=place, said=[])


def _refuse_endless(universe: Universe, here: Iterable[_Item]) -> None:
    """A set in which everything excludes everything has as many problems as pairs. Raises TooLargeError."""
    excluded: Counter[str] = Counter()
    offered: Counter[str] = Counter()
    for item in here:
        offered[item.chosen.package] += 1
        for claim in universe.claims.get(universe.index[item.chosen.package], ()):
            names = {target.name for target in claim.targets}
            if claim.kind == "conflicts":
                excluded.update(names)
            elif claim.kind == "provides":
                offered.update(names)
    if sum(count * offered[name] for name, count in excluded.items()) > _MOST_CLASHES:
        raise TooLargeError("These mods exclude each other in more ways than can be told; check fewer at once.")


def _judged(universe: Universe, asked: CheckRequest, game: str, here: list[_Item], unknown: list[Finding]) -> Check:
    now = _findings(universe, asked, asked.build, here)
    problems = [*unknown, *(finding for finding in now if finding.kind not in _WARNINGS)]
    move = None
    if asked.going_to is not None:
        then = [f for f in _findings(universe, asked, asked.going_to, here) if f.kind not in _WARNINGS]
        before, after = {_same(f) for f in problems}, {_same(f) for f in then}
        move = Move(
            build=asked.going_to,
            sound=not (then or unknown),
            breaks=[f for f in then if _same(f) not in before][:_MOST_FINDINGS],
            mends=[f for f in problems if _same(f) not in after and f.kind != "unknown-release"][:_MOST_FINDINGS],
        )
    return Check(
        sound=not problems,
        game=game,
        build=asked.build,
        problems=problems[:_MOST_FINDINGS],
        warnings=[finding for finding in now if finding.kind in _WARNINGS],
        going_to=move,
    )


def _same(finding: Finding) -> tuple[str, str, str]:
    """What makes two findings one; the sentence about a build names it, and builds differ."""
    return finding.kind, finding.package, "" if finding.kind == "build" else finding.text


def _findings(universe: Universe, asked: CheckRequest, build: str | None, here: list[_Item]) -> list[Finding]:
    request = solver.Request(
        wanted=(),
        surroundings=solver.Surroundings(
            builds=(build,) if build else (),
            loader=asked.loader,
            os=asked.os,
            side=asked.side,
            owned=tuple(sorted(set(asked.owned))),
            channels=tuple(sorted(set(asked.channels))),
        ),
    )
    places = {item.chosen.package: item.place for item in reversed(here)}
    versions = {item.chosen.package: item.chosen.version for item in here}
    return [
        _finding(universe, violation, places, versions)
        for violation in checker.check(universe, request, [item.chosen for item in here])
    ]


def _finding(
    universe: Universe, violation: Violation, places: Mapping[str, int], versions: Mapping[str, str]
) -> Finding:
    claims = [universe.claim_index[claim] for claim in violation.claims if claim in universe.claim_index]
    return Finding(
        kind=violation.kind,
        text=_missing_text(universe, violation, claims, versions) or violation.text,
        package=violation.package,
        item=places.get(violation.package),
        said=[Said(claim.id, claim.source, claim.note) for claim in claims],
    )


def _missing_text(
    universe: Universe, violation: Violation, claims: Iterable[Claim], versions: Mapping[str, str]
) -> str | None:
    """Which versions are needed, and what is there instead; None where the checker's sentence says it all."""
    if violation.kind != "missing":
        return None
    for target in (target for claim in claims if claim.kind == "requires" for target in claim.targets):
        subject = _name(universe, violation.package)
        if violation.text == f"{subject} needs {target.name}.":
            there = versions.get(target.name)
            what = " ".join(filter(None, [_name(universe, target.name), _bounds(target)]))
            state = f"{there} is installed" if there else "it is not installed"
            return f"{subject} {versions[violation.package]} needs {what}; {state}."
    return None


def _bounds(target: Target) -> str:
    words = [target.range, target.exactly or ""]
    words += [f"{target.at_least} or newer"] if target.at_least else []
    words += [f"{target.at_most} or older"] if target.at_most else []
    return " ".join(filter(None, words))


def _name(universe: Universe, package: str) -> str:
    at = universe.index.get(package)
    return package if at is None else universe.packages[at].package.name
