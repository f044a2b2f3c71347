"""A strict reader of 7z: its own parser of the headers, the standard library's decoders for the data.

Law: packed streams lie end to end from the first byte to the header, the header reaches to the last byte,
every
number in it is used, and every file has the size and CRC that it declares.
Source: 7zFormat.txt and the C reference decoder of the LZMA SDK.
"""

from __future__ import annotations

import zlib

import msgspec

from loadstone.archives.model import Limits, RefusedError
from loadstone.archives.paths import shown
from loadstone.archives.reading import Budget, EntrySink, Visitor
from loadstone.archives.sevenzip_coders import AES, Coder, Folder, open_folder
from loadstone.archives.source import Source
from loadstone.archives.tree import PathTree

SIGNATURE = b"7z\xbc\xaf\x27\x1c"
_START = 32
_MAX_HEADER = 48 * 1024 * 1024
_MAX_STREAMS = 200_000
_STEP = 1 << 18

_END, _HEADER, _PACK, _UNPACK, _SUBSTREAMS = 0x00, 0x01, 0x06, 0x07, 0x08
_MAIN_STREAMS, _FILES = 0x04, 0x05
_SIZE, _CRC, _FOLDER, _UNPACK_SIZES, _COUNTS = 0x09, 0x0A, 0x0B, 0x0C, 0x0D
_EMPTY_STREAM, _EMPTY_FILE, _ANTI, _NAMES = 0x0E, 0x0F, 0x10, 0x11
_TIMES, _ATTRIBUTES, _ENCODED, _START_POSITION, _DUMMY = (0x12, 0x13, 0x14), 0x15, 0x17, 0x18, 0x19

_WINDOWS_DIRECTORY, _WINDOWS_REPARSE, _UNIX_MODE = 0x10, 0x400, 0x8000
_S_IFMT, _S_IFREG, _S_IFDIR = 0o170000, 0o100000, 0o040000


class _Streams(msgspec.Struct):
    """Packed streams, the folders that unpack them, and the files' streams in each folder."""

    position: int = 0
    packed: list[int] = []
    folders: list[Folder] = []
    counts: list[int] = []
    sizes: list[int] = []
    crcs: list[int | None] = []


class _File(msgspec.Struct):
    name: str
    empty: bool = False
    directory: bool = False
    attributes: int = 0


class _Reader:
    """Numbers and bytes of a header; running over its end is damage."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self.at

    def take(self, count: int) -> bytes:
        if count < 0 or count > self.left:
            raise _damaged()
        self.at += count
        return self._data[self.at - count : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        """7z's variable-length number: the first byte's leading ones say how many bytes follow."""
        first = self.byte()
        mask, value = 0x80, 0
        for index in range(8):
            if not first & mask:
                return value | (first & (mask - 1)) << (8 * index)
            value |= self.byte() << (8 * index)
            mask >>= 1
        return value

    def count(self, most: int = _MAX_STREAMS) -> int:
        value = self.number()
        if value > most:
            raise RefusedError("too-many-entries", "The archive announces more entries than are allowed.")
        return value

    def bits(self, count: int) -> list[bool]:
        data = self.take((count + 7) // 8)
        if count % 8 and data[-1] & ((1 << (8 - count % 8)) - 1):
            raise _damaged()
        return [bool(data[i >> 3] & 0x80 >> (i & 7)) for i in range(count)]

    def optional_bits(self, count: int) -> list[bool]:
        return [True] * count if self.byte() else self.bits(count)

    def digests(self, count: int) -> list[int | None]:
        defined = self.optional_bits(count)
        return [int.from_bytes(self.take(4), "little") if known else None for known in defined]

    def expect(self, kind: int) -> None:
        if self.byte() != kind:
            raise _damaged()


def _damaged() -> RefusedError:
    return RefusedError("damaged", "The archive's header is damaged or malformed.")


def read_7z(source: Source, limits: Limits, visitor: Visitor, budget: Budget) -> PathTree:
    """Read a whole 7z archive. Raises RefusedError."""
    header, packed_end = _read_header(source)
    streams, files = _parse_header(_Reader(header))
    if not files:
        raise RefusedError("no-entries", "The archive contains no file.")
    _check_layout(streams, packed_end)
    _check_budget(streams, source.size, limits)
    tree = PathTree(limits)
    paths = [_register(tree, file) for file in files]
    _read_files(source, streams, list(zip(files, paths, strict=True)), visitor, budget)
    return tree


def _read_header(source: Source) -> tuple[bytes, int]:
    """The plain header, and where the packed streams of the files must end."""
    if source.size < _START:
        raise RefusedError("truncated", "The archive is cut; upload it again.")
    start = source.read_at(0, _START)
    if int.from_bytes(start[8:12], "little") != zlib.crc32(start[12:]):
        raise RefusedError("damaged", "The archive's first bytes are damaged.")
    offset, size = int.from_bytes(start[12:20], "little"), int.from_bytes(start[20:28], "little")
    if size == 0:
        raise RefusedError("no-entries", "The archive contains no file.")
    if _START + offset + size > source.size:
        raise RefusedError("truncated", "The archive is cut, or one volume of several; upload it whole.")
    if _START + offset + size < source.size:
        raise RefusedError("trailing-data", "There are bytes after the end of the archive.")
    if size > _MAX_HEADER:
        raise RefusedError("directory-too-large", "The archive's directory is too large.")
    header = source.read_at(_START + offset, size)
    if zlib.crc32(header) != int.from_bytes(start[28:32], "little"):
        raise RefusedError("damaged", "The archive's header is damaged.")
    end = offset
    if header[0] == _ENCODED:
        header, end = _decode_header(source, header, offset)
    if header[0] != _HEADER:
        raise _damaged()
    return header, end


def _decode_header(source: Source, encoded: bytes, end: int) -> tuple[bytes, int]:
    reader = _Reader(encoded)
    reader.expect(_ENCODED)
    streams = _parse_streams(reader)
    if reader.left or len(streams.folders) != 1 or streams.position + sum(streams.packed) != end:
        raise RefusedError("hidden-data", "The archive's header does not lie where it should.")
    folder = streams.folders[0]
    size = folder.unpacked
    if any(coder.method == AES for coder in folder.coders):
        raise RefusedError("encrypted", "The archive is encrypted; upload it without a password.")
    if size > _MAX_HEADER:
        raise RefusedError("directory-too-large", "The archive's directory is too large.")
    stream = open_folder(source, folder, _START + streams.position, streams.packed)
    parts, left = [], size
    while left:
        chunk = stream.read(min(_STEP, left))
        if not chunk:
            raise _damaged()
        parts.append(chunk)
        left -= len(chunk)
    stream.finish()
    header = b"".join(parts)
    if not header or (folder.crc is not None and zlib.crc32(header) != folder.crc):
        raise _damaged()
    return header, streams.position


def _parse_header(reader: _Reader) -> tuple[_Streams, list[_File]]:
    reader.expect(_HEADER)
    streams, files = _Streams(), list[_File]()
    kind = reader.byte()
    if kind == _MAIN_STREAMS:
        streams = _parse_streams(reader)
        kind = reader.byte()
    if kind == _FILES:
        files = _parse_files(reader)
        kind = reader.byte()
    if kind != _END or reader.left:
        raise _damaged()
    return streams, files


def _parse_streams(reader: _Reader) -> _Streams:
    streams = _Streams()
    kind = reader.byte()
    if kind == _PACK:
        _parse_pack(reader, streams)
        kind = reader.byte()
    if kind == _UNPACK:
        _parse_unpack(reader, streams)
        kind = reader.byte()
    streams.counts = [1] * len(streams.folders)
    if kind == _SUBSTREAMS:
        _parse_substreams(reader, streams)
        kind = reader.byte()
    else:
        streams.sizes = [folder.unpacked for folder in streams.folders]
        streams.crcs = [folder.crc for folder in streams.folders]
    if kind != _END:
        raise _damaged()
    return streams


def _parse_pack(reader: _Reader, streams: _Streams) -> None:
    streams.position = reader.number()
    count = reader.count()
    kind = reader.byte()
    if kind == _SIZE:
        streams.packed = [reader.number() for _ in range(count)]
        kind = reader.byte()
    if kind == _CRC:
        reader.digests(count)
        kind = reader.byte()
    if kind != _END or len(streams.packed) != count:
        raise _damaged()


def _parse_unpack(reader: _Reader, streams: _Streams) -> None:
    reader.expect(_FOLDER)
    count = reader.count()
    if reader.byte():
        raise _damaged()  # "external" headers exist in no real archive
    streams.folders = [_parse_folder(reader) for _ in range(count)]
    reader.expect(_UNPACK_SIZES)
    for folder in streams.folders:
        folder.sizes = [reader.number() for _ in folder.coders]
    kind = reader.byte()
    if kind == _CRC:
        for folder, crc in zip(streams.folders, reader.digests(count), strict=True):
            folder.crc = crc
        kind = reader.byte()
    if kind != _END:
        raise _damaged()
    if sum(folder.packed_count for folder in streams.folders) != len(streams.packed):
        raise _damaged()


def _parse_folder(reader: _Reader) -> Folder:
    count = reader.number()
    if not 1 <= count <= 8:
        raise _damaged()
    coders = [_parse_coder(reader) for _ in range(count)]
    inputs = sum(coder.inputs for coder in coders)
    bonds = [(reader.number(), reader.number()) for _ in range(count - 1)]
    packed_count = inputs - len(bonds)
    if packed_count < 1:
        raise _damaged()
    bound = {target for target, _ in bonds}
    free = [index for index in range(inputs) if index not in bound]
    packed = [reader.number() for _ in range(packed_count)] if packed_count > 1 else free
    outputs = [output for _, output in bonds]
    if sorted(packed) != free or len(bound) != len(bonds) or len(set(outputs)) != len(bonds):
        raise _damaged()
    if any(output >= count for output in outputs) or any(target >= inputs for target in bound):
        raise _damaged()
    return Folder(coders, bonds, packed)


def _parse_coder(reader: _Reader) -> Coder:
    flags = reader.byte()
    if flags & 0xC0:
        raise _damaged()
    method = reader.take(flags & 0x0F)
    inputs = 1
    if flags & 0x10:
        inputs = reader.number()
        if reader.number() != 1 or not 1 <= inputs <= 4:
            raise RefusedError("method-unsupported", "The archive is packed by a method that is not supported.")
    properties = reader.take(reader.number()) if flags & 0x20 else b""
    return Coder(method, inputs, properties)


def _parse_substreams(reader: _Reader, streams: _Streams) -> None:
    kind = reader.byte()
    if kind == _COUNTS:
        streams.counts = [reader.count() for _ in streams.folders]
        kind = reader.byte()
    if sum(streams.counts) > _MAX_STREAMS:
        raise RefusedError("too-many-entries", "The archive announces more entries than are allowed.")
    if kind != _SIZE and any(count > 1 for count in streams.counts):
        raise _damaged()
    for folder, count in zip(streams.folders, streams.counts, strict=True):
        streams.sizes += _split(reader, folder.unpacked, count)
    if kind == _SIZE:
        kind = reader.byte()
    known = [folder.crc if count == 1 else None for folder, count in zip(streams.folders, streams.counts, strict=True)]
    missing = sum(count for count, crc in zip(streams.counts, known, strict=True) if crc is None)
    digests: list[int | None] = [None] * missing
    if kind == _CRC:
        digests = reader.digests(missing)
        kind = reader.byte()
    if kind != _END:
        raise _damaged()
    given = iter(digests)
    for count, crc in zip(streams.counts, known, strict=True):
        streams.crcs += [crc] if crc is not None else [next(given) for _ in range(count)]


def _split(reader: _Reader, whole: int, count: int) -> list[int]:
    """The sizes of a folder's files: all but the last are given, the last is what is left."""
    if not count:
        return []
    sizes = [reader.number() for _ in range(count - 1)]
    if sum(sizes) > whole:
        raise _damaged()
    return [*sizes, whole - sum(sizes)]


def _parse_files(reader: _Reader) -> list[_File]:
    count = reader.count()
    files = [_File("") for _ in range(count)]
    empty_indices: list[int] = []
    seen: set[int] = set()
    while kind := reader.byte():
        body = _Reader(reader.take(reader.number()))
        if kind in seen and kind != _DUMMY:
            raise _damaged()
        seen.add(kind)
        if kind == _EMPTY_STREAM:
            empty_indices = [index for index, empty in enumerate(body.bits(count)) if empty]
            for index in empty_indices:
                files[index].empty = files[index].directory = True
        elif kind == _EMPTY_FILE:
            for index, is_file in zip(empty_indices, body.bits(len(empty_indices)), strict=True):
                files[index].directory = not is_file
        else:
            _parse_property(kind, body, files, len(empty_indices))
        if body.left and kind != _DUMMY:
            raise _damaged()
    if _NAMES not in seen and files:
        raise _damaged()
    return files


def _parse_property(kind: int, body: _Reader, files: list[_File], empty: int) -> None:
    if kind == _NAMES:
        _parse_names(body, files)
    elif kind == _ATTRIBUTES:
        defined = body.optional_bits(len(files))
        body.expect(0)
        for file, known in zip(files, defined, strict=True):
            if known:
                file.attributes = int.from_bytes(body.take(4), "little")
    elif kind == _ANTI:
        if any(body.bits(empty)):
            raise RefusedError("link-or-device", "The archive deletes files when it is unpacked.")
    elif kind == _DUMMY:
        if body.take(body.left).strip(b"\0"):
            raise RefusedError("hidden-data", "There are bytes in the archive's header that belong to nothing.")
    elif kind in _TIMES or kind == _START_POSITION:
        body.take(body.left)
    else:
        raise _damaged()


def _parse_names(body: _Reader, files: list[_File]) -> None:
    body.expect(0)
    try:
        names = body.take(body.left).decode("utf-16-le").split("\0")
    except UnicodeDecodeError:
        raise RefusedError("path-encoding", "A name in the archive is not valid text.") from None
    if len(names) != len(files) + 1 or names[-1]:
        raise _damaged()
    for file, name in zip(files, names, strict=False):
        file.name = name


def _check_layout(streams: _Streams, packed_end: int) -> None:
    if not streams.packed and packed_end:
        raise RefusedError("hidden-data", "There are bytes in the archive that belong to no file.")
    if streams.packed and (streams.position != 0 or sum(streams.packed) != packed_end):
        raise RefusedError("hidden-data", "There are bytes in the archive that belong to no file.")


def _check_budget(streams: _Streams, packed: int, limits: Limits) -> None:
    for folder in streams.folders:
        if any(coder.method == AES for coder in folder.coders):
            raise RefusedError("encrypted", "The archive is encrypted; upload it without a password.")
    total = sum(folder.unpacked for folder in streams.folders)
    if any(size > limits.max_entry_bytes for size in streams.sizes):
        raise RefusedError("entry-too-large", "A file in the archive unpacks to more than is allowed.")
    if total > limits.max_total_bytes:
        raise RefusedError("total-too-large", "The archive unpacks to more than is allowed.")
    if total > limits.ratio_floor_bytes and total > packed * limits.max_ratio:
        raise RefusedError("ratio", f"The archive unpacks to more than {limits.max_ratio} times its size.")


def _register(tree: PathTree, file: _File) -> str:
    """The canonical path; refuses links and what claims to be two kinds at once."""
    mode = file.attributes >> 16 & _S_IFMT if file.attributes & _UNIX_MODE else 0
    if file.attributes & _WINDOWS_REPARSE or mode not in (0, _S_IFREG, _S_IFDIR):
        raise RefusedError("link-or-device", f"{shown(file.name)} is a link or a device, not a file.")
    if not file.empty and (file.attributes & _WINDOWS_DIRECTORY or mode == _S_IFDIR):
        raise RefusedError("directory-with-data", f"{shown(file.name)} is a folder that carries data.")
    if file.name.endswith("/"):
        raise RefusedError("path-empty-component", f"{shown(file.name)} has an empty last name.")
    return tree.add_directory(file.name) if file.directory else tree.add_file(file.name)


def _read_files(
    source: Source, streams: _Streams, files: list[tuple[_File, str]], visitor: Visitor, budget: Budget
) -> None:
    with_data = iter([(file, path) for file, path in files if not file.empty])
    if sum(streams.counts) != sum(1 for file, _ in files if not file.empty):
        raise _damaged()
    for file, path in files:
        if file.empty and not file.directory:
            EntrySink(path, visitor, budget).close()
    at, packed_at, stream_at = _START, 0, 0
    for folder, count in zip(streams.folders, streams.counts, strict=True):
        packed = streams.packed[packed_at : packed_at + folder.packed_count]
        reader = open_folder(source, folder, at, packed)
        for index in range(stream_at, stream_at + count):
            file, path = next(with_data)
            executable = bool(file.attributes & _UNIX_MODE and file.attributes >> 16 & 0o111)
            sink = EntrySink(path, visitor, budget, executable=executable)
            left = streams.sizes[index]
            while left:
                chunk = reader.read(min(_STEP, left))
                if not chunk:
                    raise RefusedError("size-lie", f"{shown(path)} is shorter than the archive declares.")
                sink.write(chunk)
                left -= len(chunk)
            if streams.crcs[index] is not None and streams.crcs[index] != sink.crc:
                raise RefusedError("crc-mismatch", f"{shown(path)} is damaged: its checksum does not fit.")
            sink.close()
        reader.finish()
        at += sum(packed)
        packed_at += folder.packed_count
        stream_at += count
