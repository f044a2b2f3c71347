"""Is there something newer? For many installed releases at once, each by itself."""

from collections.abc import Mapping

import msgspec

from loadstone.catalog import knowledge
from loadstone.compat import solver
from loadstone.compat.universe import ABSENT, Universe
from loadstone.installs.keeping import keeper_of
from loadstone.installs.models import Have, Newest, Status, Updates, UpdatesRequest, UpdateState
from loadstone.kernel.errors import FieldError, InvalidInputError
from loadstone.kernel.ids import decode, encode, is_id
from loadstone.kernel.platform import Platform


async def check(platform: Platform, asked: UpdatesRequest) -> Updates:
    """One answer for each item, in order; what is offered may be fetched at this moment.

    Raises :class:`InvalidInputError` for an item that names nothing or two things, :class:`SolverBusyError`.
    """
    _check_items(asked)
    found = await _releases(platform, asked)
    states = await _states(platform, asked, set(found.values()))
    wanted = {decode("release", s.newest.release) for s in states.values() if s.newest} | set(states)
    offered = await knowledge.offered(platform, sorted(wanted))
    return Updates([_answer(have, found, states, offered) for have in asked.items])


def _check_items(asked: UpdatesRequest) -> None:
    errors = [
        FieldError(f"/items/{nth}", "name either a release or a file's SHA-256")
        for nth, have in enumerate(asked.items)
        if (have.release is None) == (have.sha256 is None)
    ]
    if errors:
        raise InvalidInputError(f"{len(errors)} of the items cannot be used.", errors=errors[:100])


async def _releases(platform: Platform, asked: UpdatesRequest) -> dict[str, int]:
    """Release id or SHA-256 as given → release."""
    digests = sorted({have.sha256 for have in asked.items if have.sha256})
    found = await knowledge.releases_of_files(platform, digests) if digests else {}
    for have in asked.items:
        if have.release and is_id("release", have.release):
            found[have.release] = decode("release", have.release)
    return found


async def _states(platform: Platform, asked: UpdatesRequest, release_ids: set[int]) -> dict[int, UpdateState]:
    """Release → its state, as the worlds of the games have it."""
    by_game: dict[tuple[int, str], list[str]] = {}
    for release in await knowledge.games_of_releases(platform, sorted(release_ids)):
        names = by_game.setdefault((release.game_id, release.version_scheme), [])
        names.append(encode("release", release.id))
    here = solver.Surroundings(
        builds=(asked.build,) if asked.build else (),
        loader=asked.loader,
        os=asked.os,
        side=asked.side,
        channels=tuple(sorted(set(asked.channels))),
    )
    keeper = keeper_of(platform)
    states: dict[int, UpdateState] = {}
    for (game_id, scheme), names in by_game.items():
        world = await keeper.world(platform, game_id, scheme)
        view = await keeper.view(world.universe, here)
        for name in names:
            state = _state(world.universe, view.base, name)
            if state is not None:
                states[decode("release", name)] = state
    return states


def _state(universe: Universe, base: list[int], name: str) -> UpdateState | None:
    at, bit = universe.release_index.get(name, (-1, 0))
    if at < 0:
        return None
    package = universe.packages[at]
    fitting = base[at] & ~ABSENT
    best = fitting & -fitting
    status: Status = "newest" if best == bit else "update" if best < bit else "replace"  # bit 1 is the newest
    candidate = package.candidate(best) if best else None
    return UpdateState(
        release=name,
        sha256=None,
        status=status if candidate else "nothing_fits",
        package=package.package.id,
        version=package.candidate(bit).version,
        newest=Newest(candidate.release, candidate.version) if candidate else None,
    )


def _answer(
    have: Have, found: Mapping[str, int], states: Mapping[int, UpdateState], offered: Mapping[int, object]
) -> UpdateState:
    release = found.get(have.release or have.sha256 or "", 0)
    state = states.get(release)
    if state is None or release not in offered:
        return UpdateState(release=have.release, sha256=have.sha256, status="unknown")
    if state.newest is not None and decode("release", state.newest.release) not in offered:
        # Taken away this moment; the next check has the next best.
        state = msgspec.structs.replace(state, status="nothing_fits", newest=None)
    return msgspec.structs.replace(state, sha256=have.sha256)
