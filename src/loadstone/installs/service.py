"""Making plans: what is asked for in names, solved off the event loop, checked against the tables."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from loadstone.catalog import knowledge
from loadstone.catalog import service as catalog
from loadstone.catalog.knowledge import Offer
from loadstone.catalog.models import Release
from loadstone.compat import solver
from loadstone.compat.ranges import InvalidRange
from loadstone.compat.universe import Target, Universe
from loadstone.installs import locking
from loadstone.installs.keeping import keeper_of
from loadstone.installs.models import (
    BadRangeError,
    Fact,
    Note,
    Option,
    OrderPair,
    PlanEntry,
    PlanFile,
    Question,
    Repair,
    Resolution,
    ResolveRequest,
    SolverBusyError,
    UnknownWantedError,
    Wanted,
)
from loadstone.installs.worlds import World
from loadstone.kernel.db import Row
from loadstone.kernel.errors import FieldError
from loadstone.kernel.ids import decode, is_id
from loadstone.kernel.platform import Platform

_STEPS: Final = 400_000
_SECONDS: Final = 2.0
_MOST_REPAIRED: Final = 500
"""Mods up to which ways out are looked for; each that is tried is a plan of its own."""
_ATTEMPTS: Final = 4


async def resolve(platform: Platform, asked: ResolveRequest) -> Resolution:
    """The plan for what is asked, of releases that anyone may fetch at this moment.

    Raises :class:`NotFoundError` (no such game), :class:`UnknownWantedError`, :class:`BadRangeError`,
    :class:`UnlockableError` for a lockfile that cannot be made, :class:`SolverBusyError`.
    """
    locking.check_lockable(asked)
    game = await catalog.find_game(platform, asked.game)
    keeper = keeper_of(platform)
    for _ in range(_ATTEMPTS):
        world = await keeper.world(platform, game["id"], game["version_scheme"])
        request = await _request(platform, world, game, asked)
        universe = world.universe
        outcome = await keeper.solve(universe, request)
        if not isinstance(outcome, solver.Solved):
            return _refusal(outcome, game, asked)
        ids = {chosen.release: decode("release", chosen.release) for chosen in outcome.plan}
        offers = await knowledge.offered(platform, list(ids.values()))
        missing = [id_ for id_ in ids.values() if id_ not in offers]
        if not missing:
            named = _named(universe, request)
            answer = _answer(outcome, named, game, asked, {name: offers[id_] for name, id_ in ids.items()})
            if not asked.lockfile:
                return answer
            return msgspec.structs.replace(answer, lockfile=locking.seal(universe, outcome, answer.plan, game, asked))
        # Taken away since the world was read, in a transaction that the log does not show yet.
        await keeper.doubt(platform, game["id"], missing)
    raise SolverBusyError("What this game has is changing faster than plans are made; try again in a moment.")


async def _request(platform: Platform, world: World, game: Row, asked: ResolveRequest) -> solver.Request:
    wanted = await _wanted(platform, world, game, asked.wanted)
    check_build(world, asked.build)
    return solver.Request(
        wanted=tuple(wanted),
        locked=tuple(
            solver.Locked(package=each.package, release=each.release or "", version=each.version or "")
            for each in asked.installed
        ),
        surroundings=solver.Surroundings(
            builds=(asked.build,) if asked.build else (),
            loader=asked.loader,
            os=asked.os,
            side=asked.side,
            owned=tuple(sorted(set(asked.owned))),
            channels=tuple(sorted(set(asked.channels))),
            package_channels=tuple(sorted((name, (channel,)) for name, channel in asked.package_channels.items())),
        ),
        policy=asked.policy,
        recommends=asked.recommends,
        choices=tuple(sorted(asked.choices.items())),
        repairs=len(wanted) <= _MOST_REPAIRED,
        steps=_STEPS,
        seconds=_SECONDS,
    )


async def packages_of(platform: Platform, game_name: str, names: Sequence[str]) -> list[str]:
    """The packages that names mean: slugs (old ones too), numbers and ids of mods, or packages themselves.

    Raises :class:`NotFoundError` (no such game), :class:`UnknownWantedError`.
    """
    game = await catalog.find_game(platform, game_name)
    world = await keeper_of(platform).world(platform, game["id"], game["version_scheme"])
    wanted = [Wanted(package=name) if world.knows(name) else Wanted(mod=name) for name in names]
    return list(dict.fromkeys(found.name for found in await _wanted(platform, world, game, wanted)))


async def _wanted(platform: Platform, world: World, game: Row, asked: Sequence[Wanted]) -> list[solver.Wanted]:
    """Names become packages. Raises :class:`UnknownWantedError` with all that is not known."""
    old = [each.mod for each in asked if each.mod and not is_id("mod", each.mod) and not world.package_of(each.mod)]
    moved = await knowledge.mods_by_slug(platform, game["slug"], old) if old else {}
    found: list[solver.Wanted] = []
    errors: list[FieldError] = []
    for nth, each in enumerate(asked):
        at = f"/wanted/{nth}"
        package = _package(world, each, moved)
        if (each.mod is None) == (each.package is None):
            errors.append(FieldError(at, "name either a mod or a package"))
        elif package is None:
            field = "mod" if each.mod else "package"
            errors.append(FieldError(f"{at}/{field}", f"this game has no “{each.mod or each.package}”"))
        else:
            _check_range(world, each, at)
            found.append(
                solver.Wanted(
                    name=package, range=each.range or "", version=each.version or "", release=each.release or ""
                )
            )
    if errors:
        raise UnknownWantedError(
            f"{len(errors)} of what is asked for cannot be used: {errors[0].detail}.", errors=errors[:100]
        )
    return found


def _package(world: World, wanted: Wanted, moved: Mapping[str, int]) -> str | None:
    if wanted.package is not None:
        return wanted.package if world.knows(wanted.package) else None
    name = wanted.mod or ""
    return world.package_of(name) or (world.package_of_mod(moved[name]) if name in moved else None)


def _check_range(world: World, wanted: Wanted, at: str) -> None:
    if not wanted.range:
        return
    try:
        world.universe.scheme.parse_range(wanted.range)
    except InvalidRange as error:
        raise BadRangeError(str(error), errors=[FieldError(f"{at}/range", error.reason)]) from error


def check_build(world: World, build: str | None, field: str = "build") -> None:
    """A build may also be a prefix (``1.12``) or one that the game does not list yet; but it has a number.

    Raises :class:`UnknownWantedError`.
    """
    if build and not world.has_build(build) and not any(c.isdigit() for c in build):
        raise UnknownWantedError(
            f"The game has no build “{build}”; read the game to see those it has.",
            errors=[FieldError(f"/{field}", "unknown build")],
        )


def _named(universe: Universe, request: solver.Request) -> set[str]:
    """The packages that were asked for, by their own name or by one that they provide."""
    named = set()
    for wanted in request.wanted:
        if wanted.name in universe.index:
            named.add(wanted.name)
        else:
            matches = universe.matches(Target(wanted.name, range=wanted.range))
            named |= {universe.packages[at].package.id for at in matches}
    return named


def _answer(
    solved: solver.Solved, named: set[str], game: Row, asked: ResolveRequest, offers: Mapping[str, Offer]
) -> Resolution:
    return Resolution(
        status="solved",
        game=game["slug"],
        build=solved.build or asked.build,
        loader=solved.loader or asked.loader,
        plan=[_entry(chosen, offers[chosen.release], asked, named) for chosen in solved.plan],
        order=[OrderPair(pair.first, pair.then) for pair in solved.order],
        questions=[
            Question(
                asked_for=list(question.asked_for),
                asked_by=question.asked_by,
                options=[Option(option.package, option.name) for option in question.options],
                chosen=question.chosen,
                claims=list(question.claims),
            )
            for question in solved.questions
        ],
        notes=_notes(solved.notes),
    )


def _entry(chosen: solver.Chosen, offer: Offer, asked: ResolveRequest, named: set[str]) -> PlanEntry:
    release = offer.release
    reason: Literal["requested", "required", "installed"] = "required" if chosen.needed_by else "installed"
    return PlanEntry(
        mod=release.mod,
        mod_slug=offer.mod.slug,
        mod_name=offer.mod.name,
        package=chosen.package,
        chain=release.chain,
        release=release.id,
        version=release.version,
        reason="requested" if chosen.package in named else reason,
        needed_by=sorted(chosen.needed_by),
        was=chosen.was or None,
        artifacts=_files(release, asked),
    )


def _files(release: Release, asked: ResolveRequest) -> list[PlanFile]:
    """The main files that fit the player's loader, system and side."""
    return [
        PlanFile(
            file=nth,
            file_name=file.file_name,
            role=file.role,
            size=file.size,
            sha256=file.sha256,
            here=file.artifact is not None,
            url=file.url,
        )
        for nth, file in enumerate(release.artifacts)
        if file.role == "main"
        and (not file.loaders or asked.loader is None or asked.loader in file.loaders)
        and (not file.os or asked.os is None or asked.os in file.os)
        and (asked.side is None or file.side in {"both", asked.side})
    ]


def _refusal(outcome: solver.Unsatisfiable | solver.GaveUp, game: Row, asked: ResolveRequest) -> Resolution:
    common: dict[str, Any] = {"game": game["slug"], "build": asked.build, "loader": asked.loader}
    if isinstance(outcome, solver.GaveUp):
        text = "No plan was found in the time that there is; ask for fewer mods at once."
        return Resolution(status="gave_up", notes=[Note(outcome.reason, text, "", [])], **common)
    return Resolution(
        status="unsatisfiable",
        facts=[as_fact(fact) for fact in outcome.facts],
        repairs=[_repair(repair) for repair in outcome.repairs],
        **common,
    )


def _repair(repair: solver.Repair) -> Repair:
    return Repair(
        kind=repair.kind,
        text=repair.text,
        cost=repair.cost,
        drop=list(repair.drop),
        loosen=list(repair.loosen),
        substitute=dict(repair.substitute),
        own=list(repair.own),
        accept_channel=dict(repair.accept_channel),
        accept_build=repair.accept_build,
        use_build=repair.use_build,
        use_loader=repair.use_loader,
    )


def as_fact(fact: solver.Fact) -> Fact:
    return Fact(
        kind=fact.kind,
        text=fact.text,
        claims=list(fact.claims),
        sources=list(fact.sources),
        packages=list(fact.packages),
        parent=fact.parent,
    )


def _notes(notes: Sequence[solver.Note]) -> list[Note]:
    return [Note(note.kind, note.text, note.package, list(note.claims)) for note in notes]
