"""The player's use cases on one folder: install, update, remove, list, verify, repair.

A :class:`Player` holds the folder's lock; opening one first brings an interrupted change to its end. What
changes is first proposed, then carried out as one transaction.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from loadstone.client import journal, proposal
from loadstone.client.errors import (
    FolderNotWritableError,
    NonsenseError,
    NotAFolderError,
    NotInstalledError,
    OtherGameError,
    StillNeededError,
    clean,
    explained,
    named,
    plain_errors,
)
from loadstone.client.fetching import Download, fetch_all, take_from
from loadstone.client.journal import Journal, stage_of
from loadstone.client.layout import Staged, lay_out
from loadstone.client.proposal import Proposal, propose, propose_removal, propose_repair
from loadstone.client.server import Server
from loadstone.client.state import OWN, InstalledMod, Lock, State, needed, read_state
from loadstone.client.unpacking import unpack
from loadstone.client.wire import Asked, Locked, Wanted

Phase = Literal["download", "unpack"]
OnProgress = Callable[[Phase, str, int, int | None], None]
"""Told of what is done: phase, file, bytes so far, bytes in all (None: not known)."""


class Finding(msgspec.Struct, frozen=True):
    """A recorded file that is not as it was written."""

    package: str
    path: str
    problem: Literal["missing", "changed", "not-a-file", "unreadable"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What was done. ``kept`` are the player's own versions of files: (path, kept as)."""

    changed: bool
    kept: tuple[tuple[str, str], ...] = ()


class Surroundings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the plan has to fit; None: as before, or anything."""

    build: str | None = None
    loader: str | None = None
    side: str | None = None
    channels: tuple[str, ...] | None = None


class Player:
    """One folder, locked. Make it by :func:`open_player`."""

    def __init__(self, root: Path, state: State, recovered: str) -> None:
        self.root = root
        self.state = state
        self.recovered = recovered
        """What was found half done when the folder was opened, and mended; empty: nothing."""

    def propose_install(
        self, server: Server, names: Sequence[str], *, version: str | None = None, given: Surroundings | None = None
    ) -> Proposal:
        """Add mods (``GAME/MOD``, ``GAME/MOD@VERSION``; ``MOD`` alone where the game is known already).

        What is installed changes as little as the new mods allow. Raises what :meth:`Server.resolve` and
        :func:`propose` raise, :class:`OtherGameError`.
        """
        games, wanted = [], []
        for name in names:
            game, one = self._named(name, version)
            games.append(game)
            wanted.append(one)
        self._check_games(games)
        state = self._surrounded(server, games[0], given)
        return self._resolved(server, state, [*self._requested(without=wanted), *wanted], state.mods)

    def propose_update(
        self, server: Server, names: Sequence[str] = (), *, given: Surroundings | None = None
    ) -> Proposal:
        """The newest releases that go together: of the named mods, the rest as it is, or of all.

        Raises :class:`NotInstalledError`, what :meth:`Server.resolve` and :func:`propose` raise.
        """
        free = {self._find(name).package for name in names}
        if not self.state.mods:
            raise NotInstalledError(f"Nothing is installed in {self.root}.")
        locked = [mod for mod in self.state.mods if mod.package not in free] if free else []
        state = self._surrounded(server, self.state.game, given)
        return self._resolved(server, state, self._requested(), locked)

    def propose_removal(self, names: Sequence[str]) -> Proposal:
        """Take mods away, and what only they needed. Needs no server.

        Raises :class:`NotInstalledError`, :class:`StillNeededError` when others need them.
        """
        gone = {mod.package: mod for mod in map(self._find, names)}
        needing = {
            who: mod for mod in gone.values() for who in mod.needed_by if who not in gone and self.state.find(who)
        }
        if needing:
            mod = next(iter(needing.values()))
            raise StillNeededError(
                f"“{clean(mod.name)}” is needed by {named(sorted(needing))}; remove these too, or keep it."
            )
        left = [mod for mod in self.state.mods if mod.package not in gone]
        orphans = [mod for mod in left if mod.package not in needed(left)]
        return propose_removal(self.state, gone.values(), orphans)

    def propose_repair(self, findings: Sequence[Finding]) -> Proposal:
        """Fetch the mods of these findings anew and put back what is not as it was written."""
        broken = {finding.package for finding in findings}
        return propose_repair(self.state, [mod for mod in self.state.mods if mod.package in broken])

    def verify(self, names: Sequence[str] = ()) -> list[Finding]:
        """Read every recorded file and compare it with what was written."""
        mods = [self._find(name) for name in names] or list(self.state.mods)
        return [finding for mod in mods for finding in _findings(self.root, mod)]

    def carry_out(
        self, what: Proposal, *, server: Server | None, brought: Path | None = None, on_progress: OnProgress
    ) -> Outcome:
        """Do what was proposed, whole or not at all.

        ``server`` is only needed where there is something to download; ``brought`` is a folder with files that
        lie elsewhere. Raises :class:`loadstone.client.errors.ClientError`; the folder is then as before.
        """
        proposal.check_at_hand(what, brought=brought is not None)
        txn = secrets.token_hex(8)
        with plain_errors(self.root):
            try:
                archives = self._gather(what, server, brought, on_progress)
                staged = self._stage(what, archives, stage_of(self.root, txn), on_progress)
                layout = lay_out(self.root, txn, self.state, what.state.mods, staged, restore=what.restore)
                state = msgspec.structs.replace(what.state, mods=layout.mods, folders=layout.folders, txn=txn)
                journal.carry_out(
                    self.root,
                    Journal(
                        txn=txn,
                        steps=layout.steps,
                        cleared=layout.cleared,
                        made=layout.made,
                        leftover=layout.leftover,
                    ),
                    state,
                )
            finally:
                journal.recover(self.root)
            self.state = state
            shutil.rmtree(self._downloads, ignore_errors=True)
        return Outcome(changed=bool(layout.steps), kept=layout.kept)

    @property
    def _downloads(self) -> Path:
        return self.root / OWN / "downloads"

    def _gather(
        self, what: Proposal, server: Server | None, brought: Path | None, on_progress: OnProgress
    ) -> dict[tuple[str, int], tuple[str, Path]]:
        """(package, file number) → SHA-256 and place of each file that is to be staged."""
        mods = {mod.package: mod for mod in what.state.mods}
        places: dict[tuple[str, int], tuple[str, Path]] = {}
        downloads: list[Download] = []
        for package, files in what.files.items():
            for file in files:
                if not file.here and brought is not None:
                    places[package, file.file] = take_from(
                        brought, self._downloads, file.file_name, file.size, file.sha256
                    )
                    continue
                if file.size is None or file.sha256 is None:
                    raise NonsenseError(
                        f"The server does not say what “{clean(file.file_name)}” is (size, SHA-256);"
                        " nothing was changed."
                    )
                downloads.append(
                    Download(
                        release=mods[package].release,
                        file=file.file,
                        file_name=file.file_name,
                        size=file.size,
                        sha256=file.sha256,
                        reason=what.reasons[package],
                    )
                )
                places[package, file.file] = (file.sha256, self._downloads / file.sha256)
        if downloads and server is not None:
            fetch_all(
                server,
                self._downloads,
                downloads,
                on_bytes=lambda d, here: on_progress("download", d.file_name, here, d.size),
            )
        return places

    def _stage(
        self,
        what: Proposal,
        archives: dict[tuple[str, int], tuple[str, Path]],
        stage: Path,
        on_progress: OnProgress,
    ) -> dict[str, list[Staged]]:
        stage.mkdir(parents=True)
        staged: dict[str, list[Staged]] = {}
        for number, (package, file) in enumerate(
            (package, file) for package, files in what.files.items() for file in files
        ):
            digest, path = archives[package, file.file]
            done = _Counter(file.file_name, on_progress)
            staged.setdefault(package, []).extend(unpack(path, file.file_name, digest, stage, str(number), done.add))
        for package in what.files:
            staged.setdefault(package, [])
        return staged

    def _named(self, name: str, version: str | None) -> tuple[str, Wanted]:
        rest, _, pinned = name.partition("@")
        game, slash, mod = rest.partition("/")
        if not slash and self.state.game:
            game, mod = self.state.game, rest
        if not game or not mod:
            raise NotInstalledError(f"Say which mod of which game: GAME/MOD, not “{clean(name, 80)}”.")
        pin = pinned or version
        if "/" in mod:
            return game, Wanted(package=mod, version=pin)
        return game, Wanted(mod=mod, version=pin)

    def _check_games(self, games: Sequence[str]) -> None:
        known = self.state.game or games[0]
        other = next((game for game in games if game != known), None)
        if other is not None:
            raise OtherGameError(
                f"{self.root} holds mods of {clean(known)}; install mods of {clean(other)} into a folder of their own."
            )

    def _requested(self, without: Sequence[Wanted] = ()) -> list[Wanted]:
        again = {mod.package for mod in map(self._wanted_again, without) if mod is not None}
        return [Wanted(package=mod.package) for mod in self.state.mods if mod.requested and mod.package not in again]

    def _wanted_again(self, wanted: Wanted) -> InstalledMod | None:
        return self.state.find(wanted.mod or wanted.package or "")

    def _surrounded(self, server: Server, game: str, given: Surroundings | None) -> State:
        given = given or Surroundings()
        return msgspec.structs.replace(
            self.state,
            server=server.url,
            game=game,
            build=given.build or self.state.build,
            loader=given.loader or self.state.loader,
            side=given.side or self.state.side,
            channels=given.channels or self.state.channels,
        )

    def _resolved(
        self, server: Server, state: State, wanted: Sequence[Wanted], locked: Sequence[InstalledMod]
    ) -> Proposal:
        asked = Asked(
            game=state.game,
            wanted=tuple(wanted),
            installed=tuple(Locked(package=m.package, release=m.release, version=m.version) for m in locked),
            build=state.build,
            loader=state.loader,
            side=state.side,
            policy="minimal_change" if locked else "newest",
            channels=state.channels,
        )
        return propose(state, server.resolve(asked))

    def _find(self, name: str) -> InstalledMod:
        found = self.state.find(name)
        if found is None:
            raise NotInstalledError(f"“{clean(name, 80)}” is not installed in {self.root}.")
        return found


class _Counter:
    """Adds up a file's unpacked bytes."""

    def __init__(self, file_name: str, on_progress: OnProgress) -> None:
        self._file_name = file_name
        self._on_progress = on_progress
        self._total = 0

    def add(self, _path: str, size: int) -> None:
        self._total += size
        self._on_progress("unpack", self._file_name, self._total, None)


@contextlib.contextmanager
def open_player(folder: Path, *, create: bool = False) -> Iterator[Player]:
    """The folder, locked, with every interrupted change brought to its end.

    ``create``: make the folder where it is not there; it goes again when nothing comes into it. Raises
    :class:`FolderBusyError`, :class:`NotAFolderError`, :class:`DamagedStateError`,
    :class:`FolderNotWritableError`.
    """
    with plain_errors(folder):
        made = _make(folder) if create else []
        root = folder.resolve()
        if not root.is_dir():
            raise NotAFolderError(f"{folder} is not a folder.")
        own = root / OWN
        if own.is_symlink() or (own.exists() and not own.is_dir()):
            raise NotAFolderError(f"{own} is not a folder of loadstone's; move it away.")
    if not create and not own.is_dir():
        yield Player(root, State(), "")
        return
    lock = Lock(own / "lock")
    try:
        own.mkdir(exist_ok=True)
        lock.take()
    except OSError as error:
        if create or error.errno not in {errno.EROFS, errno.EACCES, errno.EPERM}:
            _remove_empty(made)
            raise explained(error, root) from error
        yield _unlocked(root)
        return
    try:
        with plain_errors(root):
            recovered = journal.recover(root)
            state = read_state(root)
        yield Player(root, state, recovered)
    finally:
        unused = not (own / "state.json").exists() and not _has_parts(own)
        lock.give_back(remove=unused)
        if unused:
            _remove_empty([*made, own, own / "downloads"])


def _unlocked(root: Path) -> Player:
    """To look only, where nothing can be written: nobody else can be changing it either."""
    if (root / OWN / "journal.json").exists():
        raise FolderNotWritableError(
            f"A change of {root} was interrupted and cannot be mended, because the folder cannot be written."
        )
    with plain_errors(root):
        return Player(root, read_state(root), "")


def _has_parts(own: Path) -> bool:
    downloads = own / "downloads"
    return downloads.is_dir() and any(downloads.iterdir())


def _make(folder: Path) -> list[Path]:
    """Make a folder with its parents. Returns those that were made, parents first."""
    missing: list[Path] = []
    at = folder.absolute()
    while not os.path.lexists(at):
        missing.append(at)
        at = at.parent
    missing.reverse()
    for each in missing:
        each.mkdir(exist_ok=True)
    return missing


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in reversed(folders):
        with contextlib.suppress(OSError):
            folder.rmdir()


def _findings(root: Path, mod: InstalledMod) -> Iterator[Finding]:
    for file in mod.files:
        path = root / file.path
        try:
            if path.is_symlink() or (path.exists() and not path.is_file()):
                yield Finding(mod.package, file.path, "not-a-file")
            elif path.stat().st_size != file.size or journal.digest_of(path) != file.sha256:
                yield Finding(mod.package, file.path, "changed")
        except (FileNotFoundError, NotADirectoryError):
            yield Finding(mod.package, file.path, "missing")
        except OSError:
            yield Finding(mod.package, file.path, "unreadable")
