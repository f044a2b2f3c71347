"""What is installed in a folder: ``.loadstone/state.json``, replaced in one atomic step."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from loadstone.archives.model import Limits, RefusedError
from loadstone.archives.paths import canonical, collision_key
from loadstone.client.errors import DamagedStateError, FolderBusyError, UnsafePathError

OWN: Final = ".loadstone"
"""The folder inside the player's folder in which the client keeps its own things."""
SCHEMA: Final = 1
_LIMITS: Final = Limits()
_DIRECTORY: Final = getattr(os, "O_DIRECTORY", 0) | os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 44)]


class RecordedFile(msgspec.Struct, frozen=True):
    """A file that we wrote. ``path`` is relative with forward slashes; ``mtime_ns`` is what it had then."""

    path: str
    size: Size
    sha256: Sha256
    mtime_ns: int = 0


class InstalledFile(msgspec.Struct, frozen=True):
    """A file of a release, as it was downloaded; ``file`` is its number in the release."""

    file: int
    file_name: str
    size: int | None = None
    sha256: str | None = None
    here: bool = True
    url: str | None = None


class InstalledMod(msgspec.Struct, frozen=True, kw_only=True):
    """One release of one package. ``requested``: the player asked for it; else ``needed_by`` says who did."""

    package: str
    mod: str
    slug: str
    name: str
    release: str
    version: str
    requested: bool
    needed_by: tuple[str, ...] = ()
    downloads: tuple[InstalledFile, ...] = ()
    files: tuple[RecordedFile, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of its files in the folder."""
        return sum(file.size for file in self.files)


class State(msgspec.Struct, frozen=True, kw_only=True):
    """All that is installed. ``txn`` names the transaction that made this state: it is the commit marker."""

    schema: int = SCHEMA
    txn: str = ""
    server: str = ""
    game: str = ""
    build: str | None = None
    loader: str | None = None
    side: str | None = None
    channels: tuple[str, ...] = ("release",)
    mods: tuple[InstalledMod, ...] = ()
    folders: tuple[str, ...] = ()
    """Folders that we made and that are removed when they are empty again."""

    def find(self, name: str) -> InstalledMod | None:
        """The installed mod of this package, slug or id; ``GAME/`` may stand before it."""
        bare = name.removeprefix(f"{self.game}/") if self.game else name
        for mod in self.mods:
            if bare in {mod.package, mod.slug, mod.mod}:
                return mod
        return None


def needed(mods: Sequence[InstalledMod]) -> set[str]:
    """The packages that the player asked for, and what these need."""
    found = {mod.package for mod in mods if mod.requested}
    more = set(found)
    while more:
        more = {mod.package for mod in mods if mod.package not in found and not more.isdisjoint(mod.needed_by)}
        found |= more
    return found


def read_state(root: Path) -> State:
    """The state of a folder; an empty one where nothing is installed. Raises :class:`DamagedStateError`."""
    path = root / OWN / "state.json"
    try:
        state: State = read_json(path, State)
    except FileNotFoundError:
        return State()
    if state.schema > SCHEMA:
        raise DamagedStateError(
            f"{path} was written by a newer loadstone (schema {state.schema}); update loadstone, then try again."
        )
    for mod in state.mods:
        for file in mod.files:
            check_path(file.path)
    for folder in state.folders:
        check_path(folder)
    return state


def read_json(path: Path, type_: type[Any]) -> Any:
    """A file of ours, checked. Raises FileNotFoundError, :class:`DamagedStateError`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=type_)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise DamagedStateError(
            f"{path} is damaged ({error}); move {path.parent} away to start anew (the mods' files stay)."
        ) from error


def write_json(path: Path, value: object) -> None:
    """Replace a file of ours: after a crash the old or the new one is there, whole."""
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(value)))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a folder's entries durable, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, _DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_path(path: str) -> str:
    """The path itself, if it stays inside the folder and out of our own. Raises :class:`UnsafePathError`."""
    try:
        settled = canonical(path, _LIMITS)
    except RefusedError as error:
        raise UnsafePathError(f"A file of the mod cannot be written safely: {error.detail}") from error
    if settled != path or collision_key(path.partition("/")[0]) == OWN:
        raise UnsafePathError(f"A mod may not write to “{path[:120]}”; nothing was changed.")
    return path


class Lock:
    """One client at a time in a folder. Ends with the process, however that dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def take(self) -> None:
        """Raises :class:`FolderBusyError` when another process holds it."""
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
            try:
                _lock(descriptor)
            except OSError as error:
                os.close(descriptor)
                raise FolderBusyError(
                    f"Another loadstone is at work in {self._path.parent.parent}; wait until it has ended."
                ) from error
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), self._path.stat()):
                    self._descriptor = descriptor
                    return
            os.close(descriptor)  # its owner removed it in between: the lock of a name that is gone locks nothing

    def give_back(self, *, remove: bool = False) -> None:
        """``remove``: the file goes too, because nothing is left in the folder that it guards."""
        if self._descriptor < 0:
            return
        if remove:
            with contextlib.suppress(OSError):
                self._path.unlink()
        os.close(self._descriptor)
        self._descriptor = -1


def _lock(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
