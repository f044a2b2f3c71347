"""Reading CKAN metadata from where it lies: a folder, a tar.gz, or the JSONL index; nothing is unpacked to disk.

What strangers wrote is bounded in bytes, lines and members. A line or member that cannot be used is reported
with its place and left out; a file that breaks off is taken as far as it goes, and the report says so.
"""

import gzip
import io
import os
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

import msgspec
import zstandard

from loadstone.catalog.ckan_rows import Row, decode_builds, decode_file, decode_row
from loadstone.catalog.importing import Report
from loadstone.kernel.errors import InvalidInputError

MOST_BYTES: Final = 512 << 20
"""Of the whole input, unpacked."""
MOST_LINE: Final = 1 << 20
"""Of one line or one .ckan file."""
MOST_ROWS: Final = 500_000
_BUILDS: Final = ("ckan_game_builds.json", "builds.json")
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_SLICE: Final = 1 << 10  # of zstd: what it can unpack to stays some megabytes
_BROKEN: Final = (tarfile.TarError, EOFError, OSError, zlib.error, RecursionError, ValueError, OverflowError)


class NotACatalogueError(InvalidInputError):
    code = "not-a-catalogue"
    title = "This is not a folder or tar.gz of .ckan files, nor a ckan.jsonl or ckan.jsonl.zst"


class Located(msgspec.Struct, frozen=True):
    """A row and where it stands in the input."""

    where: str
    row: Row


class Source(msgspec.Struct):
    """All rows that could be read, and the game's builds where the input lists them (oldest first)."""

    rows: list[Located] = []
    builds: tuple[str, ...] = ()


class _TooLarge(Exception):  # noqa: N818 - caught where the reading ends
    """The input is larger than what is read."""


def read_source(path: Path, report: Report) -> Source:
    """Read all there is; blocking. Raises :class:`NotACatalogueError` when it is of no kind that we know."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return _read_folder(path, report)
        if not stat.S_ISREG(mode):
            raise NotACatalogueError(f"{path} is neither a file nor a folder.")
        with path.open("rb") as file:
            return _read_file(path, file, report)
    except OSError as error:
        raise NotACatalogueError(f"{path} cannot be read: {error.strerror or error}.") from None


def _read_file(path: Path, file: IO[bytes], report: Report) -> Source:
    head = file.read(4)
    file.seek(0)
    if head[:2] == _GZIP:
        return _read_tar(file, report)
    if head != _ZSTD and head[:1] != b"{":
        raise NotACatalogueError(f"{path} is not a tar.gz of .ckan files, nor a ckan.jsonl or ckan.jsonl.zst.")
    source = Source()
    blocks = _unpacked(file, report) if head == _ZSTD else iter(lambda: file.read(1 << 16), b"")
    for number, line in enumerate(_lines(blocks, report), 1):
        where = f"line {number}"
        if line is None:
            report.trouble("too-long", where, f"the line is longer than {MOST_LINE} bytes")
        elif line.strip() and not _take(source, where, line, decode_row, report):
            break
    for name in _BUILDS:
        _read_builds(path.parent / name, source, report)
    return source


def _unpacked(file: IO[bytes], report: Report) -> Iterator[bytes]:
    """The content of zstd frames; it ends early, reported, where they are damaged or break off."""
    unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    frame = unpacker.decompressobj()
    inside = False
    while data := file.read(_SLICE):
        while data:
            try:
                block = frame.decompress(data)
            except zstandard.ZstdError as error:
                _broken(report, f"the zstd stream is damaged: {error}")
                return
            inside, data = True, b""
            if block:
                yield block
            if frame.eof:
                data, frame, inside = frame.unused_data, unpacker.decompressobj(), False
    if inside:
        _broken(report, "the zstd stream breaks off")


def _lines(blocks: Iterator[bytes], report: Report) -> Iterator[bytes | None]:
    """Lines without their ends; None for one that is too long."""
    rest, left, skipping = b"", MOST_BYTES, False
    for block in blocks:
        *whole, rest = (rest + block[:left]).split(b"\n")
        left -= len(block)
        for line in whole:
            yield None if skipping or len(line) > MOST_LINE else line
            skipping = False
        if left < 0:
            _broken(report, f"only the first {MOST_BYTES >> 20} MiB are read")
            return
        if len(rest) > MOST_LINE:
            rest, skipping = b"", True
    if rest or skipping:
        yield None if skipping else rest


def _read_tar(file: IO[bytes], report: Report) -> Source:
    source = Source()
    number = 0
    try:
        with gzip.open(file) as content, tarfile.open(fileobj=_Bounded(content), mode="r|") as archive:
            for number, member in enumerate(archive, 1):  # noqa: B007 - the report names where it broke
                if not _take_member(archive, member, source, report):
                    break
                archive.members = []  # type: ignore[attr-defined]  # a stream goes forward only: none is needed again
    except _TooLarge:
        _broken(report, f"only the first {MOST_BYTES >> 20} MiB of the archive are read")
    except _BROKEN as error:
        _broken(report, f"the archive is damaged behind member {number}: {str(error)[:200]}")
    return source


def _take_member(archive: tarfile.TarFile, member: tarfile.TarInfo, source: Source, report: Report) -> bool:
    """False when enough was read."""
    name = member.name
    where = name[:300].encode("utf-8", "backslashreplace").decode()
    is_builds = name.rsplit("/", 1)[-1] in _BUILDS and name.count("/") <= 1
    if not name.endswith(".ckan") and not is_builds:
        return True
    if not member.isreg():
        report.trouble("not-a-file", where, "the member is a link or a device")
        return True
    if name.startswith("/") or ".." in name.split("/"):
        report.trouble("unsafe-path", where, "the member's path leads out of the archive")
        return True
    if member.size > MOST_LINE:
        report.trouble("too-long", where, f"the member is larger than {MOST_LINE} bytes")
        return True
    opened = archive.extractfile(member)
    data = opened.read() if opened else b""
    if len(data) != member.size:
        raise EOFError("it breaks off")
    if is_builds:
        _take_builds(where, data, source, report)
        return True
    return _take(source, where, data, decode_file, report)


def _read_folder(path: Path, report: Report) -> Source:
    source = Source()
    total = 0
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            if not name.endswith(".ckan"):
                continue
            file = Path(folder, name)
            where = str(file.relative_to(path)).encode("utf-8", "backslashreplace").decode()
            data = _small_file(file, where, report)
            if data is None:
                continue
            total += len(data)
            if total > MOST_BYTES:
                _broken(report, f"only the first {MOST_BYTES >> 20} MiB are read")
                return source
            if not _take(source, where, data, decode_file, report):
                return source
    for name in _BUILDS:
        _read_builds(path / name, source, report)
    return source


def _small_file(path: Path, where: str, report: Report) -> bytes | None:
    """A file's bytes; links are not followed, and devices not opened."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        report.trouble("unreadable", where, error.strerror or "it cannot be opened")
        return None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            report.trouble("not-a-file", where, "it is not a plain file")
            return None
        data = file.read(MOST_LINE + 1)
    if len(data) > MOST_LINE:
        report.trouble("too-long", where, f"the file is larger than {MOST_LINE} bytes")
        return None
    return data


def _read_builds(path: Path, source: Source, report: Report) -> None:
    if source.builds or not path.is_file():
        return
    data = _small_file(path, path.name, report)
    if data is not None:
        _take_builds(path.name, data, source, report)


def _take_builds(where: str, data: bytes, source: Source, report: Report) -> None:
    try:
        source.builds = decode_builds(data)
    except ValueError as error:  # msgspec's errors are ValueErrors too
        report.trouble("bad-builds", where, str(error)[:300])


def _take(source: Source, where: str, data: bytes, decode: Callable[[bytes], Row], report: Report) -> bool:
    """Decode one row; False when no more are taken."""
    if len(source.rows) >= MOST_ROWS:
        _broken(report, f"only the first {MOST_ROWS} versions are read")
        return False
    try:
        source.rows.append(Located(where, decode(data)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        report.trouble("unusable", where, str(error)[:300])
    return True


def _broken(report: Report, why: str) -> None:
    report.complete = False
    report.trouble("incomplete", "the input", why)


class _Bounded(io.RawIOBase):
    """Reads at most :data:`MOST_BYTES` of a stream, so that a bomb ends early."""

    def __init__(self, inner: gzip.GzipFile) -> None:
        self._inner = inner
        self._total = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._inner.read(size if size >= 0 else MOST_BYTES)
        self._total += len(data)
        if self._total > MOST_BYTES:
            raise _TooLarge
        return data
