"""Compressed streams, read strictly: one format, whole, with nothing behind, and never more than is asked
for.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import IO, Protocol, cast

from loadstone.archives.model import RefusedError
from loadstone.archives.source import Source

STEP = 1 << 18
_XZ_MEMORY = 100 * 1024 * 1024
_ZSTD_WINDOW_LOG = 26  # 64 MiB


class _Engine(Protocol):
    """One member of a stream. `unused` are the bytes after its end."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused(self) -> bytes: ...

    def feed(self, data: bytes, most: int) -> bytes: ...

    @property
    def hungry(self) -> bool: ...


class _Gzip:
    """A gzip member (RFC 1952), header and checksum proved by zlib."""

    def __init__(self) -> None:
        self._engine = zlib.decompressobj(16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._engine.eof

    @property
    def unused(self) -> bytes:
        return self._engine.unused_data

    @property
    def hungry(self) -> bool:
        return not self._engine.unconsumed_tail

    def feed(self, data: bytes, most: int) -> bytes:
        return self._engine.decompress(self._engine.unconsumed_tail + data, most)


class _Standard:
    """bzip2 and xz by the standard library."""

    def __init__(self, engine: bz2.BZ2Decompressor | lzma.LZMADecompressor) -> None:
        self._engine = engine

    @property
    def eof(self) -> bool:
        return self._engine.eof

    @property
    def unused(self) -> bytes:
        return self._engine.unused_data

    @property
    def hungry(self) -> bool:
        return self._engine.needs_input

    def feed(self, data: bytes, most: int) -> bytes:
        return self._engine.decompress(data, most)


def _engine(kind: str) -> _Engine:
    if kind == "gzip":
        return _Gzip()
    if kind == "bzip2":
        return _Standard(bz2.BZ2Decompressor())
    return _Standard(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY))


class StreamReader:
    """The unpacked bytes of a gzip, bzip2 or xz source. Further members of the same format follow on, as the
    formats allow and parallel packers write; anything else behind a member is refused.
    """

    def __init__(self, source: Source, kind: str) -> None:
        self._source = source
        self._kind = kind
        self._at = 0
        self._engine: _Engine | None = _engine(kind)
        self._magic = {"gzip": b"\x1f\x8b\x08", "bzip2": b"BZh", "xz": b"\xfd7zXZ\x00"}[kind]

    def read(self, count: int) -> bytes:
        """Up to `count` bytes, at least one until the end. Raises RefusedError."""
        while self._engine is not None:
            try:
                data = self._engine.feed(self._more(), count)
            except (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError) as error:
                if "memory" in str(error).lower():
                    raise RefusedError("memory-limit", "The archive needs too much memory to be unpacked.") from None
                raise RefusedError("damaged", f"The archive's {self._kind} data are damaged.") from None
            if self._engine.eof:
                self._at -= len(self._engine.unused)
                self._next_member()
            if data:
                return data
        return b""

    def _more(self) -> bytes:
        assert self._engine is not None
        if not self._engine.hungry:
            return b""
        left = self._source.size - self._at
        if left <= 0:
            raise RefusedError("truncated", f"The archive's {self._kind} data end too early; upload it again.")
        chunk = self._source.read_at(self._at, min(STEP, left))
        self._at += len(chunk)
        return chunk

    def _next_member(self) -> None:
        left = self._source.size - self._at
        if left == 0:
            self._engine = None
            return
        if self._source.read_at(self._at, min(left, len(self._magic))) != self._magic:
            raise RefusedError("trailing-data", f"There are bytes behind the archive's {self._kind} data.")
        self._engine = _engine(self._kind)


class ZstdReader:
    """The unpacked bytes of a Zstandard source (RFC 8878): one or more frames, nothing else."""

    def __init__(self, source: Source) -> None:
        import zstandard

        self._error = zstandard.ZstdError
        self._source = source
        self._at = 0
        self._done = False
        limit = zstandard.ZstdDecompressor(max_window_size=1 << _ZSTD_WINDOW_LOG)
        self._reader = limit.stream_reader(
            cast("IO[bytes]", _SourceFile(source)), read_across_frames=True, read_size=1 << 16
        )
        _check_zstd(source)

    def read(self, count: int) -> bytes:
        """Up to `count` bytes, at least one until the end. Raises RefusedError."""
        try:
            return bytes(self._reader.read(count))
        except self._error as error:
            if "memory" in str(error).lower():
                raise RefusedError(
                    "memory-limit", "The archive needs a window larger than 64 MiB; pack it without --long."
                ) from None
            raise RefusedError("damaged", "The archive's zstd data are damaged.") from None


class _SourceFile:
    """A source as the reading half of a file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._at = 0

    def read(self, count: int = -1) -> bytes:
        left = self._source.size - self._at
        count = left if count < 0 else min(count, left)
        data = self._source.read_at(self._at, count)
        self._at += count
        return data


_ZSTD_FRAME = b"\x28\xb5\x2f\xfd"


def _check_zstd(source: Source) -> None:
    """Walk the frames and blocks: they are whole and fill the source. Skippable frames could hide
    anything.
    """
    at = 0
    while at < source.size:
        if source.size - at < 9 or source.read_at(at, 4) != _ZSTD_FRAME:
            raise RefusedError("trailing-data", "There are bytes behind the archive's zstd data.")
        descriptor = source.read_at(at + 4, 1)[0]
        single = descriptor >> 5 & 1
        if descriptor & 0x08:
            raise RefusedError("damaged", "The archive's zstd frame uses a reserved bit.")
        content = (single, 2, 4, 8)[descriptor >> 6]
        dictionary = (0, 1, 2, 4)[descriptor & 3]
        if dictionary:
            raise RefusedError("encrypted", "The archive's zstd data need a dictionary that is not in it.")
        at = _skip_zstd_blocks(source, at + 5 + (1 - single) + dictionary + content)
        at += 4 if descriptor & 0x04 else 0
    if at > source.size:
        raise RefusedError("truncated", "The archive's zstd data end too early; upload it again.")


def _skip_zstd_blocks(source: Source, at: int) -> int:
    """Where the last block of a frame ends (RFC 8878, 3.1.1.2)."""
    while True:
        header = int.from_bytes(source.read_at(at, 3), "little")
        kind, size = header >> 1 & 3, header >> 3
        if kind == 3:
            raise RefusedError("damaged", "The archive's zstd data are damaged.")
        at += 3 + (1 if kind == 1 else size)
        if header & 1:
            return at
