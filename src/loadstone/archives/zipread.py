"""Reads the data of a proved zip: every entry inflates to exactly what is declared, and to nothing more."""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import Protocol

from loadstone.archives.lzma1 import open_lzma1
from loadstone.archives.model import RefusedError
from loadstone.archives.paths import shown
from loadstone.archives.reading import Budget, EntrySink, Visitor
from loadstone.archives.source import PieceSource, Source, Window
from loadstone.archives.zipwalk import DEFLATED, DESCRIPTOR, LZMA, STORED, Member, ZipPlan

STEP = 1 << 18
_STREAMED = 0x0008
_LZMA_END_MARK = 0x0002


class _Inflater(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def feed(self, data: bytes, most: int) -> bytes: ...
    @property
    def hungry(self) -> bool: ...


class _Deflate:
    """Raw deflate (RFC 1951)."""

    def __init__(self) -> None:
        self._engine = zlib.decompressobj(-zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._engine.eof

    @property
    def unused_data(self) -> bytes:
        return self._engine.unused_data

    @property
    def hungry(self) -> bool:
        return not self._engine.unconsumed_tail

    def feed(self, data: bytes, most: int) -> bytes:
        return self._engine.decompress(self._engine.unconsumed_tail + data, most)


class _Standard:
    """bzip2 and LZMA share the interface of the standard library's decompressors."""

    def __init__(self, engine: bz2.BZ2Decompressor | lzma.LZMADecompressor) -> None:
        self._engine = engine

    @property
    def eof(self) -> bool:
        return self._engine.eof

    @property
    def unused_data(self) -> bytes:
        return self._engine.unused_data

    @property
    def hungry(self) -> bool:
        return self._engine.needs_input

    def feed(self, data: bytes, most: int) -> bytes:
        return self._engine.decompress(data, most)


def read_zip(source: Source, plan: ZipPlan, visitor: Visitor, budget: Budget) -> None:
    """Read all members in the order of the bytes.

    Raises RefusedError where data end early or late, do not inflate, or have another size or CRC-32.
    """
    window = Window(source, STEP)
    for member in plan.members:
        if member.directory:
            _check_directory(window, member)
            continue
        piece = PieceSource(source, member.data, member.packed) if member.method == STORED else None
        sink = EntrySink(member.path, visitor, budget, executable=member.executable, piece=piece)
        if member.method == STORED:
            _copy(window, member, sink)
        elif member.method == DEFLATED and member.packed <= STEP and member.size <= STEP:
            _inflate_small(window, member, sink)
        else:
            _inflate(window, member, sink)
        if sink.size != member.size:
            raise RefusedError("size-lie", f"{shown(member.path)} unpacks to another size than the archive declares.")
        if sink.crc != member.crc:
            raise RefusedError("crc-mismatch", f"{shown(member.path)} is damaged: its checksum does not fit.")
        sink.close()


def _check_directory(window: Window, member: Member) -> None:
    """A folder has no data; some tools deflate the nothing, which gives the two bytes 03 00."""
    data = window.read_at(member.data, member.packed)
    if data and (member.method != DEFLATED or data != b"\x03\x00"):
        raise RefusedError("directory-with-data", f"{shown(member.name)} is a folder that carries data.")


def _copy(window: Window, member: Member, sink: EntrySink) -> None:
    at, end = member.data, member.data + member.packed
    overlap = b""
    while at < end:
        chunk = window.read_at(at, min(STEP, end - at))
        # A reader from the front finds the end of such an entry only by this mark, and would stop
        # at the first.
        if member.flags & _STREAMED and DESCRIPTOR in overlap + chunk:
            raise RefusedError("descriptor-ambiguous", f"{shown(member.path)} can be read in two ways; store its size.")
        overlap = chunk[-3:]
        sink.write(chunk)
        at += len(chunk)


def _inflate_small(window: Window, member: Member, sink: EntrySink) -> None:
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = engine.decompress(window.read_at(member.data, member.packed), member.size + 1)
        if not engine.eof and len(data) == member.size:
            data += engine.decompress(engine.unconsumed_tail, 1)
    except zlib.error:
        raise _damaged(member) from None
    if len(data) > member.size:
        raise _lie(member)
    if not engine.eof:
        raise _damaged(member)
    if engine.unused_data:
        raise _hidden(member)
    sink.write(data)


def _inflate(window: Window, member: Member, sink: EntrySink) -> None:
    at, end = member.data, member.data + member.packed
    if member.method == LZMA:
        engine, at = _open_lzma(window, member)
    else:
        engine = _Deflate() if member.method == DEFLATED else _Standard(bz2.BZ2Decompressor())
    left = member.size
    try:
        while not engine.eof:
            chunk = b""
            if engine.hungry:
                if at >= end:
                    raise _damaged(member)
                chunk = window.read_at(at, min(STEP, end - at))
                at += len(chunk)
            data = engine.feed(chunk, min(1 << 20, left + 1))
            left -= len(data)
            if left < 0:
                raise _lie(member)
            if data:
                sink.write(data)
    except (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError):
        raise _damaged(member) from None
    if engine.unused_data or at < end:
        raise _hidden(member)


def _open_lzma(window: Window, member: Member) -> tuple[_Inflater, int]:
    """The properties before an LZMA stream in a zip: version, length 5, lc/lp/pb, dictionary (APPNOTE 5.8.8).
    Flag bit 1 says whether the stream ends by a mark or by its size (5.8.9).
    """
    if member.packed < 9:
        raise _damaged(member)
    head = window.read_at(member.data, 9)
    if head[2:4] != b"\x05\x00":
        raise _damaged(member)
    size = None if member.flags & _LZMA_END_MARK else member.size
    return _Standard(open_lzma1(head[4:9], size)), member.data + 9


def _damaged(member: Member) -> RefusedError:
    return RefusedError("damaged", f"The data of {shown(member.path)} are damaged or cut.")


def _lie(member: Member) -> RefusedError:
    return RefusedError("size-lie", f"{shown(member.path)} unpacks to more than the archive declares.")


def _hidden(member: Member) -> RefusedError:
    return RefusedError("hidden-data", f"There are bytes behind the end of {shown(member.path)}'s compressed data.")
