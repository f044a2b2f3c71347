"""Keeping the index true: following the event log, and building a new generation from the tables.

Documents are always made of what the tables hold now, so applying an event twice, late, or not at all when
a later one names the same mod, ends the same. An index that is missing, broken, of an older version of this
software or of another database is built anew without being asked; searches answer 503 as long as there is none.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from loadstone.discovery import store
from loadstone.discovery.documents import Lines, documents
from loadstone.discovery.generations import Generations
from loadstone.discovery.index import IndexWriter, open_writer, reraise_if_ours
from loadstone.discovery.models import Bookmark, IndexMissingError
from loadstone.kernel.errors import ConflictError
from loadstone.kernel.events import Event, Position, newest_position, read_after
from loadstone.kernel.platform import Platform

_log = structlog.get_logger()

EVENTS_AT_ONCE: Final = 200
MODS_AT_ONCE: Final = 500
UNSAVED_EVENTS: Final = 5000
"""Events that concern no mod move the bookmark in memory; so many later it is committed anyway."""


class RebuildRunningError(ConflictError):
    code = "rebuild-running"
    title = "Another process is building the search index; wait until it has finished"


class IndexBrokenError(Exception):
    """The index failed while it was written to; the writer was thrown away and the cursor stays."""


Progress = Callable[[int, int], None]


async def rebuild(platform: Platform, progress: Progress = lambda _done, _of: None) -> int:
    """Build a new generation from the tables and make it the current one; the number of mods in it.

    Searches go on over the old generation meanwhile; what changes meanwhile is caught up from the event log.
    Raises :class:`RebuildRunningError`.
    """
    generations = Generations(platform.config.data)
    with generations.build_lock() as mine:
        if not mine:
            raise RebuildRunningError()
        generations.remove_others({generations.current() or ""})
        name = generations.fresh()
        writer = await _in_thread(open_writer, generations.path(name), fresh=True)
        try:
            done = await _fill(platform, writer, progress)
        finally:
            await _in_thread(writer.close)
        generations.switch(name)
        _log.info("search_index_built", generation=name, mods=done)
        return done


async def _fill(platform: Platform, writer: IndexWriter, progress: Progress) -> int:
    # Read before the tables: what is committed later is either in the tables already or comes behind this.
    bookmark = Bookmark(await newest_position(platform.db), await store.database_name(platform.db))
    of = await store.count_published(platform.db)
    lines = Lines(platform.db)
    done, last = 0, 0
    while ids := await store.published_after(platform.db, last, MODS_AT_ONCE):
        found = await documents(platform.db, ids, lines)
        await _in_thread(writer.put, found)
        done, last = done + len(found), ids[-1]
        progress(done, max(of, done))
    await _in_thread(writer.commit, bookmark)
    return done


class Follower:
    """Applies the event log to the current generation. One per process and data folder."""

    def __init__(self, data: Path) -> None:
        self._generations = Generations(data)
        self._lock: int | None = None
        self._name: str | None = None
        self._writer: IndexWriter | None = None
        self._position = Position()
        self._unsaved = 0

    async def step(self, platform: Platform) -> int:
        """Apply the next events; how many. 0 when there are none, or another process is the writer."""
        if not self._hold_lock():
            return 0
        try:
            writer = await self._ready(platform)
            if writer is None:
                return 0
            return await self._apply(platform, writer)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            # Whatever happened, what tantivy holds in memory is not to be trusted with a later commit.
            reraise_if_ours(error)
            name = self._name
            await self._drop()
            if name is not None and name != self._generations.current():
                return 1  # another process switched to a new generation and removed this one: go on with that
            if isinstance(error, Exception):
                raise
            raise IndexBrokenError(str(error)[:200]) from error

    async def close(self) -> None:
        """Give the index to another process."""
        await self._drop()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _hold_lock(self) -> bool:
        if self._lock is None:
            self._lock = self._generations.take_lock("writer.lock")
        return self._lock is not None

    async def _ready(self, platform: Platform) -> IndexWriter | None:
        """The writer of the current generation, which is built when it is missing; None while another builds."""
        name = self._generations.current()
        sound = name is not None and not self._is_lost(name)
        if self._writer is not None and self._name == name and sound:
            return self._writer
        await self._drop()
        if name is not None and sound:
            with contextlib.suppress(IndexMissingError):
                await self._open(name)
                if self._writer and self._writer.bookmark.database == await store.database_name(platform.db):
                    return self._writer
            await self._drop()
        try:
            await rebuild(platform)
        except RebuildRunningError:
            return None
        built = self._generations.current()
        if built is not None:
            await self._open(built)
        return self._writer

    def _is_lost(self, name: str) -> bool:
        return self._generations.mark(name) is None or self._generations.is_broken(name)

    async def _open(self, name: str) -> None:
        self._writer = await _in_thread(open_writer, self._generations.path(name))
        self._name, self._position, self._unsaved = name, self._writer.bookmark.position, 0

    async def _drop(self) -> None:
        writer, self._writer, self._name = self._writer, None, None
        if writer is None:
            return
        try:
            await _in_thread(writer.close)
        except BaseException as error:  # noqa: BLE001 - it is thrown away; what it had is replayed
            reraise_if_ours(error)

    async def _apply(self, platform: Platform, writer: IndexWriter) -> int:
        events = await read_after(platform.db, self._position, limit=EVENTS_AT_ONCE)
        if not events:
            return 0
        ids = await touched_mods(platform, events)
        lines = Lines(platform.db)
        for start in range(0, len(ids), MODS_AT_ONCE):
            some = ids[start : start + MODS_AT_ONCE]
            found = await documents(platform.db, some, lines)
            there = {document.id for document in found}
            await _in_thread(writer.put, found, [id_ for id_ in some if id_ not in there])
        self._unsaved += len(events)
        if ids or self._unsaved >= UNSAVED_EVENTS:
            await _in_thread(writer.commit, Bookmark(events[-1].position, writer.bookmark.database))
            self._unsaved = 0
        self._position = events[-1].position
        return len(events)


async def touched_mods(platform: Platform, events: Sequence[Event]) -> list[int]:
    """The mods whose documents these events may have made untrue.

    Any event may name them in its data as ``mod`` or ``mods``; else what its kind's subject is decides.
    """
    found: dict[int, None] = {}
    subjects: dict[str, set[int]] = {"release": set(), "chain": set(), "claims": set()}
    for event in events:
        noun = event.kind.partition(".")[0]
        named = _named(event.data)
        found.update(dict.fromkeys(named))
        if noun == "mod" and event.subject is not None:
            found[event.subject] = None
        elif not named and noun in subjects and event.subject is not None:
            subjects[noun].add(event.subject)
        elif event.kind == "game.changed" and event.game_id is not None:
            found.update(dict.fromkeys(await _mods_of_game(platform, event.game_id)))
    chains = subjects["chain"] | subjects["claims"]
    if subjects["release"]:
        found.update(dict.fromkeys(await store.mods_of_releases(platform.db, list(subjects["release"]))))
    if chains:
        found.update(dict.fromkeys(await store.mods_of_chains(platform.db, list(chains))))
    return list(found)


def _named(data: dict[str, Any]) -> list[int]:
    many = data.get("mods")
    named = [data.get("mod"), *(many if isinstance(many, list) else [])]
    return [id_ for id_ in named if isinstance(id_, int) and not isinstance(id_, bool) and id_ > 0]


async def _mods_of_game(platform: Platform, game_id: int) -> list[int]:
    found: list[int] = []
    last = 0
    while ids := await store.mods_of_game_after(platform.db, game_id, last, 10_000):
        found += ids
        last = ids[-1]
    return found


async def _in_thread(work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Index work leaves the event loop free; a cancelled caller still waits until the index is at rest."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments, **named))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            await running
        raise
