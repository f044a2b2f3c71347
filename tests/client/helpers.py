"""What the client's tests say often."""

from pathlib import Path
from typing import Any

from loadstone.client import Outcome, Proposal, Server, open_player
from tests.client.shop import Shop


def quiet(*_: Any) -> None:
    """Progress that nobody looks at."""


def install(shop: Shop, folder: Path, *names: str, version: str | None = None, **more: Any) -> Outcome:
    with Server(shop.url) as server, open_player(folder, create=True) as player:
        what = player.propose_install(server, [f"starfall/{name}" for name in names], version=version)
        return player.carry_out(what, server=server, on_progress=quiet, **more)


def update(shop: Shop, folder: Path, *names: str) -> tuple[Proposal, Outcome]:
    with Server(shop.url) as server, open_player(folder) as player:
        what = player.propose_update(server, names)
        return what, player.carry_out(what, server=server, on_progress=quiet)


def remove(folder: Path, *names: str) -> Outcome:
    with open_player(folder) as player:
        return player.carry_out(player.propose_removal(names), server=None, on_progress=quiet)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file outside the client's own folder with its content; folders end in a slash."""
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if not relative.startswith(".loadstone"):
            found[relative + ("/" if path.is_dir() else "")] = b"" if path.is_dir() else path.read_bytes()
    return found


def files(folder: Path) -> dict[str, bytes]:
    """As :func:`tree`, without folders."""
    return {path: data for path, data in tree(folder).items() if not path.endswith("/")}
