"""The decoders of 7z folders: a chain of coders from packed streams to the bytes of files.

Supported: copy, LZMA, LZMA2, BZip2, Deflate, Delta, the branch filters, BCJ2. PPMd, Deflate64 and ciphers are
not.
"""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from typing import Protocol

import msgspec

from loadstone.archives.lzma1 import MAX_DICTIONARY, open_lzma1
from loadstone.archives.model import RefusedError
from loadstone.archives.source import Source

AES = b"\x06\xf1\x07\x01"
_COPY, _LZMA, _LZMA2, _DELTA = b"\x00", b"\x03\x01\x01", b"\x21", b"\x03"
_BZIP2, _DEFLATE, _BCJ2 = b"\x04\x02\x02", b"\x04\x01\x08", b"\x03\x03\x01\x1b"
_FILTERS: dict[bytes, int] = {
    b"\x03\x03\x01\x03": lzma.FILTER_X86,
    b"\x04": lzma.FILTER_X86,
    b"\x03\x03\x02\x05": lzma.FILTER_POWERPC,
    b"\x05": lzma.FILTER_POWERPC,
    b"\x03\x03\x04\x01": lzma.FILTER_IA64,
    b"\x06": lzma.FILTER_IA64,
    b"\x03\x03\x05\x01": lzma.FILTER_ARM,
    b"\x07": lzma.FILTER_ARM,
    b"\x03\x03\x07\x01": lzma.FILTER_ARMTHUMB,
    b"\x08": lzma.FILTER_ARMTHUMB,
    b"\x03\x03\x08\x05": lzma.FILTER_SPARC,
    b"\x09": lzma.FILTER_SPARC,
}
_STEP = 1 << 18
_BCJ2_MEMORY = 48 * 1024 * 1024


class Coder(msgspec.Struct):
    """One step: a method, how many streams it takes, and its properties."""

    method: bytes
    inputs: int
    properties: bytes


class Folder(msgspec.Struct):
    """A small graph of coders. `bonds` are (input, output) pairs; `packed` are the inputs fed by the file."""

    coders: list[Coder]
    bonds: list[tuple[int, int]]
    packed: list[int]
    sizes: list[int] = []
    """Unpacked size of each coder's output."""
    crc: int | None = None

    @property
    def packed_count(self) -> int:
        return len(self.packed)

    @property
    def main(self) -> int:
        """The coder whose output is the folder's."""
        bound = {output for _, output in self.bonds}
        return next(index for index in range(len(self.coders)) if index not in bound)

    @property
    def unpacked(self) -> int:
        return self.sizes[self.main]


class Stream(Protocol):
    """Unpacked bytes; `finish` proves that nothing is left over."""

    def read(self, count: int) -> bytes: ...

    def finish(self) -> None: ...


def open_folder(source: Source, folder: Folder, at: int, packed: list[int]) -> Stream:
    """The output of a folder whose packed streams lie one after the other from `at`."""
    pieces: dict[int, Stream] = {}
    for target, size in zip(folder.packed, packed, strict=True):
        pieces[target] = _Piece(source, at, size)
        at += size
    return _Exact(_open(folder, folder.main, pieces, 0), folder.unpacked)


def _open(folder: Folder, index: int, pieces: dict[int, Stream], depth: int) -> Stream:
    if depth > len(folder.coders):
        raise RefusedError("damaged", "The archive's coders form a circle.")
    coder = folder.coders[index]
    first = sum(other.inputs for other in folder.coders[:index])
    inputs: list[Stream] = []
    for target in range(first, first + coder.inputs):
        if target in pieces:
            inputs.append(pieces[target])
            continue
        output = next(output for bound, output in folder.bonds if bound == target)
        inputs.append(_Exact(_open(folder, output, pieces, depth + 1), folder.sizes[output]))
    return _decode(coder, inputs, folder.sizes[index])


def _decode(coder: Coder, inputs: list[Stream], size: int) -> Stream:
    if coder.method == _BCJ2 and len(inputs) == 4:
        return _Bcj2(inputs, size)
    if len(inputs) != 1:
        raise _unsupported(coder)
    if coder.method == _COPY:
        return inputs[0]
    if coder.method in _FILTERS and not coder.properties.strip(b"\0"):
        return _Filter(inputs[0], {"id": _FILTERS[coder.method]})
    if coder.method == _DELTA and len(coder.properties) == 1:
        return _Filter(inputs[0], {"id": lzma.FILTER_DELTA, "dist": coder.properties[0] + 1})
    return _Unpack(inputs[0], _engine(coder, size))


def _unsupported(coder: Coder) -> RefusedError:
    if coder.method == AES:
        return RefusedError("encrypted", "The archive is encrypted; upload it without a password.")
    return RefusedError(
        "method-unsupported",
        f"The archive is packed by method {coder.method.hex()}, which is not supported; use LZMA2.",
    )


class _Engine(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes: ...


class _Deflate:
    """zlib with the interface of the other two."""

    def __init__(self) -> None:
        self._engine = zlib.decompressobj(-zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._engine.eof

    @property
    def unused_data(self) -> bytes:
        return self._engine.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._engine.unconsumed_tail

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        return self._engine.decompress(self._engine.unconsumed_tail + data, max(max_length, 0))


def _engine(coder: Coder, size: int) -> _Engine:
    properties = coder.properties
    if coder.method == _LZMA:
        return open_lzma1(properties, size)
    if coder.method == _LZMA2 and len(properties) == 1:
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[_lzma2_filter(properties[0])])
    if coder.method == _BZIP2:
        return bz2.BZ2Decompressor()
    if coder.method == _DEFLATE:
        return _Deflate()
    raise _unsupported(coder)


def _lzma2_filter(code: int) -> dict[str, int]:
    """The dictionary size is 2 or 3 shifted (xz format, 5.3.1)."""
    if code > 40:
        raise RefusedError("damaged", "The archive's LZMA2 properties are invalid.")
    dictionary = 0xFFFFFFFF if code == 40 else (2 | code & 1) << (code // 2 + 11)
    if dictionary > MAX_DICTIONARY:
        raise RefusedError(
            "memory-limit", "The archive needs a dictionary larger than 96 MiB; pack it with a smaller one."
        )
    return {"id": lzma.FILTER_LZMA2, "dict_size": max(dictionary, 4096)}


class _Piece:
    """A packed stream in the file."""

    def __init__(self, source: Source, at: int, size: int) -> None:
        self._source = source
        self._at = at
        self._end = at + size

    def read(self, count: int) -> bytes:
        count = min(count, self._end - self._at)
        data = self._source.read_at(self._at, count) if count else b""
        self._at += count
        return data

    def finish(self) -> None:
        if self._at != self._end:
            raise RefusedError("hidden-data", "There are bytes in a packed stream that no file uses.")


class _Unpack:
    """One decompressor over one stream."""

    def __init__(self, inner: Stream, engine: _Engine) -> None:
        self._inner = inner
        self._engine = engine
        self._dry = False

    def read(self, count: int) -> bytes:
        try:
            while not self._engine.eof:
                data = b""
                if self._engine.needs_input:
                    if self._dry:
                        return b""
                    data = self._inner.read(_STEP)
                    self._dry = not data
                    if self._dry:
                        return b""
                out = self._engine.decompress(data, count)
                if out:
                    return out
        except (lzma.LZMAError, zlib.error, OSError, EOFError, ValueError):
            raise RefusedError("damaged", "The archive's data are damaged.") from None
        return b""

    def finish(self) -> None:
        if self.read(1):
            raise RefusedError("size-lie", "A packed stream unpacks to more than the archive declares.")
        if not self._engine.eof:
            raise RefusedError("damaged", "The archive's data are damaged.")
        if self._engine.unused_data or self._inner.read(1):
            raise RefusedError("hidden-data", "There are bytes in a packed stream that no file uses.")
        self._inner.finish()


class _Filter:
    """A filter alone. liblzma knows them only in front of a compressor, so the data are given to it as LZMA2
    chunks that are stored (xz format, 5.3.1): no copy of its filters is needed here.
    """

    _CHUNK = 1 << 16

    def __init__(self, inner: Stream, chosen: dict[str, int]) -> None:
        self._inner = inner
        chain = [chosen, {"id": lzma.FILTER_LZMA2, "dict_size": self._CHUNK}]
        self._engine = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chain)
        self._control = b"\x01"
        self._ready = b""

    def read(self, count: int) -> bytes:
        while not self._ready:
            if self._engine.eof:
                return b""
            data = self._inner.read(self._CHUNK)
            header = self._control + (len(data) - 1).to_bytes(2, "big") if data else b"\x00"
            self._control = b"\x02"
            self._ready = self._engine.decompress(header + data)
        out, self._ready = self._ready[:count], self._ready[count:]
        return out

    def finish(self) -> None:
        if self.read(1):
            raise RefusedError("size-lie", "A packed stream unpacks to more than the archive declares.")
        self._inner.finish()


class _Exact:
    """Exactly the declared number of bytes: fewer is damage, more a lie."""

    def __init__(self, inner: Stream, size: int) -> None:
        self._inner = inner
        self._left = size

    def read(self, count: int) -> bytes:
        if not self._left:
            return b""
        data = self._inner.read(min(count, self._left))
        if not data:
            raise RefusedError("size-lie", "A packed stream unpacks to less than the archive declares.")
        self._left -= len(data)
        return data

    def finish(self) -> None:
        if self._left:
            raise RefusedError("hidden-data", "There are bytes in a packed stream that no file uses.")
        self._inner.finish()


# --- BCJ2 ---------------------------------------------------------------------------------------------------

_JUMP = re.compile(rb"[\xe8\xe9]|(?<=\x0f)[\x80-\x8f]")
_TOP, _MODEL_BITS, _MOVE_BITS = 1 << 24, 11, 5


class _Bcj2:
    """x86 code whose call and jump targets lie in streams of their own (Bcj2.c of the LZMA SDK, first
    version's
    stream layout: main, calls, jumps, range coder). Unpacked in memory, because a range coder tells which is
    which.
    """

    def __init__(self, inputs: list[Stream], size: int) -> None:
        if size > _BCJ2_MEMORY:
            raise RefusedError("memory-limit", "The archive's program code is too large to be unpacked; use BCJ.")
        self._inputs = inputs
        self._size = size
        self._output: bytes | None = None
        self._at = 0

    def read(self, count: int) -> bytes:
        if self._output is None:
            main, calls, jumps, coder = (_all(stream) for stream in self._inputs)
            self._output = _undo_bcj2(main, calls, jumps, coder, self._size)
        data = self._output[self._at : self._at + count]
        self._at += len(data)
        return data

    def finish(self) -> None:
        if self._at != self._size:
            raise RefusedError("size-lie", "A packed stream unpacks to another size than the archive declares.")
        for stream in self._inputs:
            stream.finish()


def _all(stream: Stream) -> bytes:
    parts: list[bytes] = []
    total = 0
    while chunk := stream.read(_STEP):
        parts.append(chunk)
        total += len(chunk)
        if total > _BCJ2_MEMORY:
            raise RefusedError("memory-limit", "The archive's program code is too large to be unpacked; use BCJ.")
    return b"".join(parts)


def _undo_bcj2(main: bytes, calls: bytes, jumps: bytes, coder: bytes, size: int) -> bytes:
    """Copy `main`, and after each call or jump that the range coder marks, put its target back as
    relative.
    """
    range_coder = _RangeBits(coder)
    out = bytearray()
    targets = {True: calls, False: jumps}
    used = {True: 0, False: 0}
    at = previous = 0
    while True:
        hit = _next_jump(main, at, previous)
        if hit < 0:
            out += main[at:]
            at = len(main)
            break
        before = main[hit - 1] if hit > at else previous
        out += main[at : hit + 1]
        at = hit + 1
        if len(out) >= size:
            break
        opcode = main[hit]
        if not range_coder.bit(before if opcode == 0xE8 else 256 if opcode == 0xE9 else 257):
            previous = opcode
            continue
        is_call = opcode == 0xE8
        target = targets[is_call][used[is_call] : used[is_call] + 4]
        used[is_call] += 4
        if len(target) < 4:
            raise RefusedError("damaged", "The archive's data are damaged.")
        relative = (int.from_bytes(target, "big") - (len(out) + 4)) & 0xFFFFFFFF
        out += relative.to_bytes(4, "little")
        previous = relative >> 24
    if len(out) != size or at != len(main) or used != {True: len(calls), False: len(jumps)}:
        raise RefusedError("size-lie", "A packed stream unpacks to another size than the archive declares.")
    return bytes(out)


def _next_jump(main: bytes, at: int, previous: int) -> int:
    """Where the next call or jump opcode is in `main`, -1 for none. `previous` is the byte written before
    `at`.
    """
    if previous == 0x0F and at < len(main) and main[at] & 0xF0 == 0x80:
        return at
    found = _JUMP.search(main, at)
    return found.start() if found else -1


class _RangeBits:
    """LZMA's range decoder, one adaptive bit at a time."""

    def __init__(self, data: bytes) -> None:
        if len(data) < 5:
            raise RefusedError("damaged", "The archive's data are damaged.")
        self._data = data
        self._at = 5
        self._code = int.from_bytes(data[1:5], "big")
        self._range = 0xFFFFFFFF
        self._models = [1 << (_MODEL_BITS - 1)] * 258

    def bit(self, context: int) -> bool:
        if self._range < _TOP:
            if self._at >= len(self._data):
                raise RefusedError("damaged", "The archive's data are damaged.")
            self._code = (self._code << 8 | self._data[self._at]) & 0xFFFFFFFF
            self._at += 1
            self._range = self._range << 8 & 0xFFFFFFFF
        model = self._models[context]
        bound = (self._range >> _MODEL_BITS) * model
        if self._code < bound:
            self._range = bound
            self._models[context] = model + (((1 << _MODEL_BITS) - model) >> _MOVE_BITS)
            return False
        self._range -= bound
        self._code -= bound
        self._models[context] = model - (model >> _MOVE_BITS)
        return True
