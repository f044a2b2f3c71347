"""The public counters equal the log, exactly, whatever dies between grant, log and rollup."""

import asyncio
import contextlib
import datetime as dt
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Generator
from functools import partial
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone.delivery.counting import bucket, rebuild_counters, roll_up
from loadstone.delivery.jobs import LOOPS
from loadstone.delivery.models import Ticket, Wanted
from loadstone.delivery.service import grant_many
from loadstone.delivery.store import GRANTS_AFTER
from loadstone.identity.models import ANONYMOUS
from loadstone.kernel import db
from loadstone.kernel.clock import SettableClock
from loadstone.kernel.config import Config
from loadstone.kernel.ids import encode, made_at
from loadstone.kernel.jobs import work
from loadstone.kernel.platform import Platform, open_platform
from loadstone.kernel.processes import launch_command, spawn
from tests.delivery.releases import Published, grants, publish


@pytest.fixture
async def releases(platform: Platform, mod: dict[str, Any]) -> list[Published]:
    """Five releases of one mod."""
    return [await publish(platform, mod, b"%d" % n, version=f"1.{n}") for n in range(5)]


async def download(platform: Platform, releases: list[Published], times: int = 1) -> list[str]:
    """Grant each release so many times; the tickets' ids."""
    ids = []
    for _ in range(times):
        for outcome in await grant_many(platform, ANONYMOUS, [Wanted(r.id) for r in releases], "direct"):
            assert isinstance(outcome, Ticket)
            ids.append(outcome.id)
    return ids


async def count_all(platform: Platform, limit: int = 2000) -> int:
    total = 0
    while moved := await roll_up(platform, limit=limit):
        total += moved
    return total


async def counters(platform: Platform) -> tuple[dict[int, int], dict[int, int]]:
    """What the public sees: downloads by mod and by release, those at zero left out."""
    mods = await platform.db.fetch("select mod_id, downloads from mod_counters where downloads <> 0")
    files = await platform.db.fetch("select release_id, downloads from release_counters where downloads <> 0")
    return {r["mod_id"]: r["downloads"] for r in mods}, {r["release_id"]: r["downloads"] for r in files}


async def log(platform: Platform) -> tuple[dict[int, int], dict[int, int]]:
    """What the log says."""
    rows = await grants(platform)
    return dict(Counter(r["mod_id"] for r in rows)), dict(Counter(r["release_id"] for r in rows))


async def test_the_counters_are_the_log(platform: Platform, releases: list[Published]) -> None:
    await download(platform, releases, 3)
    await download(platform, releases[:1], 4)
    assert await count_all(platform) == 19
    assert await counters(platform) == await log(platform)
    assert await counters(platform) == (
        {releases[0].mod_number: 19},
        {r.number: 3 for r in releases} | {releases[0].number: 7},
    )
    assert await roll_up(platform) == 0


@pytest.mark.parametrize("limit", [1, 2, 7])
async def test_the_size_of_a_batch_changes_nothing(platform: Platform, releases: list[Published], limit: int) -> None:
    await download(platform, releases, 3)  # several rows share a transaction: batches end inside of it
    assert await count_all(platform, limit) == 15
    assert await counters(platform) == await log(platform)


class Writer:
    """A transaction that has granted and does not commit yet."""

    def __init__(self, platform: Platform, connection: Any) -> None:
        self._platform = platform
        self._connection = connection
        self._transaction = connection.transaction()

    async def grant(self, release: Published) -> None:
        await self._transaction.start()
        id_ = self._platform.ids.new()
        await self._connection.execute(
            "insert into grants (at, id, game_id, mod_id, release_id, artifact_id) values ($1, $2, 1, $3, $4, 1)",
            made_at(id_), id_, release.mod_number, release.number,
        )  # fmt: skip

    async def commit(self) -> None:
        await self._transaction.commit()

    async def roll_back(self) -> None:
        await self._transaction.rollback()


@pytest.fixture
async def writers(platform: Platform) -> AsyncIterator[list[Writer]]:
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for _ in range(3):
            connection = await db.connect(platform.db.dsn)
            stack.push_async_callback(connection.close)
            made.append(Writer(platform, connection))
        yield made


async def test_a_row_that_commits_late_is_neither_skipped_nor_counted_twice(
    platform: Platform, release: Published, writers: list[Writer]
) -> None:
    first, second, third = writers
    await first.grant(release)
    await second.grant(release)
    await third.grant(release)
    await third.commit()
    assert await roll_up(platform) == 0, "older transactions still run: their rows may come before"
    await second.roll_back()
    assert await roll_up(platform) == 0
    await first.commit()
    assert await roll_up(platform) == 2
    assert await count_all(platform) == 0
    assert await counters(platform) == await log(platform) == ({release.mod_number: 2}, {release.number: 2})


async def test_two_rollups_at_once_count_once(platform: Platform, releases: list[Published]) -> None:
    await download(platform, releases, 20)

    async def follow() -> int:
        total = 0
        while await counters(platform) != await log(platform):
            total += await roll_up(platform, limit=3)
        return total

    assert sum(await asyncio.gather(*(follow() for _ in range(3)))) == 100


class CancelledAt:
    """Awaits a coroutine and cancels its task at the nth time that it waits; ``reached`` says whether it did."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], nth: int) -> None:
        self._coroutine = coroutine
        self._left = nth
        self.reached = False

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._coroutine.__await__()
        step = partial(steps.send, None)
        while True:
            try:
                waited = step()
            except StopIteration as done:
                return done.value
            self._left -= 1
            if self._left == 0:
                self.reached = True
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                yield waited
                step = partial(steps.send, None)
            except BaseException as error:  # noqa: BLE001 - handed on to the coroutine
                step = partial(steps.throw, error)


async def _run(awaitable: CancelledAt) -> Any:
    return await awaitable


async def test_a_rollup_cancelled_at_any_await_counts_exactly(platform: Platform, releases: list[Published]) -> None:
    for nth in range(1, 100):
        await download(platform, releases)
        attempt = CancelledAt(roll_up(platform, limit=3), nth)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.create_task(_run(attempt))
        if not attempt.reached:
            break
        mods, _ = await counters(platform)
        position = await platform.db.fetchrow("select xid::text, id from event_cursors where consumer = 'downloads'")
        behind = [
            r for r in await grants(platform)
            if position and (int(r["xid"]), r["id"]) <= (int(position["xid"]), position["id"])
        ]  # fmt: skip
        assert mods.get(releases[0].mod_number, 0) == len(behind), f"cancelled at await {nth}"
    else:
        pytest.fail("the rollup never came to its end")
    await count_all(platform)
    assert await counters(platform) == await log(platform)


async def test_a_grant_cancelled_at_any_await_is_in_the_log_at_most_once(
    platform: Platform, releases: list[Published]
) -> None:
    promised = 0
    for nth in range(1, 100):
        attempt = CancelledAt(download(platform, releases), nth)
        with contextlib.suppress(asyncio.CancelledError):
            promised += len(await asyncio.create_task(_run(attempt)))
        if not attempt.reached:
            break
    else:
        pytest.fail("the grant never came to its end")
    _, by_release = await log(platform)
    assert len(set(by_release.values())) == 1, "all files of one call are granted together or not at all"
    assert sum(by_release.values()) >= promised == 5
    await count_all(platform)
    assert await counters(platform) == await log(platform)


class Killable:
    """A process of :mod:`tests.delivery.counting_process`."""

    def __init__(self, role: str, platform: Platform, releases: list[Published]) -> None:
        argv = [
            sys.executable, "-m", "tests.delivery.counting_process", role, platform.db.dsn,
            str(platform.config.data), *(r.id for r in releases),
        ]  # fmt: skip
        self._process = spawn(launch_command(argv, death_signal=signal.SIGKILL), stdout=subprocess.PIPE)
        self._lines: list[bytes] = []

    async def works(self) -> None:
        """Returns when it has done something."""
        assert self._process.stdout is not None
        self._lines.append(await asyncio.to_thread(self._process.stdout.readline))
        assert self._lines[0], "the process ended by itself"

    async def kill(self) -> list[str]:
        """kill -9; what it had printed in full until then."""
        self._process.kill()
        rest, _ = await asyncio.to_thread(self._process.communicate)
        text = b"".join(self._lines) + rest
        return text[: text.rfind(b"\n") + 1].decode().split()


@pytest.mark.timeout(300)
async def test_killed_processes_leave_counters_that_equal_the_log(
    platform: Platform, releases: list[Published]
) -> None:
    chance = random.Random(20)
    promised: set[str] = set()
    for _ in range(2):
        roles = ["writer", "writer", "counter", "counter", "rebuilder"]
        running = [(role, Killable(role, platform, releases)) for role in roles]
        await asyncio.gather(*(process.works() for _, process in running))
        chance.shuffle(running)
        for role, process in running:
            await asyncio.sleep(chance.uniform(0.02, 0.25))
            printed = await process.kill()
            if role == "writer":
                promised.update(printed)
    await count_all(platform)
    logged = {encode("grant", r["id"]) for r in await grants(platform)}
    assert promised
    assert promised <= logged, "a promised ticket is in the log"
    assert await counters(platform) == await log(platform)


async def test_rebuilding_restores_the_counters_from_the_log(platform: Platform, releases: list[Published]) -> None:
    await download(platform, releases, 4)
    await count_all(platform)
    right = await counters(platform)
    assert await rebuild_counters(platform) == 0
    async with platform.transaction() as tx:
        await tx.execute("update mod_counters set downloads = 999")
        await tx.execute("update release_counters set downloads = 7 where release_id = $1", releases[0].number)
        await tx.execute("delete from release_counters where release_id = $1", releases[1].number)
    assert await rebuild_counters(platform) == 3
    assert await counters(platform) == right == await log(platform)


async def test_rebuilding_leaves_what_is_not_counted_yet_to_the_rollup(
    platform: Platform, releases: list[Published]
) -> None:
    await download(platform, releases, 2)
    await roll_up(platform, limit=3)
    await download(platform, releases, 2)
    assert await rebuild_counters(platform) == 0
    assert sum((await counters(platform))[1].values()) == 3
    await count_all(platform)
    assert await counters(platform) == await log(platform)


async def test_after_a_restore_the_new_rows_are_counted_although_their_transactions_are_younger(
    platform: Platform, releases: list[Published]
) -> None:
    await download(platform, releases)
    await count_all(platform)
    async with platform.transaction() as tx:  # the other cluster had come further
        await tx.execute("update grants set xid = '9000000000000000000'")
        await tx.execute("update event_cursors set xid = '9000000000000000000' where consumer = 'downloads'")
        await tx.execute("select bump_event_era()")
    await download(platform, releases, 2)
    assert await count_all(platform) == 10
    assert await counters(platform) == await log(platform)


async def test_search_hears_of_a_mod_only_when_its_size_class_changes(
    platform: Platform, releases: list[Published]
) -> None:
    for _ in range(40):
        await download(platform, releases[:1])
        await roll_up(platform)
    events = await platform.db.fetch(
        "select subject, data from events where kind = 'mod.downloads_counted' order by era, events.xid, id"
    )
    assert [e["data"]["downloads"] for e in events] == [*range(1, 9), 10, 12, 14, 16, 20, 24, 28, 32, 40]
    assert {e["subject"] for e in events} == {releases[0].mod_number}


@given(st.integers(0, 2**62), st.integers(0, 2**62))
def test_a_size_class_is_near_below_and_keeps_the_order(a: int, b: int) -> None:
    assert bucket(a) <= a <= bucket(a) * 5 // 4 + 1
    assert bucket(min(a, b)) <= bucket(max(a, b))


async def test_the_worker_counts_by_itself(platform: Platform, releases: list[Published]) -> None:
    stop = asyncio.Event()
    worker = asyncio.create_task(work(platform, [], [], LOOPS, stop=stop, concurrency=2, drain_seconds=5))
    try:
        await download(platform, releases)
        async with asyncio.timeout(60):
            while await counters(platform) != await log(platform):
                await asyncio.sleep(0.05)
            while len(await partitions(platform)) < 8:  # the coming week, and elsewhen
                await asyncio.sleep(0.05)
    finally:
        stop.set()
        await worker


async def partitions(platform: Platform) -> dict[str, str]:
    rows = await platform.db.fetch(
        "select c.relname as name, pg_get_expr(c.relpartbound, c.oid) as bounds from pg_inherits i"
        " join pg_class c on c.oid = i.inhrelid where i.inhparent = 'grants'::regclass order by 1"
    )
    return {r["name"]: r["bounds"] for r in rows}


async def test_a_partition_is_a_day_of_utc_whoever_makes_it(platform: Platform, release: Published) -> None:
    connection: asyncpg.Connection = await db.connect(platform.db.dsn)
    try:
        await connection.execute("set timezone = 'Pacific/Auckland'")
        for day in ("2031-04-05", "2031-04-06", "2031-04-06"):  # their clocks change there; once more is no error
            await connection.execute(f"select make_grant_partition('{day}')")
        await connection.execute("set timezone = 'UTC'")
        bounds = dict(
            await connection.fetch(
                "select relname, pg_get_expr(relpartbound, oid) from pg_class where relname like 'grants_2031%'"
            )
        )
    finally:
        await connection.close()
    assert {name: text for name, text in bounds.items() if "idx" not in name and "key" not in name and text} == {
        "grants_20310405": "FOR VALUES FROM ('2031-04-05 00:00:00+00') TO ('2031-04-06 00:00:00+00')",
        "grants_20310406": "FOR VALUES FROM ('2031-04-06 00:00:00+00') TO ('2031-04-07 00:00:00+00')",
    }


async def test_the_days_to_come_get_their_partitions_and_rows_lie_in_them(
    config: Config, platform: Platform, releases: list[Published]
) -> None:
    clock = SettableClock(dt.datetime(2031, 12, 31, 23, 59, 59, tzinfo=dt.UTC))
    make_partitions = LOOPS[1].run
    async with open_platform(config, clock=clock) as later:
        await download(later, releases)
        await asyncio.gather(*(make_partitions(later) for _ in range(3)))
        clock.move(dt.timedelta(seconds=1))
        await download(later, releases)
        await make_partitions(later)
    elsewhen = await platform.db.fetchval("select count(*) from grants_elsewhen")
    first_day = await platform.db.fetchval("select count(*) from grants_20320101")
    assert (elsewhen, first_day) == (5, 5), "the day that had begun without a partition stays without"
    assert list(await partitions(platform)) == [*(f"grants_203201{day:02}" for day in range(1, 9)), "grants_elsewhen"]
    await count_all(platform)
    assert await counters(platform) == await log(platform)


async def test_making_a_partition_of_rows_that_lie_elsewhen_changes_nothing(
    platform: Platform, releases: list[Published]
) -> None:
    await download(platform, releases)
    async with platform.transaction() as tx:
        await tx.execute("select make_grant_partition((now() at time zone 'UTC')::date)")
    assert list(await partitions(platform)) == ["grants_elsewhen"]
    await count_all(platform)
    assert await counters(platform) == await log(platform)


async def test_the_rollup_reads_the_log_by_its_index(platform: Platform, releases: list[Published]) -> None:
    """Sorting all that lies behind the cursor would make each batch dearer than the one before."""
    async with platform.transaction() as tx:
        await tx.execute(
            "insert into grants (at, id, game_id, mod_id, release_id, artifact_id)"
            " select now(), n, 1, $1, $2, 1 from generate_series(1, 20000) n",
            releases[0].mod_number, releases[0].number,
        )  # fmt: skip
    async with platform.transaction() as tx:
        await tx.execute("analyze grants")
        plan = [r[0] for r in await tx.fetch("explain " + GRANTS_AFTER, 0, "0", 0, 100)]  # type: ignore[index]
    assert any("Index Scan" in line for line in plan), plan
    assert not any("Sort  (cost" in line for line in plan), plan
