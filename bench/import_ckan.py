"""Importing a whole real catalogue, importing it again, and building the search index over it.

Reads the CKAN index (`LOADSTONE_TEST_DATA`, or `../shared/data` beside the checkout) into a fresh PostgreSQL as
the platform ships it. The limit of both imports is 60 seconds, of the index 30; the ratio is time to limit.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path

from loadstone.catalog.import_ckan import import_ckan
from loadstone.discovery.following import rebuild
from loadstone.kernel.config import Config
from loadstone.kernel.migrate import migrate
from loadstone.kernel.platform import Platform, open_platform
from loadstone.kernel.postgres import EmbeddedPostgres

IMPORT_LIMIT = 60.0
INDEX_LIMIT = 30.0


def main() -> int:
    data = Path(os.environ.get("LOADSTONE_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
    source = data / "ckan.jsonl.zst"
    if not source.is_file():
        print(f"There is no {source}; set LOADSTONE_TEST_DATA to the folder of the data sets.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="loadstone-bench-") as folder, EmbeddedPostgres(Path(folder) / "pg") as pg:
        asyncio.run(bench(source, Config(data=Path(folder) / "data", database_url=pg.dsn(), log_level="error")))
    return 0


async def bench(source: Path, config: Config) -> None:
    await migrate(config.database_url)
    async with open_platform(config) as platform:
        await timed("import_ckan", IMPORT_LIMIT, import_ckan(platform, source))
        await timed("import_ckan again", IMPORT_LIMIT, import_ckan(platform, source))
        await timed("index rebuild", INDEX_LIMIT, rebuild(platform))
        await count(platform)


async def timed(name: str, limit: float, work: Awaitable[object]) -> None:
    began, used = time.perf_counter(), time.process_time()
    await work
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    row = {"bench": name, "value": round(seconds, 2), "limit": limit, "ratio": round(seconds / limit, 3)}
    print(json.dumps(row | {"unit": "s", "cpu_of_this_process": round(cpu, 2)}), flush=True)


async def count(platform: Platform) -> None:
    """What was worked on, so that the figures mean something."""
    for table in ("mods", "releases", "claims"):
        print(f"{table}: {await platform.db.fetchval(f'select count(*) from {table}'):,}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
