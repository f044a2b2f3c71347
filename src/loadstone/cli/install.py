"""``loadstone install``: mods into a folder, with what they need, whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import Parameter
from rich.prompt import Confirm

from loadstone.cli.progress import Bars, as_data, show_proposal
from loadstone.cli.terminal import err, fail, out
from loadstone.client import (
    DEFAULT_URL,
    ClientError,
    Outcome,
    Player,
    Proposal,
    Server,
    State,
    Surroundings,
    open_player,
)
from loadstone.client.errors import CancelledError


def install(
    mods: Annotated[list[str], Parameter(help="GAME/MOD, GAME/MOD@VERSION; MOD alone once the folder has its game.")],
    /,
    *,
    into: Path,
    build: str | None = None,
    loader: str | None = None,
    side: Literal["client", "server"] | None = None,
    version: str | None = None,
    channel: list[Literal["beta", "alpha"]] | None = None,
    from_: Annotated[Path | None, Parameter(name="--from")] = None,
    server: str | None = None,
    yes: bool = False,
    json: bool = False,
) -> int:
    """Install mods and what they require into a folder; nothing is changed if anything stands in the way.

    Parameters
    ----------
    into
        The folder that the mods go into, usually a game's.
    build
        The game build that the mods must work on; remembered for the folder.
    loader
        The mod loader that is used; remembered for the folder.
    side
        client or server; remembered for the folder.
    version
        A version of the mod, instead of the newest that fits.
    channel
        Also accept beta or alpha releases; remembered for the folder.
    from_
        A folder with files that lie elsewhere, which you downloaded at their source.
    server
        The platform's address; else LOADSTONE_URL, the folder's own, or http://127.0.0.1:8000.
    yes
        Do not ask before changing anything.
    json
        Print one JSON document instead of text.
    """
    given = Surroundings(build=build, loader=loader, side=side, channels=_channels(channel))

    def act() -> int:
        with open_player(into, create=True) as player, open_server(server, player.state) as opened:
            proposal = player.propose_install(opened, mods, version=version, given=given)
            return carry_out(player, proposal, opened, brought=from_, yes=yes, json=json)

    return guarded(act, json=json)


def open_server(address: str | None, state: State) -> Server:
    """The server of the option, the environment, the folder, or this machine's."""
    url = address or os.environ.get("LOADSTONE_URL") or state.server or DEFAULT_URL
    return Server(url, token=os.environ.get("LOADSTONE_TOKEN") or None)


def carry_out(
    player: Player, proposal: Proposal, server: Server | None, *, brought: Path | None = None, yes: bool, json: bool
) -> int:
    """Show what will happen, ask if a person is there, do it and say what was done."""
    if player.recovered:
        err.print(player.recovered, markup=False, style="yellow")
    if not json:
        show_proposal(proposal)
    if not proposal.is_empty and not (yes or json) and sys.stdin.isatty() and not Confirm.ask("Go on?", console=err):
        raise CancelledError("Cancelled; nothing was changed.")
    with Bars() as bars:
        try:
            outcome = player.carry_out(proposal, server=server, brought=brought, on_progress=bars.show)
        except KeyboardInterrupt:
            if server is not None:
                server.cancelled.set()
            raise CancelledError("Cancelled; nothing was changed.") from None
    if json:
        print_json(_done(player, proposal, outcome))
    else:
        _say_done(player, proposal, outcome)
    return 0


def guarded(act: Callable[[], int], *, json: bool) -> int:
    """Run a player's command; what stood in the way becomes one sentence, its details below, and status 1."""
    try:
        return act()
    except ClientError as error:
        if json:
            print_json({"error": {"code": error.code, "detail": error.sentence, "details": list(error.details)}})
        fail(error.sentence)
        for line in error.details[:50]:
            err.print(f"  {line}", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        fail("Cancelled; nothing was changed.")
        return 130


def print_json(value: Any) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value)).decode() + "\n")
    sys.stdout.flush()


def _channels(more: Sequence[str] | None) -> tuple[str, ...] | None:
    return tuple(dict.fromkeys(["release", *more])) if more else None


def _done(player: Player, proposal: Proposal, outcome: Outcome) -> dict[str, Any]:
    return {
        "folder": str(player.root),
        "game": player.state.game,
        "changed": outcome.changed,
        "changes": as_data(proposal),
        "kept": [{"path": path, "kept_as": aside} for path, aside in outcome.kept],
    }


def _say_done(player: Player, proposal: Proposal, outcome: Outcome) -> None:
    for path, aside in outcome.kept:
        err.print(f"You changed {path}: your version is kept as {aside}.", markup=False, style="yellow")
    if proposal.is_empty:
        out.print("Nothing to do: everything is as you asked.")
        return
    files = sum(len(mod.files) for mod in player.state.mods)
    mods = len(player.state.mods)
    out.print(f"Done. {player.root} holds {mods} {'mod' if mods == 1 else 'mods'}, {files} files.", markup=False)
