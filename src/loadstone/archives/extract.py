"""Unpacks an accepted archive on the player's machine, and writes nothing that the inspection did not
promise.

Law: only the given entries, each to its own canonical path below a fresh folder, each with its declared size
and
SHA-256, or nothing at all. Works without a jail: it never asks the archive where to write.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from loadstone.archives.formats import open_archive, top_format
from loadstone.archives.model import Entry, Limits, RefusedError
from loadstone.archives.paths import canonical, collision_key, shown
from loadstone.archives.reading import Budget
from loadstone.archives.source import FileSource, Source

Progress = Callable[[str, int], None]

_HAS_DIR_FD = os.open in os.supports_dir_fd and os.mkdir in os.supports_dir_fd
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW | getattr(os, "O_BINARY", 0)


def extract(
    path: Path,
    destination: Path,
    entries: Iterable[Entry],
    *,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Write `entries` of the archive at `path` below `destination`, which must not exist or be empty.

    `entries` is the manifest of an accepted inspection, or a part of it; all else in the archive is read and
    dropped. `progress(path, size)` is called after each file. Returns the written files in the order of the
    archive. Raises RefusedError (nothing of `destination`'s contents is kept) when the archive breaks a law
    of
    the gate, lacks an entry, or has other bytes than the manifest says; FileExistsError when `destination` is
    not fresh.
    """
    limits = limits or Limits()
    wanted = _wanted(entries, limits)
    destination.mkdir(parents=True, exist_ok=True)
    if any(destination.iterdir()):
        raise FileExistsError(f"{destination} is not empty; extract into a new folder.")
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        with _Folder(destination) as folder:
            writer = _Writer(folder, wanted, progress)
            try:
                _read(FileSource(descriptor), path, limits, writer)
                writer.finish()
            except BaseException:
                writer.abandon()
                _empty(destination)
                raise
    finally:
        os.close(descriptor)
    return [destination / written for written in writer.written]


def _wanted(entries: Iterable[Entry], limits: Limits) -> dict[str, Entry]:
    """The manifest by path, trusted in nothing: it may come from a server that was taken over."""
    wanted: dict[str, Entry] = {}
    keys: set[str] = set()
    total = 0
    for entry in entries:
        if canonical(entry.path, limits) != entry.path:
            raise RefusedError("path-not-canonical", f"{shown(entry.path)} in the manifest is not a canonical path.")
        key = collision_key(entry.path)
        if key in keys:
            raise RefusedError("path-collision", f"{shown(entry.path)} occurs twice in the manifest.")
        keys.add(key)
        total += entry.size
        wanted[entry.path] = entry
    if len(wanted) > limits.max_entries or total > limits.max_total_bytes:
        raise RefusedError("total-too-large", "The manifest has more in it than is allowed.")
    return wanted


def _read(source: Source, path: Path, limits: Limits, writer: _Writer) -> None:
    open_archive(top_format(source), source, limits, writer, Budget(limits, source.size), path=str(path))


class _Writer:
    """A visitor that writes what it is shown, if it was promised."""

    def __init__(self, folder: _Folder, wanted: dict[str, Entry], progress: Progress | None) -> None:
        self._folder = folder
        self._wanted = wanted
        self._progress = progress
        self._file = -1
        self._left = 0
        self._digest = hashlib.sha256()
        self._current = ""
        self.written: list[str] = []

    def begin(self, path: str) -> None:
        entry = self._wanted.get(path)
        if entry is None:
            return
        self._file = self._folder.create(path, executable=entry.executable)
        self._left = entry.size
        self._digest = hashlib.sha256()
        self._current = path

    def chunk(self, data: bytes) -> None:
        if self._file < 0:
            return
        self._left -= len(data)
        if self._left < 0:
            raise RefusedError("size-mismatch", f"{shown(self._current)} is larger than its manifest says.")
        self._digest.update(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def keep(self, path: str, head: bytes, kind: str, in_place: bool) -> int:  # noqa: ARG002
        return 0

    def leave(self, entry: Entry, kept: bytearray, piece: Source | None) -> None:  # noqa: ARG002
        promised = self._wanted.get(entry.path)
        if promised is None or self._file < 0:
            return
        file, self._file = self._file, -1
        os.close(file)
        if self._left or self._digest.hexdigest() != promised.sha256:
            raise RefusedError("digest-mismatch", f"{shown(entry.path)} has other bytes than its manifest says.")
        self.written.append(entry.path)
        if self._progress:
            self._progress(entry.path, entry.size)

    def finish(self) -> None:
        missing = self._wanted.keys() - set(self.written)
        if missing:
            raise RefusedError("entry-missing", f"{shown(min(missing))} is in the manifest and not in the archive.")

    def abandon(self) -> None:
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = -1


class _Folder:
    """The destination. Where the system can, every step is relative to an open folder and follows no link, so
    that nobody can bend a path while we write.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._descriptors: dict[str, int] = {}

    def __enter__(self) -> Self:
        if _HAS_DIR_FD:
            self._descriptors[""] = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | _NOFOLLOW)
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def create(self, path: str, *, executable: bool) -> int:
        """A new file for writing; fails if anything is there already."""
        parent, _, name = path.rpartition("/")
        mode = 0o755 if executable else 0o644
        if not _HAS_DIR_FD:
            target = self._root.joinpath(*path.split("/"))
            target.parent.mkdir(parents=True, exist_ok=True)
            return os.open(target, _CREATE, mode)
        return os.open(name, _CREATE, mode, dir_fd=self._enter(parent))

    def _enter(self, folder: str) -> int:
        known = self._descriptors.get(folder)
        if known is not None:
            return known
        parent, _, name = folder.rpartition("/")
        above = self._enter(parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=above)
        opened = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _NOFOLLOW, dir_fd=above)
        if len(self._descriptors) > 200:
            self._forget()
        self._descriptors[folder] = opened
        return opened

    def _forget(self) -> None:
        """Keep few descriptors open: drop all but the root."""
        root = self._descriptors.pop("")
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()
        self._descriptors[""] = root


def _empty(folder: Path) -> None:
    for child in folder.iterdir():
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                child.unlink()
