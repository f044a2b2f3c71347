"""What ``loadstone doctor`` looks at."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from loadstone.cli.environment import with_database
from loadstone.kernel.config import Config, ConfigError, load

_ROOM: int = 2 << 30


class Check(msgspec.Struct, frozen=True):
    """One finding. ``severity``: 0 good, 1 could be better, 2 broken."""

    severity: int
    what: str
    remedy: str = ""


def checks(config_file: Path | None) -> Iterator[Check]:
    """Every finding, worst not first: in the order in which things depend on each other."""
    from loadstone.kernel.postgres import DataFolderBusy, PostgresUnavailable

    try:
        config = load(file=config_file).config
    except ConfigError as error:
        yield Check(2, f"The configuration cannot be read: {error}.")
        return
    yield Check(0, "The configuration is sound.")
    yield from _folder(config)
    yield from _jail()
    try:
        with with_database(config_file) as usable:
            yield from asyncio.run(_database(usable))
    except ConfigError as error:
        yield Check(1, f"The database was not looked at: {error}.")
    except (DataFolderBusy, PostgresUnavailable, OSError) as error:
        yield Check(2, f"The database does not start: {error}")


def _folder(config: Config) -> Iterator[Check]:
    folder = next(p for p in (config.data.absolute(), *config.data.absolute().parents) if p.exists())
    if not os.access(folder, os.W_OK):
        yield Check(2, f"{folder} cannot be written.", "Choose another folder with LOADSTONE_DATA.")
        return
    free = shutil.disk_usage(folder).free
    if free < _ROOM:
        yield Check(1, f"{free >> 20} MiB are free for {config.data}.", "Uploads are refused when it is full.")
    else:
        yield Check(0, f"{free >> 30} GiB are free for {config.data}.")


def _jail() -> Iterator[Check]:
    from loadstone.archives import jail_layers

    missing = [(name, why) for name, active, why in jail_layers() if not active]
    if not missing:
        yield Check(0, "The jail for archives has all its layers.")
    for name, why in missing:
        yield Check(1, f"The jail for archives lacks {name}: {why}.", "The other layers hold without it.")


async def _database(config: Config) -> list[Check]:
    import asyncpg

    from loadstone.kernel.migrate import shipped
    from loadstone.kernel.platform import open_platform

    found = []
    try:
        async with open_platform(config) as platform:
            version = await platform.db.fetchval("show server_version")
            done = await platform.db.fetchval("select coalesce(max(number), 0) from schema_migrations")
            parked = await platform.db.fetchval("select count(*) from pgqueuer where status = 'failed'")
    except asyncpg.UndefinedTableError:
        return [Check(2, "The database has no tables of ours.", "Run `loadstone migrate`.")]
    found.append(Check(0, f"PostgreSQL {version} answers."))
    if done < len(shipped()):
        found.append(Check(2, f"{len(shipped()) - done} migrations have not run.", "Run `loadstone migrate`."))
    if parked:
        found.append(
            Check(1, f"{parked} jobs failed for good.", "See `loadstone jobs`, then `loadstone jobs --retry-all`.")
        )
    return found
