"""Which paths a new set of mods changes in a folder, and what stands in the way.

Mods are merged into one folder. Two mods may hold the same file when its bytes are the same; otherwise the
change is refused with both names. Paths that differ only in case are one path, as on the systems that most
games run on: what is there already keeps its spelling.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from loadstone.archives.paths import collision_key
from loadstone.client.errors import ForeignFilesError, ModsCollideError, UnsafePathError, clean, named
from loadstone.client.journal import Step, backup_name, digest_of, free_name
from loadstone.client.state import InstalledMod, RecordedFile, State, check_path


class Staged(msgspec.Struct, frozen=True):
    """A new file: ``place`` below the stage, and what it is to be in the folder."""

    place: str
    file: RecordedFile


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """What a change does to the folder; see :class:`loadstone.client.journal.Journal`.

    ``mods`` is the new set with its files, ``folders`` those that are ours then, ``kept`` the player's own
    versions as (path, kept as).
    """

    mods: tuple[InstalledMod, ...]
    steps: tuple[Step, ...]
    cleared: tuple[str, ...]
    made: tuple[str, ...]
    leftover: tuple[str, ...]
    folders: tuple[str, ...]
    kept: tuple[tuple[str, str], ...]


class _Spelling:
    """Gives each path of a new mod the spelling that its folders and its file have on the disk."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: dict[str, dict[str, str]] = {}
        self._folders: dict[str, str] = {"": ""}

    def settle(self, path: str) -> str:
        """The path as it is to be written. Raises :class:`UnsafePathError` for one behind a link."""
        folder, _, name = path.rpartition("/")
        parent = self._folder(folder)
        spelled = self._listing(parent).setdefault(collision_key(name), name)
        return f"{parent}/{spelled}" if parent else spelled

    def _folder(self, path: str) -> str:
        known = self._folders.get(path)
        if known is None:
            known = self._folders[path] = self.settle(path)
        return known

    def _listing(self, folder: str) -> dict[str, str]:
        names = self._names.get(folder)
        if names is None:
            place = self._root / folder
            if folder and place.is_symlink():
                raise UnsafePathError(
                    f"“{clean(folder)}” is a link to another place; mods are installed into real folders only."
                )
            try:
                found = sorted(os.listdir(place))  # noqa: PTH208 - names alone are wanted, not paths
            except (FileNotFoundError, NotADirectoryError):
                found = []
            names = self._names[folder] = {collision_key(name): name for name in found}
        return names


class _New(msgspec.Struct):
    """A path of the new set: its file, whose it is, and where it is staged (empty: it is there already)."""

    file: RecordedFile
    owner: str
    place: str


def lay_out(
    root: Path,
    txn: str,
    old: State,
    mods: Sequence[InstalledMod],
    staged: Mapping[str, Sequence[Staged]],
    *,
    restore: bool = False,
) -> Layout:
    """What makes ``mods`` the installed set; those in ``staged`` (by package) get their files from there.

    ``restore``: files that the player changed come back as they were, the player's versions go aside.
    Nothing is changed. Raises :class:`ForeignFilesError`, :class:`ModsCollideError`, :class:`UnsafePathError`.
    """
    mods, new = _new_files(root, mods, staged)
    recorded = {collision_key(file.path): file for mod in old.mods for file in mod.files}
    planner = _Planner(root, txn, old, recorded, new, restore=restore)
    planner.run()
    every = {*old.folders, *planner.made}
    folders = every & _parents_of([each.file.path for each in new.values()])
    return Layout(
        mods=mods,
        steps=tuple(planner.steps),
        cleared=tuple(_deepest_first(planner.cleared)),
        made=tuple(reversed(_deepest_first(planner.made))),
        leftover=tuple(_deepest_first(every - folders - planner.cleared)),
        folders=tuple(sorted(folders)),
        kept=tuple(planner.kept),
    )


def untouched(path: Path, recorded: RecordedFile) -> bool:
    """Whether the file is still the one that we wrote. Raises FileNotFoundError."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_size != recorded.size:
        return False
    return found.st_mtime_ns == recorded.mtime_ns or digest_of(path) == recorded.sha256


def _new_files(
    root: Path, mods: Sequence[InstalledMod], staged: Mapping[str, Sequence[Staged]]
) -> tuple[tuple[InstalledMod, ...], dict[str, _New]]:
    """The mods with their files, and every path by its key. Raises :class:`ModsCollideError`."""
    spelling = _Spelling(root)
    new: dict[str, _New] = {}
    clashes: list[tuple[str, str, str]] = []
    done: list[InstalledMod] = []
    for mod in sorted(mods, key=lambda m: m.package in staged):  # what stays has the first word
        fresh = staged.get(mod.package)
        files = [(file, "") for file in mod.files]
        if fresh is not None:
            files = [
                (msgspec.structs.replace(each.file, path=spelling.settle(check_path(each.file.path))), each.place)
                for each in fresh
            ]
        held: dict[str, RecordedFile] = {}
        for file, place in files:
            key = collision_key(file.path)
            there = new.setdefault(key, _New(file, mod.name, place))
            if there.file.sha256 != file.sha256:
                clashes.append((file.path, there.owner, mod.name))
            held[key] = msgspec.structs.replace(file, path=there.file.path, mtime_ns=there.file.mtime_ns)
        done.append(msgspec.structs.replace(mod, files=tuple(held.values())))
    clashes += _files_in_the_way_of_folders(new)
    if clashes:
        raise _collision(clashes)
    return tuple(sorted(done, key=lambda m: m.package)), new


def _files_in_the_way_of_folders(new: Mapping[str, _New]) -> list[tuple[str, str, str]]:
    clashes = []
    for key, each in new.items():
        at = key.find("/")
        while at >= 0:
            other = new.get(key[:at])
            if other is not None:
                clashes.append((other.file.path, other.owner, each.owner))
            at = key.find("/", at + 1)
    return clashes


def _collision(clashes: Sequence[tuple[str, str, str]]) -> ModsCollideError:
    _, first, second = clashes[0]
    paths = sorted({path for path, one, two in clashes if (one, two) == (first, second)})
    who = f"“{clean(first)}” and “{clean(second)}” both bring" if first != second else f"“{clean(first)}” brings twice"
    return ModsCollideError(
        f"{who} {named(paths)} with different content; install one of them only.",
        details=[f"{path}: {one} / {two}" for path, one, two in clashes],
    )


def _parents_of(paths: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
    return found


def _deepest_first(folders: Iterable[str]) -> list[str]:
    return sorted(folders, key=lambda folder: (-folder.count("/"), folder))


class _Planner:
    """Compares what is recorded with what is to be, path by path, against the disk."""

    def __init__(
        self,
        root: Path,
        txn: str,
        old: State,
        recorded: Mapping[str, RecordedFile],
        new: Mapping[str, _New],
        *,
        restore: bool,
    ) -> None:
        self._root = root
        self._txn = txn
        self._own_folders = frozenset(old.folders)
        self._recorded = recorded
        self._new = new
        self._restore = restore
        self._leaving: set[str] = set()
        self._foreign: set[str] = set()
        self._checked: set[str] = set()
        self.steps: list[Step] = []
        self.made: set[str] = set()
        self.cleared: set[str] = set()
        self.kept: list[tuple[str, str]] = []

    def run(self) -> None:
        """Raises :class:`ForeignFilesError`."""
        for key, file in self._recorded.items():
            if key not in self._new:
                self._leave(file)
        for key, each in self._new.items():
            if each.place:
                self._come(self._recorded.get(key), each)
        if self._foreign:
            raise ForeignFilesError(sorted(self._foreign))

    def _leave(self, file: RecordedFile) -> None:
        moved = self._moved(file)
        if moved:
            self._leaving.add(file.path)
            self.steps.append(Step(file.path, moved=moved))

    def _come(self, before: RecordedFile | None, each: _New) -> None:
        file, target = each.file, self._root / each.file.path
        if before is None:
            if os.path.lexists(target) and not self._clear(file.path):
                self._foreign.add(file.path)
            self._check_parents(file.path)
            self.steps.append(_put(each))
            return
        if not os.path.lexists(target):
            self._check_parents(file.path)
            self.steps.append(_put(each))
            return
        if before.sha256 == file.sha256 and not (self._restore and not untouched(target, before)):
            return  # the author left it as it was: so do we, and the player's changes stay
        moved = self._moved(before)
        if not moved:
            self._foreign.add(file.path)
        self.steps.append(_put(each, moved))

    def _moved(self, file: RecordedFile) -> str:
        """Where the recorded file goes: to the backup, or aside if the player changed it; empty: nowhere."""
        path = self._root / file.path
        try:
            if untouched(path, file):
                return backup_name(self._txn, file.path)
        except (FileNotFoundError, NotADirectoryError):
            return ""
        if not stat.S_ISREG(path.lstat().st_mode):
            return ""  # a folder or a link took its place: not ours any more
        aside = free_name(self._root, file.path)
        self.kept.append((file.path, aside))
        return aside

    def _clear(self, path: str) -> bool:
        """Whether an own folder of that name gives way, because all in it leaves."""
        inside = f"{path}/"
        if path not in self._own_folders:
            return False
        for folder, names, files in os.walk(self._root / path):
            relative = os.path.relpath(folder, self._root).replace(os.sep, "/")
            if any(f"{relative}/{name}" not in self._leaving for name in files):
                return False
            if any(f"{relative}/{name}" not in self._own_folders for name in names):
                return False
        self.cleared |= {folder for folder in self._own_folders if folder == path or folder.startswith(inside)}
        return True

    def _check_parents(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        while parent and parent not in self._checked:
            self._checked.add(parent)
            place = self._root / parent
            if not os.path.lexists(place) or parent in self._leaving:
                self.made.add(parent)
            elif place.is_symlink() or not place.is_dir():
                self._foreign.add(parent)
            parent = parent.rpartition("/")[0]


def _put(each: _New, moved: str = "") -> Step:
    file = each.file
    return Step(file.path, moved=moved, staged=each.place, size=file.size, mtime_ns=file.mtime_ns, sha256=file.sha256)
