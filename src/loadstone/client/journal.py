"""Every change of a folder is one transaction: kill -9 at any moment leaves the old or the new state.

What is new is staged below ``.loadstone/stage/TXN`` first, then the journal says what is about to happen, then
what is old moves away, then what is new moves into place. Replacing ``state.json`` commits. A journal that is
found later is finished when the state bears its name, and undone otherwise; both may be interrupted again.

While a step is undone or done, one thing tells where its new file is: it is staged or it is in place, never
neither (a crash between link and unlink leaves both names of one file).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from loadstone.client.errors import DamagedStateError, ForeignFilesError
from loadstone.client.state import (
    OWN,
    State,
    check_path,
    read_json,
    read_state,
    sync_folder,
    write_json,
)

_SYNC_ALL_FROM: Final = 64
"""Files from which on one sync of the disk is cheaper than one for each file."""
_NO_LINKS: Final = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EACCES}
)
_BLOCK: Final = 1 << 20


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """What happens to one path of the folder.

    ``moved`` is where the file that is there goes, relative to the folder; ``staged`` where the new one comes
    from, relative to the transaction's stage.
    """

    path: str
    moved: str = ""
    staged: str = ""
    size: int = 0
    mtime_ns: int = 0
    sha256: str = ""


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """One transaction. Folders are relative; ``made`` parents first, the others deepest first."""

    txn: str
    steps: tuple[Step, ...]
    cleared: tuple[str, ...] = ()
    """Own folders that a file takes the place of."""
    made: tuple[str, ...] = ()
    leftover: tuple[str, ...] = ()
    """Own folders that nothing of ours is in any more: removed when empty."""


def stage_of(root: Path, txn: str) -> Path:
    return root / OWN / "stage" / txn


def backup_name(txn: str, path: str) -> str:
    """Where the transaction keeps the file that is replaced or removed, relative to the folder."""
    return f"{OWN}/backup/{txn}/{path}"


def carry_out(root: Path, journal: Journal, state: State) -> None:
    """Do all steps and commit ``state``, or leave everything as it was and raise what stood in the way.

    Raises :class:`ForeignFilesError` when a file appeared in the way, OSError for what the system refuses.
    """
    try:
        _sync_staged(root, journal)
        (root / OWN / "backup" / journal.txn).mkdir(parents=True, exist_ok=True)
        write_json(_journal_path(root), journal)
        _move_away(root, journal.steps)
        for folder in journal.cleared:
            (root / folder).rmdir()
        for folder in journal.made:
            (root / folder).mkdir(exist_ok=True)
        _move_in(root, journal)
        _sync_folders(root, journal)
        write_json(root / OWN / "state.json", msgspec.structs.replace(state, txn=journal.txn))
    finally:
        recover(root)


def recover(root: Path) -> str:
    """Bring a folder whose transaction was interrupted to the new state, if it was committed, else to the old.

    Returns a sentence for the player, empty when there was nothing to do or the transaction just ended.
    """
    try:
        journal: Journal = read_json(_journal_path(root), Journal)
    except FileNotFoundError:
        _discard(root)
        return ""
    _check(journal)
    if read_state(root).txn == journal.txn:
        _finish(root, journal)
        return "An earlier change of this folder was interrupted after it had taken effect; it is complete now."
    kept = _undo(root, journal)
    aside = f" Your own changes are kept in {', '.join(kept)}." if kept else ""
    return f"An earlier change of this folder was interrupted; the folder is as it was before.{aside}"


def _journal_path(root: Path) -> Path:
    return root / OWN / "journal.json"


def _check(journal: Journal) -> None:
    """Even our own journal gets no path outside the folder."""
    if not journal.txn.isalnum():
        raise DamagedStateError("The journal of an interrupted change is damaged: its name makes no sense.")
    for step in journal.steps:
        check_path(step.path)
        if step.moved and step.moved != backup_name(journal.txn, step.path):
            check_path(step.moved)
        if step.staged:
            check_path(step.staged)
    for folder in (*journal.cleared, *journal.made, *journal.leftover):
        check_path(folder)


def _move_away(root: Path, steps: Sequence[Step]) -> None:
    made: set[Path] = set()
    for step in steps:
        if not step.moved:
            continue
        place = root / step.moved
        if place.parent not in made:
            place.parent.mkdir(parents=True, exist_ok=True)
            made.add(place.parent)
        (root / step.path).rename(place)


def _move_in(root: Path, journal: Journal) -> None:
    stage = stage_of(root, journal.txn)
    for step in journal.steps:
        if step.staged:
            _move_new(stage / step.staged, root / step.path, step.path)


def _move_new(source: Path, target: Path, name: str) -> None:
    """Rename that never replaces: link fails where rename would overwrite."""
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise ForeignFilesError([name]) from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(target):
            raise ForeignFilesError([name]) from None
        source.rename(target)
        return
    source.unlink()


def _finish(root: Path, journal: Journal) -> None:
    for folder in journal.leftover:
        with contextlib.suppress(OSError):
            (root / folder).rmdir()
    _discard(root)


def _undo(root: Path, journal: Journal) -> list[str]:
    """Back to the old state. Returns where files are that somebody changed in between."""
    kept: list[str] = []
    stage = stage_of(root, journal.txn)
    for step in reversed(journal.steps):
        if step.staged:
            kept += _take_back(root, stage / step.staged, step)
    for folder in reversed(journal.made):
        with contextlib.suppress(OSError):
            (root / folder).rmdir()
    for folder in reversed(journal.cleared):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for step in reversed(journal.steps):
        if step.moved and os.path.lexists(root / step.moved):
            kept += _put_back(root, step)
    for step in journal.steps:
        sync_folder((root / step.path).parent)
    _discard(root)
    return kept


def _take_back(root: Path, staged: Path, step: Step) -> list[str]:
    target = root / step.path
    if not os.path.lexists(target):
        return []
    if os.path.lexists(staged):
        if staged.samefile(target):
            target.unlink()
        return []  # not reached yet, or something else stands in the way: not ours
    staged.parent.mkdir(parents=True, exist_ok=True)
    if _is_as_staged(target, step):
        target.rename(staged)
        return []
    aside = free_name(root, step.path)
    target.rename(root / aside)
    return [aside]


def _put_back(root: Path, step: Step) -> list[str]:
    target, place = root / step.path, root / step.moved
    if not os.path.lexists(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        place.rename(target)
        return []
    aside = free_name(root, step.path)  # somebody made a file here since: it stays, under another name
    target.rename(root / aside)
    place.rename(target)
    return [aside]


def _is_as_staged(path: Path, step: Step) -> bool:
    found = path.lstat()
    if found.st_size != step.size:
        return False
    return found.st_mtime_ns == step.mtime_ns or digest_of(path) == step.sha256


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def free_name(root: Path, path: str) -> str:
    """A name beside ``path`` for the player's own version of it: ``settings.ini.yours``."""
    for number in range(1, 10_000):
        candidate = f"{path}.yours" if number == 1 else f"{path}.yours-{number}"
        if not os.path.lexists(root / candidate):
            return candidate
    raise FileExistsError(errno.EEXIST, "there are too many kept versions", path)


def _discard(root: Path) -> None:
    """Remove what a transaction that is over leaves behind.

    The journal goes first: without it the rest means nothing, while a journal whose stage is half gone would
    take the old files for new ones.
    """
    if os.path.lexists(_journal_path(root)):
        _journal_path(root).unlink()
        sync_folder(root / OWN)
    for name in ("backup", "stage"):
        folder = root / OWN / name
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)


def _sync_staged(root: Path, journal: Journal) -> None:
    staged = [stage_of(root, journal.txn) / step.staged for step in journal.steps if step.staged]
    if len(staged) >= _SYNC_ALL_FROM and hasattr(os, "sync"):
        os.sync()
        return
    for path in staged:
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    for folder in {path.parent for path in staged}:
        sync_folder(folder)


def _sync_folders(root: Path, journal: Journal) -> None:
    touched = {(root / step.path).parent for step in journal.steps}
    touched |= {(root / step.moved).parent for step in journal.steps if step.moved}
    for folder in touched:
        sync_folder(folder)
