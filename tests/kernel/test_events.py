"""Laws 1 and 2 of the outbox: no event is skipped, none takes effect twice."""

import asyncio
import random
from collections.abc import Sequence

import asyncpg
import pytest

from loadstone.kernel import events
from loadstone.kernel.db import Transaction
from loadstone.kernel.events import ChangeListener, Event, Position
from loadstone.kernel.platform import Platform


async def _drain(platform: Platform, consumer: str, effect: events.Effect, limit: int = 500) -> int:
    moved = total = 0
    while moved := await events.consume(platform.db, consumer, effect, limit=limit):
        total += moved
    return total


async def test_an_event_exists_exactly_when_its_change_is_committed(platform: Platform) -> None:
    async with platform.transaction() as tx:
        await tx.emit("thing.made", subject=1)
    with pytest.raises(ZeroDivisionError):
        async with platform.transaction() as tx:
            await tx.emit("thing.lost", subject=2)
            raise ZeroDivisionError
    found = await events.read_after(platform.db, Position())
    assert [e.kind for e in found] == ["thing.made"]


async def test_writers_that_commit_out_of_order_lose_no_event_and_repeat_none(platform: Platform) -> None:
    """law 2: nothing acknowledged is lost; nothing happens twice"""
    seen: list[int] = []
    rng = random.Random(7)
    done = asyncio.Event()

    async def effect(_: Transaction, batch: Sequence[Event]) -> None:
        seen.extend(e.subject or 0 for e in batch)

    async def write(start: int) -> None:
        for n in range(start, start + 25):
            async with platform.transaction() as tx:
                await tx.emit("thing.made", subject=n)
                await asyncio.sleep(rng.random() * 0.02)  # ids are taken; the commit comes later, in any order

    async def follow() -> None:
        while not done.is_set():
            await events.consume(platform.db, "test", effect, limit=7)
            await asyncio.sleep(0.003)

    follower = asyncio.create_task(follow())
    await asyncio.gather(*(write(n * 1000) for n in range(1, 6)))
    done.set()
    await follower
    await _drain(platform, "test", effect)
    assert sorted(seen) == sorted(n for s in range(1, 6) for n in range(s * 1000, s * 1000 + 25))


async def test_a_reader_waits_behind_the_oldest_running_transaction(platform: Platform) -> None:
    slow = await asyncpg.connect(platform.db.dsn)
    try:
        running = slow.transaction()
        await running.start()
        await slow.execute("insert into events (kind, subject, data) values ('slow', 1, '{}')")
        async with platform.transaction() as tx:
            await tx.emit("quick", subject=2)
        assert await events.read_after(platform.db, Position()) == []
        await running.commit()
    finally:
        await slow.close()
    assert {e.kind for e in await events.read_after(platform.db, Position())} == {"slow", "quick"}


async def test_an_effect_that_fails_leaves_the_cursor_and_its_writes_where_they_were(platform: Platform) -> None:
    async with platform.transaction() as tx:
        await tx.emit("thing.made", subject=5)

    async def breaks(tx: Transaction, _: Sequence[Event]) -> None:
        await tx.emit("derived", subject=9)
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError):
        await events.consume(platform.db, "c", breaks)
    seen: list[str] = []

    async def works(_: Transaction, batch: Sequence[Event]) -> None:
        seen.extend(e.kind for e in batch)

    await _drain(platform, "c", works)
    assert seen == ["thing.made"]


async def test_two_processes_of_one_consumer_share_the_work_without_doubling_it(platform: Platform) -> None:
    for n in range(40):
        async with platform.transaction() as tx:
            await tx.emit("thing.made", subject=n)
    seen: list[int] = []

    async def effect(_: Transaction, batch: Sequence[Event]) -> None:
        await asyncio.sleep(0.001)
        seen.extend(e.subject or 0 for e in batch)

    async def follow() -> None:
        for _ in range(40):
            await events.consume(platform.db, "shared", effect, limit=3)

    await asyncio.gather(follow(), follow(), follow())
    await _drain(platform, "shared", effect)
    assert sorted(seen) == list(range(40))


async def test_after_a_restore_into_a_younger_cluster_new_events_follow_the_old_ones(platform: Platform) -> None:
    """Transaction ids start again in another cluster; the era keeps the order."""
    async with platform.transaction() as tx:
        await tx.emit("old", subject=1)
    await platform.db.fetch("update events set xid = '9000000000'")
    await platform.db.fetchval("select bump_event_era()")
    async with platform.transaction() as tx:
        await tx.emit("new", subject=2)
    assert [e.kind for e in await events.read_after(platform.db, Position())] == ["old", "new"]


async def test_a_listener_hears_what_a_commit_made_stale(platform: Platform) -> None:
    heard: set[str] = set()
    async with ChangeListener(platform.db.dsn, heard.update) as listener:
        await asyncio.wait_for(listener.listening.wait(), 5)
        async with platform.transaction() as tx:
            await tx.emit("mod.changed", subject=1, tags=["mod:1"])
        for _ in range(200):
            if "mod:1" in heard:
                break
            await asyncio.sleep(0.01)
    assert {"mod:1", "event:mod.changed", "*"} <= heard
