"""Background work: asked for in a transaction, done at least once, parked when hopeless, handed back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from loadstone.kernel import jobs
from loadstone.kernel.errors import NotFoundError
from loadstone.kernel.jobs import Job
from loadstone.kernel.platform import Platform


@contextlib.asynccontextmanager
async def working(platform: Platform, kinds: Sequence[Job], *, drain: float = 5.0) -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    task = asyncio.create_task(jobs.work(platform, kinds, [], [], stop=stop, concurrency=4, drain_seconds=drain))
    try:
        yield stop
    finally:
        stop.set()
        await task


async def _until(condition: Any, seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


async def _enqueue(platform: Platform, name: str, payload: dict[str, Any], **options: Any) -> None:
    async with platform.transaction() as tx:
        await tx.enqueue(name, payload, **options)


async def test_a_job_runs_with_its_payload(platform: Platform) -> None:
    ran: list[dict[str, Any]] = []

    async def run(_: Platform, payload: dict[str, Any]) -> None:
        ran.append(payload)

    async with working(platform, [Job("test.work", run)]):
        await _enqueue(platform, "test.work", {"n": 1})
        await _until(lambda: _truth(bool(ran)))
    assert ran == [{"n": 1}]


async def test_a_rolled_back_transaction_leaves_no_job(platform: Platform) -> None:
    """law 1: a task can only be enqueued through the transaction that makes it true"""
    with pytest.raises(ZeroDivisionError):
        async with platform.transaction() as tx:
            await tx.enqueue("test.work", {})
            raise ZeroDivisionError
    assert await jobs.overview(platform.db) == []


async def test_a_key_keeps_one_of_the_same_jobs_waiting(platform: Platform) -> None:
    for _ in range(3):
        await _enqueue(platform, "test.work", {}, key="only once")
    assert [row["jobs"] for row in await jobs.overview(platform.db)] == [1]


async def test_a_failing_job_is_tried_again_then_parked_and_can_be_retried(platform: Platform) -> None:
    runs: list[int] = []
    told: list[dict[str, Any]] = []
    broken = True

    async def run(_: Platform, payload: dict[str, Any]) -> None:
        runs.append(1)
        if broken:
            raise RuntimeError("the disk said no")

    async def on_parked(_: Platform, payload: dict[str, Any]) -> None:
        told.append(payload)

    kind = Job("test.fails", run, attempts=3, first_delay_seconds=0.01, on_parked=on_parked)

    async def parked() -> bool:
        return bool(await jobs.listing(platform.db, states=["failed"]))

    async with working(platform, [kind]):
        await _enqueue(platform, "test.fails", {"file": 7})
        await _until(parked)
        assert len(runs) == 3
        assert told == [{"file": 7}]
        job = (await jobs.listing(platform.db, states=["failed"]))[0]
        assert "the disk said no" in (job.error or "")
        broken = False
        await jobs.retry(platform.db, job.id)
        await _until(lambda: _truth(len(runs) == 4))

        async def gone() -> bool:
            return not await jobs.listing(platform.db, states=["failed", "queued", "picked"])

        await _until(gone)


async def test_retrying_what_is_not_parked_says_so(platform: Platform) -> None:
    with pytest.raises(NotFoundError):
        await jobs.retry(platform.db, 123)


async def test_a_stopping_worker_hands_back_what_it_cannot_finish(platform: Platform) -> None:
    started = asyncio.Event()

    async def run(_: Platform, payload: dict[str, Any]) -> None:
        started.set()
        await asyncio.sleep(60)

    async with working(platform, [Job("test.long", run)], drain=0.1):
        await _enqueue(platform, "test.long", {})
        await asyncio.wait_for(started.wait(), 20)
    waiting = await jobs.listing(platform.db, states=["queued"])
    assert [j.name for j in waiting] == ["test.long"]


async def _truth(value: bool) -> bool:
    return value
