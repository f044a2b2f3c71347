"""Generations: each index has a folder of its own, and one small file says which is the current one.

A new index is built beside the current one and becomes it by an atomic rename; readers notice at their next
search. One process at a time writes, one at a time builds; both hold a lock that dies with them.
"""

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from loadstone.discovery.schema import VERSION

_NAME: Final = re.compile(rf"v{VERSION}-([0-9]{{6,9}})")


class Generations:
    """The indexes of a data folder, in ``DATA/search``."""

    def __init__(self, data: Path) -> None:
        self.folder = data / "search"

    def current(self) -> str | None:
        """The current generation's name; None when there is none that this version can read."""
        try:
            name = (self.folder / "current").read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return name if _NAME.fullmatch(name) else None

    def path(self, name: str) -> Path:
        return self.folder / name

    def mark(self, name: str) -> tuple[int, int, int] | None:
        """Changes whenever the generation was committed to; None when it is not there."""
        try:
            found = (self.path(name) / "meta.json").stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def fresh(self) -> str:
        """A name that no generation had."""
        numbers = [int(found[1]) for found in map(_NAME.fullmatch, self._names()) if found]
        return f"v{VERSION}-{max(numbers, default=0) + 1:06d}"

    def switch(self, name: str) -> None:
        """Make a generation the current one, durably and atomically, and remove those before the last."""
        before = self.current()
        temporary = self.folder / f"current.{os.getpid()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "w") as file:
            file.write(name)
            file.flush()
            os.fsync(descriptor)
        temporary.rename(self.folder / "current")
        self._sync_folder()
        (self.folder / "broken").unlink(missing_ok=True)
        self.remove_others({name, before or name})

    def remove_others(self, kept: set[str]) -> None:
        """Remove what an interrupted build or an older version of the software left. Under the build lock."""
        for other in self._names():
            if other not in kept and re.fullmatch(r"v[0-9]+-[0-9]+", other):
                shutil.rmtree(self.path(other), ignore_errors=True)

    def call_broken(self, name: str) -> None:
        """A reader cannot read this generation; the writer will build another."""
        with contextlib.suppress(OSError):
            (self.folder / "broken").write_text(name)

    def is_broken(self, name: str) -> bool:
        try:
            return (self.folder / "broken").read_text() == name
        except OSError:
            return False

    @contextlib.contextmanager
    def build_lock(self) -> Iterator[bool]:
        """Whether this process may build now; another that builds keeps it from that."""
        descriptor = self.take_lock("build.lock")
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def take_lock(self, name: str) -> int | None:
        """A descriptor that holds the lock until it is closed; None when another holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor

    def _names(self) -> list[str]:
        try:
            return sorted(entry.name for entry in self.folder.iterdir() if entry.is_dir())
        except OSError:
            return []

    def _sync_folder(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
