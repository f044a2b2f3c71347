"""``loadstone jobs``: what waits, runs and failed for good; and trying it again."""

import asyncio
import json as json_
from pathlib import Path
from typing import Literal

import msgspec

from loadstone.cli.environment import with_database
from loadstone.cli.terminal import out
from loadstone.kernel import jobs as kernel_jobs
from loadstone.kernel.config import Config
from loadstone.kernel.platform import Platform, open_platform

_STATES: dict[str, tuple[str, ...]] = {
    "parked": ("failed",),
    "waiting": ("queued",),
    "running": ("picked",),
    "all": ("failed", "queued", "picked"),
}


def jobs(
    show: Literal["parked", "waiting", "running", "all"] = "parked",
    *,
    retry: int | None = None,
    retry_all: bool = False,
    limit: int = 50,
    json: bool = False,
    config_file: Path | None = None,
) -> int:
    """Show background jobs and try parked ones again.

    A job is parked after its last attempt failed; nothing is lost until you retry it.

    Parameters
    ----------
    show
        Which jobs to list.
    retry
        The number of a parked job to put back into the queue.
    retry_all
        Put all parked jobs back into the queue.
    limit
        How many to list.
    json
        Print JSON instead of a table.
    config_file
        The configuration file; its keys are those of `loadstone config`.
    """

    async def run(config: Config) -> None:
        async with open_platform(config) as platform:
            if retry is not None:
                await kernel_jobs.retry(platform.db, retry)
                out.print(f"Job {retry} waits in the queue again.")
                return
            if retry_all:
                parked = await kernel_jobs.listing(platform.db, states=["failed"], limit=10_000)
                for job in parked:
                    await kernel_jobs.retry(platform.db, job.id)
                out.print(f"{len(parked)} jobs wait in the queue again.")
                return
            await _print(platform, _STATES[show], limit, as_json=json)

    with with_database(config_file) as config:
        asyncio.run(run(config))
    return 0


async def _print(platform: Platform, states: tuple[str, ...], limit: int, *, as_json: bool) -> None:
    from rich.table import Table

    overview = await kernel_jobs.overview(platform.db)
    listed = await kernel_jobs.listing(platform.db, states=states, limit=limit)
    if as_json:
        print(json_.dumps({"overview": overview, "jobs": msgspec.to_builtins(listed)}, indent=2))
        return
    names = {"failed": "parked", "queued": "waiting", "picked": "running"}
    summary = Table("Job", "State", "Number", "Oldest", box=None, pad_edge=False)
    for row in overview:
        summary.add_row(row["name"], names[row["state"]], str(row["jobs"]), f"{row['oldest_seconds']:.0f} s")
    out.print(summary if overview else "The queue is empty.")
    if not listed:
        return
    table = Table("Number", "Job", "State", "Attempts", "What", "Error", box=None, pad_edge=False)
    for job in listed:
        what = json_.dumps(job.payload)
        table.add_row(str(job.id), job.name, names[job.state], str(job.attempts), what, job.error or "")
    out.print()
    out.print(table)
