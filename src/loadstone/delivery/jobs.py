"""Background work of delivery: the rollup, the log's daily partitions, the blob store's left-overs."""

import datetime as dt
from typing import Final

from loadstone.delivery import store
from loadstone.delivery.counting import roll_up
from loadstone.kernel.jobs import Loop, Timer
from loadstone.kernel.platform import Platform

DAYS_AHEAD: Final = 7


async def make_partitions(platform: Platform) -> int:
    """Make the log's partitions of the coming days, where they are not there yet.

    Only of days to come: a row that is being written while its day gets a partition would be refused. A day
    that begins without one lies in the default partition. Each in its own short transaction. Returns 0:
    there is never more to do at once.
    """
    today = platform.clock.now().astimezone(dt.UTC).date()
    for ahead in range(1, DAYS_AHEAD + 1):
        async with platform.transaction() as tx:
            await store.make_partition(tx, today + dt.timedelta(days=ahead))
    return 0


async def sweep_blobs(platform: Platform) -> None:
    """Remove what writers left behind that were killed more than two days ago."""
    await platform.blobs.sweep(platform.clock.now() - dt.timedelta(days=2))


async def _roll_up(platform: Platform) -> int:
    return await roll_up(platform)


TIMERS: list[Timer] = [Timer("delivery.sweep_blobs", "41 4 * * *", sweep_blobs)]
LOOPS: list[Loop] = [
    # Nothing wakes these: a grant sends no NOTIFY, which would put all commits of the cluster in one line.
    Loop("delivery.count_downloads", _roll_up, every_seconds=2.0, wakes_on=("nothing",)),
    Loop("delivery.make_partitions", make_partitions, every_seconds=3600.0, wakes_on=("nothing",)),
]
