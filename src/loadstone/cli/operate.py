"""Small commands of the operator."""

import asyncio
import json as json_
from pathlib import Path
from typing import Literal

from loadstone.cli.terminal import err, out
from loadstone.kernel.config import Config, load


def config(*, config_file: Path | None = None, json: bool = False) -> int:
    """Print each key of the configuration: its value, where that came from, what it means.

    Parameters
    ----------
    config_file
        The configuration file to read.
    json
        Print JSON instead of a table.
    """
    from rich.table import Table

    settings = list(load(file=config_file).settings())
    if json:
        rows = [{"key": s.key, "value": s.value, "origin": s.origin, "meaning": s.meaning} for s in settings]
        print(json_.dumps(rows, indent=2, ensure_ascii=False))
        return 0
    table = Table("Key", "Value", "Origin", "Meaning", box=None, pad_edge=False)
    for setting in settings:
        style = "bold" if setting.origin != "default" else "dim"
        table.add_row(setting.key, setting.value or "—", f"[{style}]{setting.origin}[/]", setting.meaning)
    out.print(table)
    return 0


def migrate(*, config_file: Path | None = None) -> int:
    """Bring the database to this version.

    Parameters
    ----------
    config_file
        The configuration file; its keys are those of `loadstone config`.
    """
    from loadstone.cli.environment import with_database
    from loadstone.kernel import migrate as migrations

    with with_database(config_file) as config_:
        dsn = config_.database_direct_url or config_.database_url
        ran = asyncio.run(migrations.migrate(dsn, progress=lambda m: err.print(f"migration {m.number:04} {m.name}")))
    err.print(f"{len(ran)} migrations run; the database is up to date.")
    return 0


def openapi() -> int:
    """Print the OpenAPI 3.1 document of the REST interface."""
    from loadstone.http.app import openapi_document

    print(json_.dumps(openapi_document(), indent=2, sort_keys=True, ensure_ascii=False))
    return 0


def member(name: str, *roles: Literal["creator", "moderator", "admin"], config_file: Path | None = None) -> int:
    """Set the roles of a member.

    Parameters
    ----------
    name
        The member's name.
    roles
        All the roles that the member has from now on; none takes them all away.
    config_file
        The configuration file; its keys are those of `loadstone config`.
    """
    from loadstone.cli.environment import with_database
    from loadstone.identity import service
    from loadstone.identity.models import ANONYMOUS
    from loadstone.kernel.platform import open_platform

    async def run(config_: Config) -> None:
        async with open_platform(config_) as platform:
            await service.grant_roles(platform, ANONYMOUS, name, roles)

    with with_database(config_file) as config_:
        asyncio.run(run(config_))
    err.print(f"{name} now has: {', '.join(roles) or 'no roles'}.")
    return 0


def doctor(*, config_file: Path | None = None) -> int:
    """Say what is wrong with this machine and this platform, and how to mend it.

    Parameters
    ----------
    config_file
        The configuration file; its keys are those of `loadstone config`.
    """
    from loadstone.cli.checkup import checks

    worst = 0
    for check in checks(config_file):
        mark = {0: "[green]✓[/]", 1: "[yellow]![/]", 2: "[red]✗[/]"}[check.severity]
        out.print(f"{mark} {check.what}", soft_wrap=True)
        if check.remedy:
            out.print(f"    {check.remedy}", style="dim", soft_wrap=True)
        worst = max(worst, check.severity)
    return 1 if worst == 2 else 0


def recount(*, config_file: Path | None = None) -> int:
    """Make the download counters anew from the log of granted downloads.

    Parameters
    ----------
    config_file
        The configuration file; its keys are those of `loadstone config`.
    """
    from loadstone.cli.environment import with_database
    from loadstone.delivery.counting import rebuild_counters
    from loadstone.kernel.platform import open_platform

    async def run(config_: Config) -> int:
        async with open_platform(config_) as platform:
            return await rebuild_counters(platform)

    with with_database(config_file) as config_:
        wrong = asyncio.run(run(config_))
    err.print(f"The counters equal the log; {wrong} were wrong before.")
    return 0
