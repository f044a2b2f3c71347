"""Lockfiles of plans, and what differs between two."""

import graphlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from loadstone.compat import lockdiff, lockfile, solver
from loadstone.compat.lockfile import LockedArtifact, LockedEntry, LockedLoader, Lockfile, LockfileError
from loadstone.compat.universe import Universe
from loadstone.installs.keeping import keeper_of
from loadstone.installs.models import (
    BadLockfileError,
    LockfileChange,
    LockfileChanges,
    LockfilesRequest,
    PlanEntry,
    ResolveRequest,
    UnlockableError,
)
from loadstone.kernel.db import Row
from loadstone.kernel.errors import FieldError
from loadstone.kernel.ids import decode, made_at
from loadstone.kernel.platform import Platform


def check_lockable(asked: ResolveRequest) -> None:
    """Raises :class:`UnlockableError` for a lockfile of no build."""
    if asked.lockfile and asked.build is None:
        raise UnlockableError("A lockfile is for one game build; name it.", errors=[FieldError("/build", "missing")])


def seal(
    universe: Universe, solved: solver.Solved, plan: Sequence[PlanEntry], game: Row, asked: ResolveRequest
) -> Lockfile:
    """The lockfile of a plan, named by public ids. Raises :class:`UnlockableError`."""
    chains = {entry.package: entry.chain for entry in plan}
    loader = None
    if asked.loader and asked.loader_version:
        loader = LockedLoader(asked.loader, asked.loader_version)
    try:
        return lockfile.seal(
            game=game["slug"],
            game_build=solved.build or asked.build or "",
            version_scheme=game["version_scheme"],
            entries=[_entry(universe, entry, solved) for entry in plan],
            loader=loader,
            load_order=[chains[package] for package in _order(solved, chains)],
        )
    except LockfileError as error:
        raise UnlockableError(str(error)) from error


def _entry(universe: Universe, entry: PlanEntry, solved: solver.Solved) -> LockedEntry:
    return LockedEntry(
        mod=entry.mod,
        chain=entry.chain,
        release=entry.release,
        version=entry.version,
        artifacts=tuple(
            LockedArtifact(file.sha256, file.size, file.role)
            for file in entry.artifacts
            if file.sha256 is not None and file.size is not None
        ),
        choices={
            name: question.chosen
            for question in solved.questions
            if question.asked_by == entry.package
            for name in question.asked_for
        },
        claim_revision=_revision(universe, entry.package),
        requested=entry.reason == "requested",
    )


def _revision(universe: Universe, package: str) -> int:
    """When the newest claim about a package was made, in milliseconds since 1970; an id is too large for JSON."""
    claims = universe.claims.get(universe.index[package], ())
    return max((int(made_at(decode("claim", claim.id)).timestamp() * 1000) for claim in claims), default=0)


def _order(solved: solver.Solved, chains: Mapping[str, str]) -> list[str]:
    """Packages that the order matters for, first loaded first, the same for equal plans.

    Raises :class:`UnlockableError` where claims ask for a circle.
    """
    after: dict[str, set[str]] = {}
    for pair in sorted((p.first, p.then) for p in solved.order):
        if pair[0] in chains and pair[1] in chains:
            after.setdefault(pair[0], set())
            after.setdefault(pair[1], set()).add(pair[0])
    sorter = graphlib.TopologicalSorter(after)
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        circle = " before ".join(reversed(error.args[1]))
        raise UnlockableError(f"No load order does what is claimed: {circle}.") from error
    found: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        found += ready
        sorter.done(*ready)
    return found


async def diff(platform: Platform, asked: LockfilesRequest) -> LockfileChanges:
    """What changed between two lockfiles.

    Raises :class:`BadLockfileError` for what is none, was altered, is of a newer format or of another game;
    :class:`SolverBusyError`.
    """
    return await keeper_of(platform).workers.run(lambda: _diff(asked))


def _diff(asked: LockfilesRequest) -> LockfileChanges:
    before, after = _parsed("before", asked.before), _parsed("after", asked.after)
    try:
        found = lockdiff.diff(before, after)
    except LockfileError as error:
        raise BadLockfileError(str(error), errors=[FieldError("/after/game", "another game")]) from error
    return LockfileChanges(
        same=found.is_empty,
        added=list(found.added),
        removed=list(found.removed),
        changed=[
            LockfileChange(
                mod=entry.mod,
                chain=entry.chain,
                before=entry.before,
                after=entry.after,
                direction=entry.direction.value,
                parts=list(entry.parts),
            )
            for entry in found.changed
        ],
        unchanged=found.unchanged,
        game_build=list(found.game_build) if found.game_build else None,
        loader=list(found.loader) if found.loader else None,
        load_order_changed=found.load_order_changed,
    )


def _parsed(field: str, document: dict[str, Any]) -> Lockfile:
    try:
        return lockfile.parse(msgspec.json.encode(document))
    except (LockfileError, UnicodeEncodeError) as error:
        raise BadLockfileError(str(error), errors=[FieldError(f"/{field}", "not a usable lockfile")]) from error
