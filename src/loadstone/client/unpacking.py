"""From a downloaded file to staged files: through the gate, so that no archive is trusted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from loadstone.archives import RefusedError, extract, inspect_sync
from loadstone.client.errors import NoSpaceError, RefusedArchiveError, clean
from loadstone.client.layout import Staged
from loadstone.client.state import RecordedFile, check_path

_PACKED: Final = (
    ".zip", ".7z", ".rar", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst",
    ".omod", ".fomod",
)  # fmt: skip
_SPARE: Final = 16 << 20

OnFile = Callable[[str, int], None]


def is_packed(file_name: str) -> bool:
    """Whether the file is unpacked into the folder; others (a ``.jar``, a ``.pak``) are put there as they are."""
    return file_name.lower().endswith(_PACKED) or "." not in file_name


def unpack(path: Path, file_name: str, sha256: str, stage: Path, name: str, on_file: OnFile) -> list[Staged]:
    """Stage the content of a verified download below ``stage / name``.

    Raises :class:`RefusedArchiveError` when the gate refuses the archive, :class:`NoSpaceError`, OSError.
    """
    place = stage / name
    if not is_packed(file_name):
        check_path(file_name)
        place.mkdir(parents=True)
        shutil.copyfile(path, place / file_name)
        found = (place / file_name).stat()
        on_file(file_name, found.st_size)
        return [Staged(f"{name}/{file_name}", RecordedFile(file_name, found.st_size, sha256, found.st_mtime_ns))]
    inspection = inspect_sync(path, name=file_name)
    if not inspection.accepted:
        why = "; ".join(clean(reason.detail) for reason in inspection.reasons[:3])
        raise RefusedArchiveError(f"“{clean(file_name)}” is not safe to unpack: {why} Nothing was changed.")
    total = sum(entry.size for entry in inspection.entries)
    free = shutil.disk_usage(stage.parent).free
    if total + _SPARE > free:
        raise NoSpaceError(
            f"“{clean(file_name)}” unpacks to {total >> 20} MiB and {free >> 20} MiB are left; make room."
        )
    for entry in inspection.entries:
        check_path(entry.path)
    try:
        extract(path, place, inspection.entries, progress=on_file)
    except RefusedError as error:
        raise RefusedArchiveError(f"“{clean(file_name)}” is not safe to unpack: {clean(error.detail)}") from error
    return [
        Staged(
            f"{name}/{entry.path}",
            RecordedFile(entry.path, entry.size, entry.sha256, (place / entry.path).stat().st_mtime_ns),
        )
        for entry in inspection.entries
    ]
