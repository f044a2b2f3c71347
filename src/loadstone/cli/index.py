"""``loadstone index``: the search index."""

import asyncio
from pathlib import Path

from loadstone.cli.environment import with_database
from loadstone.cli.terminal import err, out
from loadstone.kernel import logs
from loadstone.kernel.config import Config


def rebuild(*, config_file: Path | None = None) -> int:
    """Build the search index anew from the database, without downtime.

    Searches go on over the old index and change over when the new one is complete.

    Parameters
    ----------
    config_file
        The configuration file; its keys are those of `loadstone config`.
    """
    with with_database(config_file) as config:
        logs.configure("warning", config.log_format)
        done = asyncio.run(_rebuild(config))
    out.print(f"The search index holds {done:,} mods.")
    return 0


async def _rebuild(config: Config) -> int:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from loadstone.discovery import following
    from loadstone.kernel.platform import open_platform

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err) as bar:
        task = bar.add_task("Indexing mods", total=None)
        async with open_platform(config) as platform:
            return await following.rebuild(platform, lambda done, of: bar.update(task, completed=done, total=of))
