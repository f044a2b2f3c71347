"""Why a command did not do what it was asked. Law: the folder is then as it was before."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Final

_MOST_NAMED: Final = 8


class ClientError(Exception):
    """One sentence that says what stood in the way and what to do; ``details`` are lines below it."""

    code: ClassVar[str] = "failed"

    def __init__(self, sentence: str, *, details: Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.details = tuple(details)


class FolderBusyError(ClientError):
    code = "folder-busy"


class NotAFolderError(ClientError):
    code = "not-a-folder"


class DamagedStateError(ClientError):
    code = "damaged-state"


class FolderNotWritableError(ClientError):
    code = "folder-not-writable"


class NoSpaceError(ClientError):
    code = "no-space"


class FileSystemError(ClientError):
    code = "file-system"


class ForeignFilesError(ClientError):
    code = "foreign-files"

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__(
            f"{named(paths)} in the folder {_are(paths)} not from here and will not be overwritten;"
            " move it away and try again.",
            details=paths,
        )
        self.paths = tuple(paths)


class ModsCollideError(ClientError):
    code = "mods-collide"


class UnsafePathError(ClientError):
    code = "unsafe-path"


class RefusedArchiveError(ClientError):
    code = "refused-archive"


class UnreachableError(ClientError):
    code = "unreachable"


class ServerRefusedError(ClientError):
    """The server said no, in its own words."""

    code = "server-refused"

    def __init__(self, sentence: str, *, status: int, problem: str = "", details: Sequence[str] = ()) -> None:
        super().__init__(sentence, details=details)
        self.status = status
        self.problem = problem


class NonsenseError(ClientError):
    code = "nonsense"


class WrongBytesError(ClientError):
    code = "wrong-bytes"


class LiesElsewhereError(ClientError):
    code = "lies-elsewhere"


class UnsatisfiableError(ClientError):
    code = "unsatisfiable"


class NotInstalledError(ClientError):
    code = "not-installed"


class StillNeededError(ClientError):
    code = "still-needed"


class OtherGameError(ClientError):
    code = "other-game"


class CancelledError(ClientError):
    code = "cancelled"


def named(names: Sequence[str]) -> str:
    """The names for a sentence: “a”, “b” and 7 more."""
    shown = ", ".join(f"“{clean(name, 120)}”" for name in names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown} and {len(names) - _MOST_NAMED} more"


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def clean(text: str, most: int = 300) -> str:
    """What strangers wrote, such that it cannot steer a terminal: printable, one line, at most ``most`` long."""
    shown = "".join(char if char.isprintable() else "�" for char in text[: most + 1])
    return shown if len(text) <= most else f"{shown[: most - 1]}…"


@contextlib.contextmanager
def plain_errors(folder: Path) -> Iterator[None]:
    """Turn what the operating system says about ``folder`` into a sentence for the player."""
    try:
        yield
    except OSError as error:
        raise explained(error, folder) from error


def explained(error: OSError, folder: Path) -> ClientError:
    """The sentence for an operating system's error."""
    where = clean(str(error.filename)) if error.filename else str(folder)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return NoSpaceError(f"The disk of {folder} is full; nothing was changed. Make room and try again.")
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        return FolderNotWritableError(f"{where} cannot be written; nothing was changed. Check its permissions.")
    if error.errno in {errno.ENOTDIR, errno.EISDIR, errno.ELOOP}:
        return NotAFolderError(f"{where} is not what it should be (a folder, or a plain file).")
    return FileSystemError(f"{where}: {error.strerror or type(error).__name__}; nothing was changed.")
