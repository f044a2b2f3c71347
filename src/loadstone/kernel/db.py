"""PostgreSQL by asyncpg: pools, transactions that carry their events and jobs, and coalesced reads.

Law 1 is a shape here: :class:`Transaction` is the only thing with ``emit`` and ``enqueue``, so an
event or a job exists exactly when the change that it tells of is committed.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final, Generic, TypeAlias, TypeVar

import asyncpg
import msgspec

from loadstone.kernel.errors import UnavailableError

Row: TypeAlias = Mapping[str, Any]
"""What asyncpg calls a record."""
Hook = Callable[["Transaction"], Awaitable[None]]

before_commit: ContextVar[Hook | None] = ContextVar("before_commit", default=None)
"""Run in each writing transaction of the current request, just before it commits (idempotency keys)."""

CHANGES_CHANNEL: Final = "loadstone_changes"
_TRANSIENT: Final = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
)
_UNREACHABLE: Final = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)
_ENCODE_JSON: Final = msgspec.json.Encoder(enc_hook=str).encode


class Transaction:
    """One use case's change: its statements, its events and its jobs, committed together or not at all."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._tags: set[str] = set()

    async def execute(self, sql: str, *arguments: Any) -> str:
        status: str = await self._connection.execute(sql, *arguments)
        return status

    async def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        await self._connection.executemany(sql, rows)

    async def fetch(self, sql: str, *arguments: Any) -> list[Row]:
        rows: list[Row] = await self._connection.fetch(sql, *arguments)
        return rows

    async def fetchrow(self, sql: str, *arguments: Any) -> Row | None:
        row: Row | None = await self._connection.fetchrow(sql, *arguments)
        return row

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        return await self._connection.fetchval(sql, *arguments)

    async def copy(self, table: str, columns: Sequence[str], records: Iterable[Sequence[Any]]) -> None:
        """Bulk insert by COPY."""
        await self._connection.copy_records_to_table(table, columns=list(columns), records=records)

    @contextlib.asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Statements inside are undone alone when an error leaves the block."""
        async with self._connection.transaction():
            yield

    async def emit(
        self,
        kind: str,
        *,
        subject: int | None = None,
        game: int | None = None,
        actor: int | None = None,
        data: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
    ) -> None:
        """Record that something happened.

        ``kind`` is ``noun.past_participle``; ``subject`` the id of the thing that it happened to;
        ``data`` what consumers need, JSON-able, without secrets; ``tags`` the cache tags that it makes
        stale, sent to every process at commit.
        """
        await self._connection.execute(
            "insert into events (kind, subject, game_id, actor_id, data) values ($1, $2, $3, $4, $5)",
            kind, subject, game, actor, dict(data or {}),
        )  # fmt: skip
        self._tags.add(f"event:{kind}")
        self._tags.update(tags)

    def stale(self, *tags: str) -> None:
        """Name cache tags that this change makes stale, without an event."""
        self._tags.update(tags)

    async def enqueue(
        self, job: str, payload: Mapping[str, Any], *, key: str | None = None, delay_seconds: float = 0
    ) -> None:
        """Ask for a job once this commits.

        ``key`` makes it unique among the jobs that wait or run: a second one with the key is dropped.
        """
        await self._connection.execute(
            "insert into pgqueuer (priority, entrypoint, payload, status, execute_after, dedupe_key, headers)"
            " values (0, $1, $2, 'queued', now() + make_interval(secs => $3), $4, '{}')"
            " on conflict do nothing",
            job, _ENCODE_JSON(payload), float(delay_seconds), key,
        )  # fmt: skip

    async def announce(self) -> None:
        """Queue the NOTIFY that carries the stale tags; PostgreSQL sends it at commit."""
        if not self._tags:
            return
        text = ",".join(sorted(self._tags))
        if len(text) > 7000:  # NOTIFY carries less than 8000 bytes
            text = "*"
        await self._connection.execute("select pg_notify($1, $2)", CHANGES_CHANNEL, text)


class Database:
    """A pool of connections that skip the reset: pooled connections never LISTEN, SET or hold session locks."""

    def __init__(self, dsn: str, *, size: int = 8) -> None:
        self._dsn = dsn
        self._size = size
        self._pool: Any = None
        self.statements = 0
        """Statements sent so far; query budgets in tests read it."""

    @property
    def dsn(self) -> str:
        return self._dsn

    async def open(self) -> None:
        self._pool = await asyncpg.create_pool(
            self._dsn,
            min_size=1,
            max_size=self._size,
            init=_prepare,
            reset=_keep,
            command_timeout=30,
            server_settings={
                "application_name": "loadstone",
                "idle_in_transaction_session_timeout": "5s",
                "statement_timeout": "30s",
                "lock_timeout": "10s",
                "jit": "off",
            },
        )

    async def close(self) -> None:
        if self._pool is None:
            return
        pool, self._pool = self._pool, None
        try:
            await asyncio.wait_for(pool.close(), 10)
        except TimeoutError:
            pool.terminate()

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A pooled connection, for reading. Raises :class:`UnavailableError` when the database is away."""
        try:
            connection = await self._pool.acquire(timeout=5)
        except (TimeoutError, OSError, asyncpg.PostgresError) as error:  # nothing was asked yet: it is the way there
            raise UnavailableError("The database is not reachable or too busy; try again shortly.") from error
        try:
            yield connection
        except _UNREACHABLE as error:
            raise UnavailableError("The database went away; try again shortly.") from error
        finally:
            # A statement that was cut off leaves the connection closed; the pool then replaces it.
            await self._pool.release(connection, timeout=5)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """One use case's transaction. An error rolls back all of it, its events and jobs included."""
        async with self.connection() as connection, connection.transaction():
            transaction = Transaction(_Counted(connection, self))
            yield transaction
            hook = before_commit.get()
            if hook is not None:
                await hook(transaction)
            await transaction.announce()

    async def fetch(self, sql: str, *arguments: Any) -> list[Row]:
        async with self.connection() as connection:
            self.statements += 1
            rows: list[Row] = await connection.fetch(sql, *arguments)
            return rows

    async def fetchrow(self, sql: str, *arguments: Any) -> Row | None:
        async with self.connection() as connection:
            self.statements += 1
            row: Row | None = await connection.fetchrow(sql, *arguments)
            return row

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        async with self.connection() as connection:
            self.statements += 1
            return await connection.fetchval(sql, *arguments)


async def connect(dsn: str, *, name: str = "loadstone direct", codecs: bool = True) -> Any:
    """One connection outside any pool, for LISTEN, COPY of millions and migrations.

    ``codecs=False`` leaves asyncpg's own types, for libraries that encode JSON themselves.
    """
    connection = await asyncpg.connect(dsn, server_settings={"application_name": name, "jit": "off"})
    if codecs:
        await _prepare(connection)
    return connection


def is_transient(error: BaseException) -> bool:
    """Whether running the same transaction again may succeed."""
    return isinstance(error, (*_TRANSIENT, *_UNREACHABLE, UnavailableError))


Key = TypeVar("Key")
Value = TypeVar("Value")


class Coalescer(Generic[Key, Value]):
    """Point reads that are pending in the same tick of the loop become one ``= any($1)``.

    ``load`` gets the distinct keys and returns what it found; a key that it leaves out reads as None.
    """

    def __init__(self, load: Callable[[list[Key]], Awaitable[Mapping[Key, Value]]], *, most: int = 200) -> None:
        self._load = load
        self._most = most
        self._waiting: dict[Key, asyncio.Future[Value | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, key: Key) -> Value | None:
        waiting = self._waiting.get(key)
        if waiting is None:
            loop = asyncio.get_running_loop()
            waiting = self._waiting[key] = loop.create_future()
            if len(self._waiting) == 1:
                loop.call_soon(self._flush)
            elif len(self._waiting) >= self._most:
                self._flush()
        return await asyncio.shield(waiting)

    def _flush(self) -> None:
        batch, self._waiting = self._waiting, {}
        if not batch:
            return
        task = asyncio.get_running_loop().create_task(self._answer(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, batch: dict[Key, asyncio.Future[Value | None]]) -> None:
        try:
            found = await self._load(list(batch))
        except Exception as error:  # noqa: BLE001 - handed to each reader
            for future in batch.values():
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # a reader that left does not make the loop complain
            return
        for key, future in batch.items():
            if not future.done():
                future.set_result(found.get(key))


class _Counted:
    """Counts the statements of a transaction for query budgets."""

    def __init__(self, connection: Any, database: Database) -> None:
        self._inner = connection
        self._database = database

    def __getattr__(self, name: str) -> Any:
        if name in {"execute", "fetch", "fetchrow", "fetchval", "executemany", "copy_records_to_table"}:
            self._database.statements += 1
        return getattr(self._inner, name)


async def _prepare(connection: Any) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: b"\x01" + _ENCODE_JSON(value),
        decoder=lambda data: msgspec.json.decode(data[1:]),
        format="binary",
    )


async def _keep(_connection: Any) -> None:
    """Skips asyncpg's reset query: a round trip at each release that these connections never need."""
