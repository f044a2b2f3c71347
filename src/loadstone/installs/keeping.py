"""The worlds of games, kept in process: read once, followed by events, the least used ones forgotten.

Law: a world may be a moment old, never what is handed out: the service asks the tables again. The events are
read from the log, not from notifications, so that none is missed.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from loadstone.catalog import knowledge
from loadstone.compat import solver
from loadstone.compat.changes import Changed
from loadstone.compat.surroundings import View
from loadstone.compat.sweep import Sweep
from loadstone.compat.universe import Universe
from loadstone.installs.models import SolverBusyError
from loadstone.installs.worlds import Edition, World, pieces
from loadstone.kernel import events
from loadstone.kernel.db import Database
from loadstone.kernel.events import Event, Position
from loadstone.kernel.platform import Platform

T = TypeVar("T")
_THREADS: Final = 2
_WAITING: Final = 32
"""Plans that may wait for a thread; more are sent away."""
_MOST_SIZE: Final = 600_000
"""Releases and claims of all worlds that are kept, about 256 MiB."""
_MOST_DIRTY: Final = 400
"""Mods from which on a world is read anew as a whole."""
_MOST_PAGES: Final = 40
_PAGE: Final = 500
_MOST_SWEEPS: Final = 4
"""Builds of a game for which it is kept what can be installed."""


class Workers:
    """A few threads for solving, with a queue that ends."""

    def __init__(self, threads: int = _THREADS, waiting: int = _WAITING) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="solver")
        self._room = threads + waiting

    async def run(self, work: Callable[[], T]) -> T:
        """``work`` off the event loop. Raises :class:`SolverBusyError` when too many wait already."""
        if self._room <= 0:
            raise SolverBusyError()
        self._room -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._room += 1


class Swept:
    """What can be installed on a build, in one edition of a world, with the reasons that were asked for so far."""

    def __init__(self, world: World, edition: Edition, sweep: Sweep) -> None:
        self.world = world
        self.edition = edition
        self.sweep = sweep
        self.reasons: dict[str, tuple[solver.Fact, ...]] = {}

    def is_of(self, world: World) -> bool:
        return self.world is world and self.edition is world.edition

    def reason(self, package: str) -> tuple[solver.Fact, ...]:
        """Why a package cannot be installed, from the last time that it was asked or worked out now."""
        known = self.reasons.get(package)
        if known is None:
            known = self.reasons[package] = self.sweep.reason(package)
        return known


class _Kept:
    """A world and what has to be read again of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dirty: set[int] = set()
        self.sweeps: OrderedDict[str | None, Swept] = OrderedDict()
        self.sweeping = asyncio.Lock()


class Keeper:
    """The worlds of one process. Between :meth:`world` and the next, a world is never changed under a solve:
    its universe is replaced, not altered.
    """

    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self._kept: OrderedDict[int, _Kept] = OrderedDict()
        self._position: Position | None = None
        self._reading = asyncio.Lock()
        self._making: dict[int, asyncio.Lock] = {}
        self._viewing = threading.Lock()

    async def world(self, platform: Platform, game_id: int, scheme_name: str) -> World:
        """The game's world with all that the log tells."""
        await self._follow(platform)
        async with self._making.setdefault(game_id, asyncio.Lock()):
            kept = self._kept.get(game_id)
            if kept is None:
                kept = self._kept[game_id] = await self._read(platform, game_id, scheme_name)
            elif kept.dirty:
                await self._renew(platform, game_id, scheme_name, kept)
            self._kept.move_to_end(game_id)
            self._forget_least_used()
            return kept.world

    async def view(self, universe: Universe, surroundings: solver.Surroundings) -> View:
        """The universe as it is seen from somewhere. Raises :class:`SolverBusyError`."""

        def work() -> View:
            with self._viewing:
                return solver.view_of(universe, surroundings)

        return await self.workers.run(work)

    async def solve(self, universe: Universe, request: solver.Request) -> solver.Outcome:
        """Solve on a thread. Raises :class:`SolverBusyError`."""

        def work() -> solver.Outcome:
            with self._viewing:  # the universe keeps its last views in a dict that threads share
                solver.view_of(universe, request.surroundings)
            return solver.solve(universe, request, time.monotonic)

        return await self.workers.run(work)

    async def swept(self, game_id: int, world: World, build: str | None) -> Swept:
        """What can be installed on a build (None: on any), made anew only where the news matters.

        One sweep of a game runs at a time; who asks for the same meanwhile gets that one.
        Raises :class:`SolverBusyError`.
        """
        kept = self._kept.get(game_id) or _Kept(world)  # forgotten meanwhile: answered, not kept
        async with kept.sweeping:
            old = kept.sweeps.get(build)
            if old is None or not old.is_of(world):
                kept.sweeps[build] = await self.workers.run(lambda: self._sweep(world, build, old))
            kept.sweeps.move_to_end(build)
            while len(kept.sweeps) > _MOST_SWEEPS:
                kept.sweeps.popitem(last=False)
            return kept.sweeps[build]

    def _sweep(self, world: World, build: str | None, old: Swept | None) -> Swept:
        edition = world.edition
        here = solver.Surroundings(builds=(build,) if build else ())
        touched = edition.touched_since(old.edition.number) if old is not None and old.world is world else None
        with self._viewing:
            solver.view_of(edition.universe, here)
        if old is None or touched is None:
            return Swept(world, edition, Sweep(edition.universe, here))
        return Swept(world, edition, old.sweep.after(Changed(edition.universe, touched)))

    async def doubt(self, platform: Platform, game_id: int, ids: Iterable[int]) -> None:
        """Read these mods (or the mods of these chains and releases) again before the next plan."""
        kept = self._kept.get(game_id)
        if kept is not None:
            kept.dirty.update(await knowledge.mods_of(platform, list(ids)))

    async def _read(self, platform: Platform, game_id: int, scheme_name: str) -> _Kept:
        known = await knowledge.of_game(platform, game_id)
        builds = await knowledge.builds(platform, game_id)
        return _Kept(await self.workers.run(lambda: World(scheme_name, builds, pieces(known, scheme_name))))

    async def _renew(self, platform: Platform, game_id: int, scheme_name: str, kept: _Kept) -> None:
        dirty, kept.dirty = kept.dirty, set()
        if len(dirty) > _MOST_DIRTY:
            self._kept[game_id] = kept
            kept.world = (await self._read(platform, game_id, scheme_name)).world
            return
        try:
            known = await knowledge.of_game(platform, game_id, sorted(dirty))
            await self.workers.run(lambda: kept.world.replace(dirty, pieces(known, scheme_name)))
        except BaseException:
            kept.dirty |= dirty
            raise

    async def _follow(self, platform: Platform) -> None:
        async with self._reading:
            if self._position is None:
                self._position = await events.newest_position(platform.db)
                return
            for _ in range(_MOST_PAGES):
                found = await events.read_after(platform.db, self._position, limit=_PAGE)
                if found:
                    await self._heed(platform, found)
                    self._position = found[-1].position
                if len(found) < _PAGE:
                    return
            self._kept.clear()  # too far behind: reading the games again is cheaper
            self._position = await events.newest_position(platform.db)

    async def _heed(self, platform: Platform, found: list[Event]) -> None:
        doubts: dict[int, set[int]] = {}
        for event in found:
            game_id = event.game_id
            if game_id is None or game_id not in self._kept:
                continue
            subject = event.kind.partition(".")[0]
            if subject == "game":
                del self._kept[game_id]
            elif subject == "mods":
                doubts.setdefault(game_id, set()).update(event.data.get("mods", ()))
            elif subject in {"mod", "release", "chain", "claims"} and event.subject is not None:
                doubts.setdefault(game_id, set()).add(event.subject)
        for game_id, ids in doubts.items():
            await self.doubt(platform, game_id, ids)

    def _forget_least_used(self) -> None:
        while len(self._kept) > 1 and sum(kept.world.size for kept in self._kept.values()) > _MOST_SIZE:
            self._kept.popitem(last=False)


_KEEPERS: Final[weakref.WeakKeyDictionary[Database, Keeper]] = weakref.WeakKeyDictionary()


def keeper_of(platform: Platform) -> Keeper:
    """The keeper that belongs to an opened platform; it ends with it."""
    keeper = _KEEPERS.get(platform.db)
    if keeper is None:
        keeper = _KEEPERS[platform.db] = Keeper(Workers())
    return keeper
