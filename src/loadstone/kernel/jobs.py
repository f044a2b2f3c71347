"""Background work by PgQueuer: asked for in a transaction, retried with back-off, parked when hopeless.

A job may run more than once (its worker may die after the work and before the note of it), so every
handler's effect is guarded by a unique key or a state. ``loadstone jobs`` shows and retries the parked.
"""

import asyncio
import datetime as dt
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from loadstone.kernel import db
from loadstone.kernel.db import Database
from loadstone.kernel.errors import NotFoundError
from loadstone.kernel.metrics import JOBS_DONE, JOBS_SECONDS
from loadstone.kernel.platform import Platform

if TYPE_CHECKING:
    # Imported where a worker runs: web processes and the CLI show jobs without loading the queue's machinery.
    from pgqueuer import PgQueuer
    from pgqueuer.core.executors import DatabaseRetryEntrypointExecutor, EntrypointExecutorParameters
    from pgqueuer.domain.models import Job as QueuedJob
    from pgqueuer.domain.models import Schedule

_log = structlog.get_logger()

Handler = Callable[[Platform, dict[str, Any]], Awaitable[None]]
Tick = Callable[[Platform], Awaitable[None]]
FOREVER: Final = 1_000_000


class Job(msgspec.Struct, frozen=True):
    """A kind of work: its stable name, what does it, how often it is tried before it is parked."""

    name: str
    run: Handler
    attempts: int = 6
    first_delay_seconds: float = 1.0
    longest_delay_seconds: float = 300.0
    at_once: int = 0
    """How many may run in the whole cluster at the same time; 0 is unlimited."""
    on_parked: Handler | None = None
    """Called when the last attempt failed, so that whoever waits can be told."""


class Timer(msgspec.Struct, frozen=True):
    """Work that is due by the clock: a cron expression and what to do."""

    name: str
    cron: str
    run: Tick


class Loop(msgspec.Struct, frozen=True):
    """Work that follows the event log: called when something changed and every few seconds anyway."""

    name: str
    run: Callable[[Platform], Awaitable[int]]
    every_seconds: float = 2.0
    wakes_on: tuple[str, ...] = ()
    """Tags that wake it at once; empty means any change."""


async def work(
    platform: Platform,
    jobs: Sequence[Job],
    timers: Sequence[Timer],
    loops: Sequence[Loop],
    *,
    stop: asyncio.Event,
    concurrency: int,
    drain_seconds: float,
) -> None:
    """Run one worker until ``stop`` is set; running jobs get ``drain_seconds``, then are handed back."""
    from pgqueuer import PgQueuer
    from pgqueuer.db import AsyncpgDriver

    from loadstone.kernel.events import ChangeListener

    logging.getLogger("pgqueuer").setLevel(logging.CRITICAL)
    connection = await db.connect(platform.direct_dsn, name="loadstone jobs", codecs=False)
    queue = PgQueuer(connection=AsyncpgDriver(connection))
    in_flight: set[asyncio.Task[Any]] = set()
    for job in jobs:
        _register(queue, platform, job, in_flight)
    for timer in timers:
        _schedule(queue, platform, timer)
    wakers = {loop.name: asyncio.Event() for loop in loops}

    def wake(tags: frozenset[str]) -> None:
        for loop in loops:
            if not loop.wakes_on or "*" in tags or not tags.isdisjoint(loop.wakes_on):
                wakers[loop.name].set()

    async with ChangeListener(platform.direct_dsn, wake):
        following = [asyncio.create_task(_follow(platform, loop, wakers[loop.name]), name=loop.name) for loop in loops]
        running = asyncio.create_task(
            queue.run(
                dequeue_timeout=timedelta(seconds=5),
                batch_size=max(1, concurrency // 2),
                max_concurrent_tasks=max(2, concurrency),
                heartbeat_timeout=timedelta(seconds=10),
                shutdown_on_listener_failure=True,
            )
        )
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            for task in following:
                task.cancel()
            queue.shutdown.set()
            await asyncio.wait({running}, timeout=drain_seconds)
            # What still runs is cancelled one by one, not with the queue: PgQueuer takes a job that is cancelled
            # from above for done, while a handler that asks for a retry goes back into the queue.
            for task in list(in_flight):
                task.cancel()
            _, late = await asyncio.wait({running}, timeout=5)
            for task in late:
                task.cancel()
            await asyncio.gather(*following, running, return_exceptions=True)
            await connection.close(timeout=2)
        if not running.cancelled():
            running.result()


def _register(queue: "PgQueuer", platform: Platform, job: Job, in_flight: set[asyncio.Task[Any]]) -> None:
    from pgqueuer.core.executors import DatabaseRetryEntrypointExecutor
    from pgqueuer.domain.errors import RetryRequested

    def executor(parameters: "EntrypointExecutorParameters") -> "DatabaseRetryEntrypointExecutor":
        return DatabaseRetryEntrypointExecutor(
            parameters=parameters,
            max_attempts=job.attempts - 1,
            initial_delay=timedelta(seconds=job.first_delay_seconds),
            max_delay=timedelta(seconds=job.longest_delay_seconds),
        )

    async def run(queued: "QueuedJob") -> None:
        payload = msgspec.json.decode(queued.payload or b"{}")
        task = asyncio.current_task()
        assert task is not None
        in_flight.add(task)
        task.add_done_callback(in_flight.discard)
        log = _log.bind(job=job.name, job_id=int(queued.id), attempt=queued.attempts + 1)
        with JOBS_SECONDS.labels(job.name).time():
            try:
                await job.run(platform, payload)
            except asyncio.CancelledError:
                JOBS_DONE.labels(job.name, "handed back").inc()
                task.uncancel()
                raise RetryRequested(delay=timedelta(0), reason="its worker was stopped") from None
            except Exception as error:
                last = queued.attempts >= job.attempts - 1
                JOBS_DONE.labels(job.name, "parked" if last else "failed").inc()
                log.warning("job_parked" if last else "job_failed", error=repr(error), exc_info=last)
                if last and job.on_parked:
                    await job.on_parked(platform, payload)
                raise
        JOBS_DONE.labels(job.name, "done").inc()
        log.debug("job_done")

    queue.entrypoint(
        job.name,
        concurrency_limit=job.at_once,
        on_failure="hold",
        accepts_context=False,
        executor_factory=executor,
    )(run)


def _schedule(queue: "PgQueuer", platform: Platform, timer: Timer) -> None:
    async def tick(_: "Schedule") -> None:
        try:
            await timer.run(platform)
        except Exception as error:  # noqa: BLE001 - the next tick tries again
            _log.warning("timer_failed", timer=timer.name, error=repr(error))

    queue.schedule(timer.name, timer.cron, clean_old=True)(tick)


async def _follow(platform: Platform, loop: Loop, waker: asyncio.Event) -> None:
    failures = 0
    while True:
        waker.clear()
        try:
            moved = await loop.run(platform)
            failures = 0
        except Exception as error:  # noqa: BLE001 - back off, then go on from the cursor
            failures += 1
            moved = 0
            _log.warning("loop_failed", loop=loop.name, error=repr(error), failures=failures)
            await asyncio.sleep(min(30.0, 0.2 * 2 ** min(failures, 8)))
        if moved:
            continue
        try:
            await asyncio.wait_for(waker.wait(), loop.every_seconds)
            # An event is readable only once transactions beside it have ended.
            await asyncio.sleep(0.02)
        except TimeoutError:
            pass


class ParkedJob(msgspec.Struct, frozen=True):
    """A job as the admin sees it."""

    id: int
    name: str
    state: str
    attempts: int
    created_at: dt.datetime
    updated_at: dt.datetime
    run_after: dt.datetime
    payload: Any
    error: str | None


async def overview(database: Database) -> list[dict[str, Any]]:
    """How many jobs of each name are in each state, and the age of the oldest in seconds."""
    rows = await database.fetch(
        "select entrypoint as name, status::text as state, count(*) as jobs,"
        " extract(epoch from now() - min(created))::float as oldest_seconds"
        " from pgqueuer group by 1, 2 order by 1, 2"
    )
    return [dict(row) for row in rows]


async def listing(
    database: Database, *, states: Iterable[str], after: int | None = None, limit: int = 50
) -> list[ParkedJob]:
    """Jobs in these states (``queued``, ``picked``, ``failed``), newest first, older than ``after``."""
    rows = await database.fetch(
        "select q.id, q.entrypoint, q.status::text as state, q.attempts, q.created, q.updated,"
        " q.execute_after, q.payload, l.traceback"
        " from pgqueuer q left join lateral ("
        "   select traceback from pgqueuer_log where job_id = q.id and traceback is not null"
        "   order by created desc limit 1) l on true"
        " where q.status::text = any($1) and ($2::bigint is null or q.id < $2)"
        " order by q.id desc limit $3",
        list(states), after, limit,
    )  # fmt: skip
    return [_parked(row) for row in rows]


async def retry(database: Database, job_id: int) -> None:
    """Put a parked job back into the queue with fresh attempts. Raises :class:`NotFoundError`."""
    moved = await database.fetchval(
        "update pgqueuer set status = 'queued', attempts = 0, execute_after = now(), updated = now(),"
        " queue_manager_id = null where id = $1 and status = 'failed' returning id",
        job_id,
    )
    if moved is None:
        raise NotFoundError(f"There is no parked job {job_id}; `loadstone jobs` lists them.")


def _parked(row: db.Row) -> ParkedJob:
    trace = row["traceback"]
    error = None
    if isinstance(trace, dict):
        error = f"{trace.get('exception_type', '')}: {trace.get('exception_message', '')}".strip(": ")
    return ParkedJob(
        row["id"], row["entrypoint"], row["state"], row["attempts"], row["created"], row["updated"],
        row["execute_after"], msgspec.json.decode(row["payload"] or b"{}"), error,
    )  # fmt: skip
