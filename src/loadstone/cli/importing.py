"""``loadstone import``: take over a whole catalogue from elsewhere."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from loadstone.cli.environment import with_database
from loadstone.cli.terminal import err, out
from loadstone.kernel.config import Config

if TYPE_CHECKING:
    from loadstone.catalog.importing import Report

_SHOWN = 20


def import_ckan(path: Path, *, json: bool = False, config_file: Path | None = None) -> int:
    """Import the catalogue of CKAN, Kerbal Space Program's mods.

    It can be stopped at any time and run again: what is there already is left as it is. The exit status is 1
    when the input could not be read to its end.

    Parameters
    ----------
    path
        A folder or a tar.gz of .ckan files, or the index as ckan.jsonl.zst or ckan.jsonl.
    json
        Print the report as JSON.
    config_file
        The configuration file; its keys are those of `loadstone config`.
    """
    with with_database(config_file) as config:
        report = asyncio.run(_import(config, path))
    if json:
        print(msgspec.json.encode(report).decode())
    else:
        _print(report)
    return 0 if report.complete else 1


async def _import(config: Config, path: Path) -> "Report":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from loadstone.catalog import import_ckan as ckan
    from loadstone.kernel.platform import open_platform

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err) as bar:
        task = bar.add_task("Reading", total=None)

        def progress(done: int, of: int) -> None:
            bar.update(task, description="Importing releases", completed=done, total=of)

        async with open_platform(config) as platform:
            return await ckan.import_ckan(platform, path, progress)


def _print(report: "Report") -> None:
    from rich.table import Table

    table = Table("", "New", "Changed", "As before", box=None, pad_edge=False)
    table.add_row("Mods", f"{report.mods_new:,}", f"{report.mods_changed:,}", f"{report.mods_same:,}")
    table.add_row("Releases", f"{report.releases_new:,}", "", f"{report.releases_same:,}")
    table.add_row("Claims", f"{report.claims_new:,}", f"{report.claims_withdrawn:,} withdrawn", "")
    out.print(table)
    out.print(f"\nin {report.seconds:.1f} s")
    if report.left_out:
        left = Table("Not taken over as it is", "Number", box=None, pad_edge=False)
        for what, count in report.left_out.most_common():
            left.add_row(what, f"{count:,}")
        out.print()
        out.print(left)
    if report.troubles:
        bad = Table("Not taken", "Where", "Why", box=None, pad_edge=False)
        for trouble in report.troubles[:_SHOWN]:
            bad.add_row(trouble.code, _printable(trouble.where), _printable(trouble.why))
        out.print()
        out.print(bad)
        rest = report.trouble_counts.total() - len(report.troubles[:_SHOWN])
        if rest > 0:
            out.print(f"… and {rest:,} more; --json lists them")


def _printable(text: str) -> str:
    """What strangers wrote must steer neither the terminal nor the markup."""
    from rich.markup import escape

    return escape("".join(char if char.isprintable() else "�" for char in text))
