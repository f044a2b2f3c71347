"""Bytes that can be read at an offset: a file by its descriptor, a piece of one, or memory."""

from __future__ import annotations

import os
from typing import Protocol

from loadstone.archives.model import RefusedError


class Source(Protocol):
    """`size` bytes, readable anywhere. `read_at` returns exactly `count` bytes or raises RefusedError
    `truncated`.
    """

    @property
    def size(self) -> int: ...

    def read_at(self, offset: int, count: int) -> bytes: ...


def _truncated() -> RefusedError:
    return RefusedError("truncated", "The archive ends before its contents do; upload it again.")


class FileSource:
    """An open descriptor. Never moves its position and never closes it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size

    @property
    def size(self) -> int:
        return self._size

    def read_at(self, offset: int, count: int) -> bytes:
        if offset < 0 or count < 0 or offset + count > self._size:
            raise _truncated()
        data = os.pread(self._descriptor, count, offset)
        while len(data) < count:
            more = os.pread(self._descriptor, count - len(data), offset + len(data))
            if not more:
                raise _truncated()
            data += more
        return data


class BytesSource:
    """Bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    def read_at(self, offset: int, count: int) -> bytes:
        if offset < 0 or count < 0 or offset + count > len(self._data):
            raise _truncated()
        return self._data[offset : offset + count]


class PieceSource:
    """A piece of another source: a stored entry, read in place."""

    def __init__(self, whole: Source, start: int, size: int) -> None:
        if start < 0 or size < 0 or start + size > whole.size:
            raise _truncated()
        self._whole = whole
        self._start = start
        self._size = size

    @property
    def size(self) -> int:
        return self._size

    def read_at(self, offset: int, count: int) -> bytes:
        if offset < 0 or count < 0 or offset + count > self._size:
            raise _truncated()
        return self._whole.read_at(self._start + offset, count)


class Window:
    """Reads a source mostly forwards through one buffer, so that small neighbours cost one system call."""

    def __init__(self, source: Source, span: int = 1 << 18) -> None:
        self._source = source
        self._span = span
        self._start = 0
        self._buffer = b""

    def read_at(self, offset: int, count: int) -> bytes:
        begin = offset - self._start
        if begin >= 0 and begin + count <= len(self._buffer):
            return self._buffer[begin : begin + count]
        if count >= self._span:
            return self._source.read_at(offset, count)
        room = self._source.size - offset
        self._buffer = self._source.read_at(offset, max(count, min(self._span, room)))
        self._start = offset
        return self._buffer[:count]
