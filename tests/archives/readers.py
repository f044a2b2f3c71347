"""Other programs' views of an archive, to compare ours with."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import unicodedata
import zipfile
from pathlib import Path

Listing = dict[str, tuple[int, str]]
"""Size and SHA-256 of each file by canonical path."""


def _canonical(name: str) -> str:
    return unicodedata.normalize("NFC", name.replace("\\", "/").removeprefix("./"))


def _of(data: bytes) -> tuple[int, str]:
    return len(data), hashlib.sha256(data).hexdigest()


def by_python(data: bytes) -> Listing:
    """The standard library's zipfile. Names in code page 437 that are UTF-8 are read as such, as we do."""
    found: Listing = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            name = info.filename
            if not info.flag_bits & 0x800:
                raw = name.encode("cp437")
                try:
                    name = raw.decode("utf-8")
                except UnicodeDecodeError:
                    name = raw.decode("cp437")
            if not name.endswith(("/", "\\")):
                found[_canonical(name)] = _of(archive.read(info))
    return found


def by_walking_from_the_front(data: bytes) -> Listing | None:
    """A reader that never looks at the directory at the end, as streaming unpackers do. None for methods it lacks
    and for entries whose size only the directory knows.
    """
    import zlib

    found: Listing = {}
    at = 0
    while data[at : at + 4] == b"PK\x03\x04":
        flags = int.from_bytes(data[at + 6 : at + 8], "little")
        method = int.from_bytes(data[at + 8 : at + 10], "little")
        packed = int.from_bytes(data[at + 18 : at + 22], "little")
        names, extras = (int.from_bytes(data[at + i : at + i + 2], "little") for i in (26, 28))
        raw = data[at + 30 : at + 30 + names]
        start = at + 30 + names + extras
        if packed == 0xFFFFFFFF or method not in (0, 8) or (flags & 8 and method == 0):
            return None
        if method == 8:
            engine = zlib.decompressobj(-15)
            body = engine.decompress(data[start:])
            start = len(data) - len(engine.unused_data)
        else:
            body = data[start : start + packed]
            start += packed
        if flags & 8:
            rest = data[start : start + 24]
            start += next(n for n in (16, 24, 12, 20) if data[start + n : start + n + 2] == b"PK" and len(rest) >= 12)
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            name = raw.decode("cp437")
        if not name.endswith(("/", "\\")):
            found[_canonical(name)] = _of(body)
        at = start
    return found


def by_info_zip(path: Path, folder: Path) -> Listing | None:
    """Info-ZIP's unzip, unpacked into `folder`; None where it is not installed or cannot read the archive."""
    if shutil.which("unzip") is None:
        return None
    target = folder / "unzipped"
    done = subprocess.run(
        ["unzip", "-qq", "-o", str(path), "-d", str(target)],
        capture_output=True,
        check=False,
        env={"LC_ALL": "C.UTF-8"},
    )
    if done.returncode not in (0, 1):
        return None
    files = [file for file in target.rglob("*") if file.is_file()]
    return {_canonical(_text(str(file.relative_to(target)))): _of(file.read_bytes()) for file in files}


def _text(name: str) -> str:
    """The name as unzip means it: it turns code page 437 into Latin-1."""
    raw = os.fsencode(name)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def by_tarfile(data: bytes) -> Listing:
    """The standard library's tarfile (not for zst)."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = [member for member in archive if member.isfile()]
        return {_canonical(m.name): _of(archive.extractfile(m).read()) for m in members}  # type: ignore[union-attr]


def by_py7zr(data: bytes) -> Listing:
    """The pure Python 7z reader."""
    import py7zr
    from py7zr.io import BytesIOFactory

    factory = BytesIOFactory(1 << 30)
    with py7zr.SevenZipFile(io.BytesIO(data)) as archive:
        archive.extractall(factory=factory)
    return {_canonical(name): _of(stream.read()) for name, stream in factory.products.items()}
