"""The file that a backup is: a tar, compressed by Zstandard, whose last member lists all others.

``tar --zstd -tf FILE`` reads it. Only what :class:`ArchiveWriter` writes is accepted back: plain members under
known names, in the order of the manifest, with the sizes and SHA-256 digests that it says. The manifest comes
last, and after the compressed tar a mark that tools skip (RFC 8878, skippable frame), so that a file that ends
too early, be it by one byte, is known at once.
"""

import hashlib
import io
import os
import re
import struct
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, Self

import msgspec
import zstandard

FORMAT: Final = 1
CHUNK: Final = 1 << 20
_MANIFEST: Final = "manifest.json"
_LARGEST_MANIFEST: Final = 1 << 30
_NAME: Final = re.compile(r"files/[a-z0-9._-]{1,60}|database/\d{6}|blobs/[0-9a-f]{64}")
_BLOCK: Final = tarfile.BLOCKSIZE
_END_WORDS: Final = b"loadstone backup ends"
_END: Final = struct.pack("<II", 0x184D2A50, len(_END_WORDS)) + _END_WORDS


class BackupError(Exception):
    """A backup cannot be written, read or restored; the message says why and what helps."""


class BackupDamaged(BackupError):  # noqa: N818 - a sentence for the operator
    """The file is not a whole, unchanged backup."""


class Member(msgspec.Struct, frozen=True):
    name: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds and where it came from."""

    format: int
    made_at: str
    """RFC 3339, UTC."""
    made_by: str
    """Version of Loadstone."""
    server: int
    """Major version of the PostgreSQL that was backed up."""
    dumped_by: int
    """Major version of the ``pg_dump`` that read it."""
    members: list[Member]


class ArchiveWriter:
    """Writes ``path`` under a temporary name; it appears whole when :meth:`finish` has run, or not at all.

    The file is readable by its owner alone: it holds secrets.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f"{path.name}.partial")
        if path.exists():
            raise BackupError(f"{path} is there already: choose another name.")
        try:
            self._partial.unlink(missing_ok=True)
            self._raw: BinaryIO = open(self._partial, "xb", opener=_private)  # noqa: SIM115 - closed in __exit__
        except OSError as error:
            raise BackupError(
                f"The backup {path} cannot be written ({error.strerror}): choose another place."
            ) from None
        options = zstandard.ZstdCompressionParameters.from_level(3, write_checksum=True, threads=-1)
        self._out = zstandard.ZstdCompressor(compression_params=options).stream_writer(self._raw, closefd=False)
        self.members: list[Member] = []

    def add(self, name: str, chunks: Iterator[bytes], size: int) -> None:
        """A member whose bytes are at hand."""
        with self.member(name, size) as member:
            for chunk in chunks:
                member.write(chunk)

    def member(self, name: str, size: int) -> "MemberWriter":
        """A member of exactly ``size`` bytes, to be written within a ``with`` block."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name} is no name of a member")
        return MemberWriter(self._out.write, name, size, self.members.append)

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, wait until all is on the disk, and give the file its name."""
        body = msgspec.json.encode(manifest)
        with MemberWriter(self._out.write, _MANIFEST, len(body), lambda _: None) as member:
            member.write(body)
        self._out.write(bytes(2 * _BLOCK))  # the end of a tar
        self._out.flush(zstandard.FLUSH_FRAME)
        self._raw.write(_END)
        self._raw.flush()
        os.fsync(self._raw.fileno())
        self._partial.rename(self._path)
        _sync(self._path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()
        self._partial.unlink(missing_ok=True)


class MemberWriter:
    """One member of an archive that is being written."""

    def __init__(
        self, write: Callable[[bytes], object], name: str, size: int, done: Callable[[Member], object]
    ) -> None:
        self._write = write
        self._name = name
        self._size = size
        self._done = done
        self._written = 0
        self._digest = hashlib.sha256()
        header = tarfile.TarInfo(name)
        header.size = size
        header.mode = 0o600
        self._write(header.tobuf(tarfile.GNU_FORMAT, "ascii", "strict"))

    def write(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self._written += len(chunk)
        if self._written > self._size:
            raise BackupError(f"{self._name} has grown while it was read: begin the backup again.")
        self._write(chunk)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        if self._written != self._size:
            raise BackupError(f"{self._name} has shrunk while it was read: begin the backup again.")
        self._write(bytes(-self._size % _BLOCK))
        self._done(Member(self._name, self._size, self._digest.hexdigest()))


class MemberReader:
    """One member of an archive that is being read: its bytes, once, in order."""

    def __init__(self, name: str, size: int, read: Callable[[int], bytes]) -> None:
        self.name = name
        self.size = size
        self._read = read
        self._left = size
        self._digest = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        while self._left:
            chunk = self._read(min(CHUNK, self._left))
            self._left -= len(chunk)
            self._digest.update(chunk)
            yield chunk

    def finished(self) -> Member:
        """What the member was; reads the rest of it."""
        for _ in self:
            pass
        return Member(self.name, self.size, self._digest.hexdigest())


class ArchiveReader:
    """Reads an archive from its beginning to its end, in constant memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._raw: BinaryIO = path.open("rb")
        except OSError as error:
            raise BackupError(f"The backup {path} cannot be read ({error.strerror}).") from None
        self._in = zstandard.ZstdDecompressor().stream_reader(self._raw, read_across_frames=True, closefd=False)
        self.size = path.stat().st_size
        self._require_end()

    @property
    def position(self) -> int:
        """How many bytes of the file have been read."""
        return self._raw.tell()

    def members(self) -> Iterator[MemberReader]:
        """Every member in its order, the manifest included. Raises :class:`BackupDamaged`."""
        while any(block := self._exactly(_BLOCK)):
            try:
                header = tarfile.TarInfo.frombuf(block, "ascii", "strict")
            except (tarfile.HeaderError, UnicodeDecodeError):
                raise self._damaged("one of its headers is not what a backup has") from None
            plain = header.type == tarfile.REGTYPE and header.size >= 0
            if not plain or not (_NAME.fullmatch(header.name) or header.name == _MANIFEST):
                raise self._damaged("it holds something that a backup does not hold")
            member = MemberReader(header.name, header.size, self._exactly)
            yield member
            member.finished()
            self._exactly(-header.size % _BLOCK)
        self._exactly(_BLOCK)
        if self._read(1):
            raise self._damaged("something follows its end")

    def verify(self, progress: Callable[[int, int], None]) -> Manifest:
        """Read the whole file and compare each member with the manifest.

        ``progress`` gets the bytes read so far and the bytes in all. Raises :class:`BackupDamaged`.
        """
        found: list[Member] = []
        manifest: Manifest | None = None
        for member in self.members():
            if manifest is not None:
                raise self._damaged("something follows its manifest")
            if member.name == _MANIFEST:
                manifest = self._manifest(member)
                continue
            found.append(member.finished())
            progress(self.position, self.size)
        if manifest is None:
            raise self._damaged("it has no manifest")
        if manifest.format != FORMAT:
            raise BackupError(
                f"The backup {self._path} has format {manifest.format} and this version reads {FORMAT}: "
                f"restore it with Loadstone {manifest.made_by}."
            )
        self._compare(found, manifest.members)
        return manifest

    def _require_end(self) -> None:
        self._raw.seek(max(0, self.size - len(_END)))
        if self._raw.read() != _END:
            self._raw.close()
            raise self._damaged("it ends too early, or is no backup at all")
        self._raw.seek(0)

    def _manifest(self, member: MemberReader) -> Manifest:
        if member.size > _LARGEST_MANIFEST:
            raise self._damaged("its manifest is too large")
        body = io.BytesIO()
        for chunk in member:
            body.write(chunk)
        try:
            return msgspec.json.decode(body.getbuffer(), type=Manifest)
        except msgspec.MsgspecError:
            raise self._damaged("its manifest cannot be read") from None

    def _compare(self, found: list[Member], listed: list[Member]) -> None:
        if len(found) != len(listed):
            raise self._damaged(f"it holds {len(found)} members and its manifest lists {len(listed)}")
        for is_there, should_be in zip(found, listed, strict=True):
            if is_there != should_be:
                raise self._damaged(f"{is_there.name} is not as its manifest says")
            if is_there.name.startswith("blobs/") and is_there.name != f"blobs/{is_there.sha256}":
                raise self._damaged(f"{is_there.name} does not have the digest that is its name")

    def _exactly(self, count: int) -> bytes:
        chunk = self._read(count)
        if len(chunk) != count:
            raise self._damaged("it ends too early")
        return chunk

    def _read(self, count: int) -> bytes:
        parts = []
        try:
            while count and (part := self._in.read(count)):
                parts.append(part)
                count -= len(part)
        except zstandard.ZstdError:
            raise self._damaged("its compression is broken") from None
        return b"".join(parts)

    def _damaged(self, why: str) -> BackupDamaged:
        return BackupDamaged(f"{self._path} is not a whole, unchanged backup: {why}. Nothing was restored.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
