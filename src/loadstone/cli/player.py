"""``loadstone list | update | remove | verify``: what was installed into a folder, and only that."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from loadstone.cli.install import carry_out, guarded, open_server, print_json
from loadstone.cli.terminal import err, out
from loadstone.client import Finding, InstalledMod, Player, Surroundings, open_player
from loadstone.client.errors import clean


def list_mods(*, into: Path, json: bool = False) -> int:
    """Show the mods that are installed in a folder.

    Parameters
    ----------
    into
        The folder that mods were installed into.
    json
        Print one JSON document instead of a table.
    """

    def act() -> int:
        with open_player(into) as player:
            _say_recovered(player)
            if json:
                print_json(_listed(player))
            elif player.state.mods:
                out.print(_table(player))
            else:
                out.print(f"Nothing is installed in {player.root}.", markup=False)
        return 0

    return guarded(act, json=json)


def update(
    mods: Annotated[list[str] | None, Parameter(help="Installed mods; all without any.")] = None,
    /,
    *,
    into: Path,
    build: str | None = None,
    from_: Annotated[Path | None, Parameter(name="--from")] = None,
    server: str | None = None,
    yes: bool = False,
    json: bool = False,
) -> int:
    """Bring installed mods to the newest releases that go together.

    Parameters
    ----------
    into
        The folder that mods were installed into.
    build
        Another game build than before, after the game was updated; remembered for the folder.
    from_
        A folder with files that lie elsewhere, which you downloaded at their source.
    server
        The platform's address; else LOADSTONE_URL or the folder's own.
    yes
        Do not ask before changing anything.
    json
        Print one JSON document instead of text.
    """

    def act() -> int:
        with open_player(into) as player, open_server(server, player.state) as opened:
            proposal = player.propose_update(opened, mods or (), given=Surroundings(build=build))
            return carry_out(player, proposal, opened, brought=from_, yes=yes, json=json)

    return guarded(act, json=json)


def remove(
    mods: Annotated[list[str], Parameter(help="Installed mods.")],
    /,
    *,
    into: Path,
    yes: bool = False,
    json: bool = False,
) -> int:
    """Take mods away, and what only they needed. Files that you changed are kept under another name.

    Parameters
    ----------
    into
        The folder that mods were installed into.
    yes
        Do not ask before changing anything.
    json
        Print one JSON document instead of text.
    """

    def act() -> int:
        with open_player(into) as player:
            return carry_out(player, player.propose_removal(mods), None, yes=yes, json=json)

    return guarded(act, json=json)


def verify(
    mods: Annotated[list[str] | None, Parameter(help="Installed mods; all without any.")] = None,
    /,
    *,
    into: Path,
    repair: bool = False,
    server: str | None = None,
    yes: bool = False,
    json: bool = False,
) -> int:
    """Read every file that was installed and say which are missing or changed; status 1 if there are any.

    Parameters
    ----------
    into
        The folder that mods were installed into.
    repair
        Fetch what is missing or changed anew; your versions are kept under another name.
    server
        The platform's address; else LOADSTONE_URL or the folder's own.
    yes
        Do not ask before changing anything.
    json
        Print one JSON document instead of text.
    """

    def act() -> int:
        with open_player(into) as player:
            _say_recovered(player)
            found = player.verify(mods or ())
            if found and repair:
                with open_server(server, player.state) as opened:
                    return carry_out(player, player.propose_repair(found), opened, yes=yes, json=json)
            if json:
                print_json(_verified(player, found))
            else:
                _say_verified(player, found)
            return 1 if found else 0

    return guarded(act, json=json)


def _say_recovered(player: Player) -> None:
    if player.recovered:
        err.print(player.recovered, markup=False, style="yellow")


def _table(player: Player) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("mod", "version", "files", "size", "why"):
        table.add_column(title, justify="right" if title in {"files", "size"} else "left")
    names = {mod.package: mod.name for mod in player.state.mods}
    for mod in player.state.mods:
        table.add_row(
            Text(clean(mod.name, 60)),
            Text(clean(mod.version, 40)),
            str(len(mod.files)),
            decimal(mod.size),
            Text(_why(mod, names), style="dim"),
        )
    return table


def _why(mod: InstalledMod, names: dict[str, str]) -> str:
    if mod.requested:
        return "you asked for it"
    return f"required by {', '.join(clean(names.get(p, p), 40) for p in mod.needed_by[:3])}"


def _listed(player: Player) -> dict[str, Any]:
    state = player.state
    return {
        "folder": str(player.root),
        "game": state.game or None,
        "build": state.build,
        "loader": state.loader,
        "server": state.server or None,
        "mods": [
            {
                "package": mod.package,
                "mod": mod.mod,
                "slug": mod.slug,
                "name": mod.name,
                "release": mod.release,
                "version": mod.version,
                "requested": mod.requested,
                "needed_by": mod.needed_by,
                "files": [{"path": f.path, "size": f.size, "sha256": f.sha256} for f in mod.files],
            }
            for mod in state.mods
        ],
    }


def _verified(player: Player, found: list[Finding]) -> dict[str, Any]:
    return {
        "folder": str(player.root),
        "ok": not found,
        "checked": sum(len(mod.files) for mod in player.state.mods),
        "findings": [{"package": f.package, "path": f.path, "problem": f.problem} for f in found],
    }


def _say_verified(player: Player, found: list[Finding]) -> None:
    for finding in found:
        out.print(f"{finding.problem}: {clean(finding.path)} ({clean(finding.package, 60)})", markup=False)
    if found:
        out.print(f"{len(found)} files are not as they were; --repair fetches them anew.")
    else:
        out.print(f"All {sum(len(mod.files) for mod in player.state.mods)} files are as they were installed.")
