"""Reading the outbox: each consumer sees every event once, in one order, effect and cursor together.

An event becomes readable when every transaction that was running beside its own has ended; the wait is
at most as long as the longest writing transaction (5 s, by idle_in_transaction_session_timeout).
"""

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, Self

import msgspec
import structlog

from loadstone.kernel import db
from loadstone.kernel.db import Database, Transaction

_log = structlog.get_logger()

_READ: Final = """
    select era, xid::text::bigint as xid, id, at, kind, subject, game_id, actor_id, data
    from events
    where (era, xid, id) > ($1, $2::text::xid8, $3)
      and (era < current_era() or xid < pg_snapshot_xmin(pg_current_snapshot()))
    order by events.era, events.xid, events.id -- bare xid would be the bigint above, and no index
    limit $4
"""


class Position(msgspec.Struct, frozen=True, order=True):
    """A place in the order of events. The zero position is before all."""

    era: int = 0
    xid: int = 0
    id: int = 0


class Event(msgspec.Struct, frozen=True):
    """Something that happened."""

    position: Position
    at: dt.datetime
    kind: str
    subject: int | None
    game_id: int | None
    actor_id: int | None
    data: dict[str, Any]


Effect = Callable[[Transaction, Sequence[Event]], Awaitable[None]]


async def read_after(database: Database, position: Position, *, limit: int = 500) -> list[Event]:
    """The next events behind a position that the caller keeps itself (an index keeps it in its commit)."""
    rows = await database.fetch(_READ, position.era, str(position.xid), position.id, limit)
    return [_event(row) for row in rows]


async def newest_position(database: Database) -> Position:
    """Where a consumer starts that needs nothing of the past: all that is readable now lies behind it."""
    row = await database.fetchrow(
        "select era, xid::text::bigint as xid, id from events"
        " where era < current_era() or xid < pg_snapshot_xmin(pg_current_snapshot())"
        " order by events.era desc, events.xid desc, events.id desc limit 1"
    )
    return Position(row["era"], row["xid"], row["id"]) if row else Position()


async def consume(database: Database, consumer: str, effect: Effect, *, limit: int = 500) -> int:
    """Apply ``effect`` to the next events and move the cursor in the same transaction (law 2).

    The cursor's row lock lets one process at a time work for a consumer. Returns the number of events;
    0 when there are none or another process holds the cursor.
    """
    await database.fetchval(
        "insert into event_cursors (consumer) values ($1) on conflict do nothing returning 1", consumer
    )
    async with database.transaction() as transaction:
        cursor = await transaction.fetchrow(
            "select era, xid::text::bigint as xid, id from event_cursors where consumer = $1 for update skip locked",
            consumer,
        )
        if cursor is None:
            return 0
        rows = await transaction.fetch(_READ, cursor["era"], str(cursor["xid"]), cursor["id"], limit)
        if not rows:
            return 0
        found = [_event(row) for row in rows]
        await effect(transaction, found)
        last = found[-1].position
        await transaction.execute(
            "update event_cursors set era = $2, xid = $3::text::xid8, id = $4, moved_at = now()"
            " where consumer = $1",
            consumer, last.era, str(last.xid), last.id,
        )  # fmt: skip
        return len(found)


def _event(row: db.Row) -> Event:
    return Event(
        Position(row["era"], row["xid"], row["id"]),
        row["at"], row["kind"], row["subject"], row["game_id"], row["actor_id"], row["data"],
    )  # fmt: skip


class ChangeListener:
    """Hears what every committed transaction made stale, in this process, within a millisecond or so.

    Comfort, not truth: what must not miss anything reads :func:`read_after`. When the connection breaks,
    ``on_change`` gets ``{"*"}`` after it is back, because what happened in between is unknown.
    """

    def __init__(self, dsn: str, on_change: Callable[[frozenset[str]], None]) -> None:
        self._dsn = dsn
        self._on_change = on_change
        self._task: asyncio.Task[None] | None = None
        self.listening = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="change listener")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                async with self._connection() as closed:
                    await closed.wait()
            except Exception as error:  # noqa: BLE001 - whatever broke it, listen again
                _log.warning("change_listener_lost", error=str(error))
            self.listening.clear()
            await asyncio.sleep(0.5)

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncio.Event]:
        closed = asyncio.Event()
        connection = await db.connect(self._dsn, name="loadstone listen")
        try:
            connection.add_termination_listener(lambda _: closed.set())
            await connection.add_listener(db.CHANGES_CHANNEL, self._heard)
            self._on_change(frozenset({"*"}))
            self.listening.set()
            yield closed
        finally:
            await connection.close(timeout=2)

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        self._on_change(frozenset(str(payload).split(",")))
