"""How an installation shows itself: a table of what will happen, bars while it does."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Final, Self

from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from loadstone.cli.terminal import err, out
from loadstone.client import Change, Proposal
from loadstone.client.errors import clean
from loadstone.client.player import Phase

_WORDS: Final = {
    "install": ("install", "green"),
    "update": ("change", "cyan"),
    "remove": ("remove", "red"),
    "repair": ("repair", "yellow"),
    "keep": ("keep", "dim"),
}
_REDRAW: Final = 0.05


def show_proposal(proposal: Proposal) -> None:
    """What will happen, to which version, how much has to come, and why."""
    changes = [change for change in proposal.changes if change.kind != "keep"]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, justify in (("", "left"), ("mod", "left"), ("version", "left"), ("size", "right"), ("why", "left")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for change in changes:
        word, style = _WORDS[change.kind]
        table.add_row(
            Text(word, style=style),
            Text(clean(change.name, 60)),
            Text(_versions(change)),
            Text("?" if change.size is None else decimal(change.size) if change.size else ""),
            Text(clean(change.why, 100), style="dim"),
        )
    if changes:
        out.print(table)
    kept = len(proposal.changes) - len(changes)
    if kept:
        out.print(f"{kept} installed {'mod stays' if kept == 1 else 'mods stay'} as they are.", style="dim")
    for line in (*proposal.questions, *proposal.notes):
        out.print(line, markup=False, style="yellow")
    if proposal.download_size:
        out.print(f"{decimal(proposal.download_size)} to download.")


def as_data(proposal: Proposal) -> list[dict[str, Any]]:
    """The changes for ``--json``."""
    return [
        {
            "change": change.kind,
            "package": change.package,
            "name": change.name,
            "before": change.before,
            "after": change.after,
            "size": change.size,
            "why": change.why,
        }
        for change in proposal.changes
    ]


def _versions(change: Change) -> str:
    if change.before and change.after and change.before != change.after:
        return f"{clean(change.before, 30)} → {clean(change.after, 30)}"
    return clean(change.after or change.before or "", 60)


class Bars:
    """One bar for each file, on stderr; nothing where nobody looks. Called from several threads."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", table_column=None),
            BarColumn(bar_width=None),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=err,
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        self._tasks: dict[tuple[Phase, str], TaskID] = {}
        self._drawn: dict[tuple[Phase, str], float] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, phase: Phase, file_name: str, done: int, total: int | None) -> None:
        key = (phase, file_name)
        now = time.monotonic()
        if done != total and now - self._drawn.get(key, 0.0) < _REDRAW:
            return
        self._drawn[key] = now
        task = self._tasks.get(key)
        if task is None:
            what = clean(file_name, 40) if phase == "download" else f"unpacking {clean(file_name, 30)}"
            task = self._tasks[key] = self._progress.add_task(what, total=total)
        self._progress.update(task, completed=done, total=total)
