"""A strict streaming reader of tar: POSIX ustar, pax and GNU long names; files and folders only.

Law: every header's checksum holds, every name has one meaning, and after the end there is nothing.
Sources: POSIX.1-2017 pax; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from loadstone.archives.model import Limits, RefusedError
from loadstone.archives.paths import shown
from loadstone.archives.reading import Budget, EntrySink, Visitor
from loadstone.archives.source import PieceSource, Source
from loadstone.archives.tree import PathTree

BLOCK = 512
_STEP = 1 << 18
_MAX_EXTENDED = 1 << 16
_FILES, _DIRECTORY = b"0\x007", b"5"
_LINKS = {b"1": "a hard link", b"2": "a symbolic link"}
_DEVICES = {b"3": "a device", b"4": "a device", b"6": "a pipe"}
_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK, _OLD_SPARSE = b"x", b"g", b"L", b"K", b"S"
_MAX_PADDING = 1 << 20  # tar fills its last record with zeros: 10 KiB by default, more by option


class Bytes(Protocol):
    """Something that gives bytes one after the other: a source from its start, or an unpacking stream."""

    def read(self, count: int) -> bytes: ...


class PlainReader:
    """A source from its start."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._at = 0

    def read(self, count: int) -> bytes:
        count = min(count, self.source.size - self._at)
        data = self.source.read_at(self._at, count)
        self._at += count
        return data


class _Header(msgspec.Struct):
    name: str
    size: int
    kind: bytes
    executable: bool


class _Pending(msgspec.Struct):
    """What extended headers say about the next entry."""

    path: str | None = None
    size: int | None = None
    said: bool = False


class TarReader:
    """Reads one tar from its first byte to its last."""

    def __init__(self, data: Bytes, limits: Limits, visitor: Visitor, budget: Budget) -> None:
        self._data = data
        self._limits = limits
        self._visitor = visitor
        self._budget = budget
        self._at = 0
        self._rest = b""
        self.tree = PathTree(limits)

    def read(self) -> PathTree:
        """Raises RefusedError at the first thing that is not a plain tar of files and folders."""
        pending = _Pending()
        while True:
            block = self._take(BLOCK)
            if not block.strip(b"\0"):
                if pending.said:
                    raise RefusedError("damaged", "The archive ends after a header that announces an entry.")
                self._finish()
                return self.tree
            header = _parse(block)
            if header.kind in (_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK):
                self._extend(header, pending)
                continue
            self._entry(header, pending)
            pending = _Pending()

    def _extend(self, header: _Header, pending: _Pending) -> None:
        if header.size > _MAX_EXTENDED:
            raise RefusedError("damaged", "The archive has an extended header that is too large.")
        body = self._take(header.size)
        self._pad(header.size)
        if header.kind == _GNU_LINK:
            raise RefusedError("link-or-device", "The archive contains a link, not only files.")
        pending.said = header.kind != _PAX_GLOBAL
        if header.kind == _GNU_NAME:
            if pending.path is not None:
                raise RefusedError("name-mismatch", "An entry of the archive has two names.")
            pending.path = _text(body.rstrip(b"\0"))
            return
        records = _pax_records(body)
        if header.kind == _PAX_GLOBAL:
            if records.keys() & {"path", "size", "linkpath"} or any(key.startswith("GNU.sparse") for key in records):
                raise RefusedError("name-mismatch", "The archive gives one name or size to all its entries.")
            return
        self._apply_pax(records, pending)

    @staticmethod
    def _apply_pax(records: dict[str, str], pending: _Pending) -> None:
        if any(key.startswith("GNU.sparse") for key in records):
            raise RefusedError("sparse", "The archive contains a sparse file; pack it without --sparse.")
        if "linkpath" in records:
            raise RefusedError("link-or-device", "The archive contains a link, not only files.")
        if "path" in records:
            if pending.path is not None:
                raise RefusedError("name-mismatch", "An entry of the archive has two names.")
            pending.path = records["path"]
        if "size" in records:
            if not records["size"].isascii() or not records["size"].isdigit() or len(records["size"]) > 19:
                raise RefusedError("damaged", "The archive has an entry whose size is no number.")
            pending.size = int(records["size"])

    def _entry(self, header: _Header, pending: _Pending) -> None:
        name = header.name if pending.path is None else pending.path
        size = header.size if pending.size is None else pending.size
        if header.kind in _LINKS or header.kind in _DEVICES:
            what = _LINKS.get(header.kind) or _DEVICES[header.kind]
            raise RefusedError("link-or-device", f"{shown(name)} is {what}, not a file.")
        if header.kind == _OLD_SPARSE:
            raise RefusedError("sparse", f"{shown(name)} is a sparse file; pack it without --sparse.")
        if header.kind == _DIRECTORY or (header.kind in _FILES and name.endswith("/")):
            if size:
                raise RefusedError("directory-with-data", f"{shown(name)} is a folder that carries data.")
            self.tree.add_directory(name)
            self._budget.count_entry()
            return
        if header.kind not in _FILES:
            raise RefusedError("link-or-device", f"{shown(name)} is of a kind that is not a file.")
        self._file(self.tree.add_file(name), size, executable=header.executable)

    def _file(self, path: str, size: int, *, executable: bool) -> None:
        if size > self._limits.max_entry_bytes:
            raise RefusedError("entry-too-large", f"{shown(path)} unpacks to more than is allowed.")
        piece: Source | None = None
        if isinstance(self._data, PlainReader):
            piece = PieceSource(self._data.source, self._at, size)
        sink = EntrySink(path, self._visitor, self._budget, executable=executable, piece=piece)
        left = size
        while left:
            chunk = self._take_some(min(_STEP, left))
            sink.write(chunk)
            left -= len(chunk)
        self._pad(size)
        sink.close()

    def _take_some(self, count: int) -> bytes:
        chunk = self._data.read(count)
        if not chunk:
            raise RefusedError("truncated", "The archive ends in the middle of a file; upload it again.")
        self._at += len(chunk)
        return chunk

    def _take(self, count: int) -> bytes:
        parts: list[bytes] = []
        while count:
            chunk = self._take_some(count)
            parts.append(chunk)
            count -= len(chunk)
        return b"".join(parts)

    def _pad(self, size: int) -> None:
        if self._take(-size % BLOCK).strip(b"\0"):
            raise RefusedError("hidden-data", "There are bytes between two entries that belong to none.")

    def _finish(self) -> None:
        """After the first zero block: a second one, and zeros to the end of the last record."""
        if self._take(BLOCK).strip(b"\0"):
            raise RefusedError("hidden-data", "The archive goes on after its end mark.")
        left = _MAX_PADDING
        while chunk := self._data.read(_STEP):
            if chunk.strip(b"\0"):
                raise RefusedError("trailing-data", "There are bytes after the end of the archive.")
            left -= len(chunk)
            if left < 0:
                raise RefusedError("trailing-data", "There are too many zero bytes after the end of the archive.")


def _parse(block: bytes) -> _Header:
    stored = _number(block[148:156])
    if stored != sum(block) - sum(block[148:156]) + 8 * 0x20:
        raise RefusedError("damaged", "The archive has a header whose checksum is wrong.")
    kind = block[156:157]
    name = block[:100].split(b"\0", 1)[0]
    if block[257:263] == b"ustar\0":
        prefix = block[345:500].split(b"\0", 1)[0]
        name = prefix + b"/" + name if prefix else name
    mode = block[100:108].strip(b"\0 ")
    executable = bool(int(mode, 8) & 0o111) if mode and not mode.strip(b"01234567") else False
    return _Header(_text(name), _number(block[124:136]), kind, executable)


def _number(field: bytes) -> int:
    """An octal number, or GNU's base-256 for large ones."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b"\0 ")
    if field[0] & 0x80 or digits.strip(b"01234567"):
        raise RefusedError("damaged", "The archive has a header with a malformed number.")
    return int(digits or b"0", 8)


def _text(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        raise RefusedError("path-encoding", f"{shown(name.decode('latin-1'))} is not UTF-8.") from None


def _pax_records(body: bytes) -> dict[str, str]:
    r"""`length key=value\\n` records (POSIX pax, "pax Extended Header"). A repeated key has two meanings."""
    records: dict[str, str] = {}
    at = 0
    while at < len(body):
        space = body.find(b" ", at, at + 8)
        digits = body[at:space] if space > 0 else b""
        end = at + int(digits) if digits.isdigit() else 0
        if end <= space + 1 or end > len(body) or body[end - 1 : end] != b"\n":
            raise RefusedError("damaged", "The archive has a malformed extended header.")
        key, equals, value = body[space + 1 : end - 1].partition(b"=")
        name = key.decode("utf-8", "replace")
        if not equals or name in records:
            raise RefusedError("damaged", "The archive has a malformed extended header.")
        if name in ("path", "size", "linkpath"):
            records[name] = _text(value)
        else:
            records[name] = ""
        at = end
    return records
