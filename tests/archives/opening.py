"""Opens bytes as the gate does, without the jail: for tests of verdicts rather than of walls."""

from __future__ import annotations

from pathlib import Path

from loadstone.archives.gate import Gate
from loadstone.archives.model import Inspection, Limits, Profile
from loadstone.archives.source import BytesSource


def open_bytes(
    data: bytes, name: str, folder: Path, *, limits: Limits | None = None, profile: Profile | None = None
) -> Inspection:
    """The gate's verdict. `folder` is for rar alone, whose library reads a file."""
    path = None
    if data.startswith(b"Rar!"):
        file = folder / "upload.rar"
        file.write_bytes(data)
        path = str(file)
    return Gate(limits or Limits(), profile or Profile(), path=path).inspect(BytesSource(data), name)
