"""A process that tests kill: ``python -m tests.delivery.counting_process ROLE DATABASE DATA RELEASE…``.

``writer`` grants downloads and prints each ticket once it was promised; ``counter`` rolls the log up;
``rebuilder`` rebuilds the counters again and again. None of them ends by itself.
"""

import asyncio
import random
import sys
from pathlib import Path

from loadstone.delivery.counting import rebuild_counters, roll_up
from loadstone.delivery.models import Ticket, Wanted
from loadstone.delivery.service import grant_many
from loadstone.identity.models import ANONYMOUS
from loadstone.kernel.config import Config
from loadstone.kernel.platform import Platform, open_platform


async def write(platform: Platform, releases: list[str]) -> None:
    while True:
        wanted = [Wanted(r) for r in random.sample(releases, random.randint(1, len(releases)))]
        granted = await grant_many(platform, ANONYMOUS, wanted, "direct")
        print(*(t.id for t in granted if isinstance(t, Ticket)), sep="\n", flush=True)


async def count(platform: Platform) -> None:
    while True:
        print(await roll_up(platform, limit=7), flush=True)


async def rebuild(platform: Platform) -> None:
    while True:
        print(await rebuild_counters(platform), flush=True)


async def main(role: str, database: str, data: str, releases: list[str]) -> None:
    config = Config(data=Path(data), database_url=database, secret_key="k" * 32, log_level="error")
    async with open_platform(config) as platform:
        if role == "writer":
            await asyncio.gather(*(write(platform, releases) for _ in range(3)))
        await (count if role == "counter" else rebuild)(platform)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]))
