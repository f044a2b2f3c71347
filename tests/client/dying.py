"""One command of the player's client in a process that dies by SIGKILL before its n-th touch of the disk.

The product knows nothing of this: the steps are counted by Python's own audit events, and by what they do not
cover (write and fsync).
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from loadstone.client import Server, open_player

_TOUCHING = frozenset(
    {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "shutil.copyfile", "shutil.rmtree"}
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Ended(msgspec.Struct, frozen=True):
    """How the process ended: its exit code, the steps that it took and what it complained of."""

    code: int
    steps: int
    complaint: str


class Steps:
    """Counts touches of the disk below one folder and ends the process at one of them."""

    def __init__(self, folder: Path, last: int) -> None:
        self._folder = str(folder)
        self._last = last
        self.taken = 0

    def stop(self) -> None:
        """What comes now is not the client's doing."""
        self._last = -1

    def watch(self) -> None:
        sys.addaudithook(self._heard)
        for name in ("write", "ftruncate"):
            setattr(os, name, self._counted(getattr(os, name)))
        for name in ("fsync", "sync"):  # a killed process loses nothing that the kernel has: no need to wait
            setattr(os, name, self._counted(lambda *_: None))

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _TOUCHING or (event == "open" and self._writes(arguments)):
            self._step()

    def _writes(self, arguments: tuple[Any, ...]) -> bool:
        path, _, flags = arguments
        if not isinstance(flags, int) or not flags & _WRITING:
            return False
        return not isinstance(path, str) or not path.startswith("/") or path.startswith(self._folder)

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            self._step()
            return function(*arguments)

        return counted

    def _step(self) -> None:
        self.taken += 1
        if self.taken == self._last:
            os.kill(os.getpid(), signal.SIGKILL)


def run_client(folder: Path, url: str, last: int, command: str, names: list[str]) -> Ended:
    """Run install, update, remove or list in a process of its own. ``last`` 0: it does not die."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "loadstone.client", "loadstone.archives"])
    heard, says = context.Pipe(duplex=False)
    process = context.Process(target=_client, args=(says, folder, url, last, command, names))
    process.start()
    says.close()
    process.join(60)
    if process.is_alive():
        process.kill()
        process.join()
        return Ended(1, 0, "it did not end in a minute")
    try:
        steps, complaint = heard.recv()
    except EOFError:
        steps, complaint = 0, ""
    heard.close()
    return Ended(process.exitcode or 0, steps, complaint)


def _client(says: Any, folder: Path, url: str, last: int, command: str, names: list[str]) -> None:
    steps = Steps(folder, last)
    steps.watch()
    try:
        _command(folder, url, command, names)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other side tells
        says.send((steps.taken, repr(error)))
        raise SystemExit(1) from None
    steps.stop()
    says.send((steps.taken, ""))


def _command(folder: Path, url: str, command: str, names: list[str]) -> None:
    with open_player(folder, create=command == "install") as player, Server(url) as server:
        if command == "list":
            return
        if command == "install":
            proposal = player.propose_install(server, names)
        elif command == "update":
            proposal = player.propose_update(server, names)
        else:
            proposal = player.propose_removal(names)
        player.carry_out(proposal, server=server, on_progress=lambda *_: None)
