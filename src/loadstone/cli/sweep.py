"""`loadstone sweep`: which mods of a catalogue can be installed at all on a game build, and why not."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import track

from loadstone.cli.resolve_offline import BadInputError, Several, load_catalogue
from loadstone.compat.solver import Fact, Surroundings, render
from loadstone.compat.sweep import Sweep
from loadstone.compat.universe import Universe


def sweep(
    catalogue: Path,
    game: Several,
    *,
    own: Several = (),
    channel: Several = ("release",),
    json: bool = False,
) -> int:
    """Print every installable and uninstallable id of a catalogue on the given game builds.

    As `uninstallable` come mods that claim to fit the build but cannot be installed there, each with the
    reason; mods without any release for the build are listed as `no_release`. With `json` one JSON
    document is printed, otherwise a readable list. Returns the exit code, 2 when the input cannot be read.
    """
    errors = Console(stderr=True)
    try:
        universe = load_catalogue(catalogue, set(game))
    except (BadInputError, OSError) as error:
        errors.print(str(error), markup=False)
        return 2
    surroundings = Surroundings(builds=tuple(game), owned=tuple(sorted(set(own))), channels=tuple(channel))
    started = time.process_time()
    swept = Sweep(universe, surroundings)
    spent = time.process_time() - started
    report = _report(universe, swept, errors)
    report["cpu_ms"] = round(spent * 1000, 3)
    if json:
        print(msgspec.json.encode(report).decode())
    else:
        _print(report)
    return 0


def _report(universe: Universe, swept: Sweep, errors: Console) -> dict[str, Any]:
    installable: list[dict[str, Any]] = []
    uninstallable: list[dict[str, Any]] = []
    undecided: list[str] = []
    verdicts = swept.verdicts()
    for verdict in track(verdicts, "Explaining", console=errors, transient=True):
        if verdict.installable:
            entry: dict[str, Any] = {"id": verdict.package, "versions": verdict.installable}
            if verdict.uninstallable:
                entry["uninstallable_versions"] = verdict.uninstallable
            installable.append(entry)
        elif verdict.undecided:
            undecided.append(verdict.package)
        else:
            uninstallable.append(_why_not(verdict.package, swept.reason(verdict.package)))
    fitting = {verdict.package for verdict in verdicts}
    packages = [held.package.id for held in universe.packages[: universe.first_axis]]
    return {
        "game": list(swept.surroundings.builds),
        "installable": installable,
        "uninstallable": uninstallable,
        "undecided": undecided,
        "no_release": [package for package in packages if package not in fitting],
    }


def _why_not(package: str, facts: tuple[Fact, ...]) -> dict[str, Any]:
    return {"id": package, "reason": render(facts), "facts": [msgspec.to_builtins(fact) for fact in facts]}


def _print(report: dict[str, Any]) -> None:
    for entry in report["uninstallable"]:
        print(f"✗ {entry['id']}")
        print("    " + entry["reason"].replace("\n", "\n    "))
    print(
        f"On {', '.join(report['game'])}: {len(report['installable'])} mods can be installed, "
        f"{len(report['uninstallable'])} seem to fit but cannot, "
        f"{len(report['no_release'])} have no release for it."
    )
