"""The strict walk through rar 4 and rar 5 headers: lists members, unpacks nothing.

Law: blocks lie end to end from the first byte to the last, every header's checksum holds, and nothing is a
link,
a stream, a volume or a secret.
Sources: RAR 5.0 archive format (rarlab.com/technote.htm); for rar 4 the headers of the unrar source.
"""

from __future__ import annotations

import zlib

import msgspec

from loadstone.archives.model import Limits, RefusedError
from loadstone.archives.paths import shown
from loadstone.archives.source import Source
from loadstone.archives.tree import PathTree

RAR4 = b"Rar!\x1a\x07\x00"
RAR5 = b"Rar!\x1a\x07\x01\x00"
_MAX_HEADER = 1 << 21
_MAX_DICTIONARY = 128 * 1024 * 1024
_S_IFMT, _S_IFREG, _S_IFDIR = 0o170000, 0o100000, 0o040000
_WINDOWS_REPARSE = 0x400


class RarMember(msgspec.Struct):
    """One file or folder, its framing proved. Sizes in bytes."""

    name: str
    size: int
    packed: int
    crc: int | None
    directory: bool
    executable: bool = False
    path: str = ""
    legacy: bool = False
    """Whether the name is in no declared encoding, which the library reads by the locale."""


class RarPlan(msgspec.Struct):
    """What is in the rar, in the order of the bytes."""

    members: list[RarMember]
    tree: PathTree


def walk_rar(source: Source, limits: Limits) -> RarPlan:
    """Prove the framing of a rar and list its members. Raises RefusedError."""
    start = source.read_at(0, min(8, source.size))
    members = _Rar5(source).walk() if start == RAR5 else _Rar4(source).walk()
    if not members:
        raise RefusedError("no-entries", "The archive contains no file.")
    _check_budget(members, source.size, limits)
    tree = PathTree(limits)
    for member in members:
        if member.name.endswith("/"):
            raise RefusedError("path-empty-component", f"{shown(member.name)} has an empty last name.")
        member.path = tree.add_directory(member.name) if member.directory else tree.add_file(member.name)
    return RarPlan(members, tree)


def _check_budget(members: list[RarMember], packed: int, limits: Limits) -> None:
    total = 0
    for member in members:
        if member.size > limits.max_entry_bytes:
            raise RefusedError("entry-too-large", f"{shown(member.name)} unpacks to more than is allowed.")
        total += member.size
    if len(members) > limits.max_entries:
        raise RefusedError("too-many-entries", f"The archive has more than {limits.max_entries} entries.")
    if total > limits.max_total_bytes:
        raise RefusedError("total-too-large", "The archive unpacks to more than is allowed.")
    if total > limits.ratio_floor_bytes and total > packed * limits.max_ratio:
        raise RefusedError("ratio", f"The archive unpacks to more than {limits.max_ratio} times its size.")


def _damaged() -> RefusedError:
    return RefusedError("damaged", "The archive's headers are damaged or malformed.")


def _encrypted() -> RefusedError:
    return RefusedError("encrypted", "The archive is encrypted; upload it without a password.")


def _volume() -> RefusedError:
    return RefusedError("multi-volume", "The archive is one volume of several; upload a single file.")


def _trailing() -> RefusedError:
    return RefusedError("trailing-data", "There are bytes after the end of the archive.")


class _Fields:
    """The fields of one header."""

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

    def u(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def vint(self) -> int:
        """Seven bits a byte, lowest first, at most ten bytes."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.u(1)
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
        raise _damaged()


# --- rar 5 --------------------------------------------------------------------------------------------------

_MAIN5, _FILE5, _SERVICE5, _CRYPT5, _END5 = 1, 2, 3, 4, 5
_SERVICES = {b"CMT", b"QO", b"RR", b"ACL", b"UOW"}


class _Rar5:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._members: list[RarMember] = []

    def walk(self) -> list[RarMember]:
        at, first = len(RAR5), True
        while True:
            begin = at
            kind, flags, extra, packed, fields, at = self._header(at)
            if kind == _CRYPT5:
                raise _encrypted()
            if first != (kind == _MAIN5):
                raise _damaged()
            first = False
            if flags & 0x18:
                raise _volume()
            if kind == _END5:
                self._end(fields, at)
                return self._members
            if kind == _MAIN5:
                if fields.vint() & 0x03:
                    raise _volume()
            elif kind in (_FILE5, _SERVICE5):
                self._file(kind, fields, extra, packed, begin, at)
            else:
                raise RefusedError("hidden-data", "The archive contains a block of an unknown kind.")
            at += packed
            if at > self._source.size:
                raise RefusedError("truncated", "The archive is cut; upload it again.")

    def _header(self, at: int) -> tuple[int, int, int, int, _Fields, int]:
        """Type, flags, size of the extra area, size of the data, the fields, and where the data begin."""
        if at == self._source.size:
            raise RefusedError("truncated", "The archive's end is missing; upload it again.")
        start = self._source.read_at(at, min(7, self._source.size - at))
        fields = _Fields(start)
        stored = fields.u(4)
        size = fields.vint()
        if size > _MAX_HEADER:
            raise _damaged()
        body = self._source.read_at(at + 4, fields.at - 4 + size)
        if zlib.crc32(body) != stored:
            raise _damaged()
        inner = _Fields(body[fields.at - 4 :])
        kind, flags = inner.vint(), inner.vint()
        extra = inner.vint() if flags & 1 else 0
        packed = inner.vint() if flags & 2 else 0
        return kind, flags, extra, packed, inner, at + 4 + len(body)

    def _end(self, fields: _Fields, at: int) -> None:
        if fields.vint() & 1:
            raise _volume()
        if at != self._source.size:
            raise _trailing()

    def _file(self, kind: int, fields: _Fields, extra: int, packed: int, begin: int, at: int) -> None:
        flags, size, attributes = fields.vint(), fields.vint(), fields.vint()
        if flags & 2:
            fields.take(4)
        crc = fields.u(4) if flags & 4 else None
        method, host = fields.vint(), fields.vint()
        raw = fields.take(fields.vint())
        if fields.left != extra:
            raise RefusedError("hidden-data", "There are bytes in a header of the archive that belong to nothing.")
        self._extras(fields, raw)
        if kind == _SERVICE5:
            if raw not in _SERVICES:
                raise RefusedError("path-stream", "The archive contains a Windows stream or an unknown service block.")
            if raw == b"QO":
                self._quick_open(begin, at, packed, method)
            return
        if flags & 8:
            raise RefusedError("size-lie", "The archive does not say how large a file is.")
        if (128 << 10) << (method >> 10 & 0x1F) > _MAX_DICTIONARY and size:
            raise RefusedError(
                "memory-limit", "The archive needs a dictionary larger than 128 MiB; pack it with a smaller one."
            )
        directory = bool(flags & 1)
        mode = attributes & _S_IFMT if host == 1 else 0
        if mode not in (0, _S_IFREG, _S_IFDIR) or (host == 0 and attributes & _WINDOWS_REPARSE):
            raise RefusedError("link-or-device", "The archive contains a link or a device, not only files.")
        if directory and (size or packed):
            raise RefusedError("directory-with-data", "A folder in the archive carries data.")
        executable = host == 1 and bool(attributes & 0o111) and not directory
        self._members.append(RarMember(_utf8(raw), size, packed, crc, directory, executable))

    @staticmethod
    def _extras(fields: _Fields, raw: bytes) -> None:
        while fields.left:
            record = _Fields(fields.take(fields.vint()))
            kind = record.vint()
            if kind == 1:
                raise _encrypted()
            if kind == 5:
                raise RefusedError("link-or-device", f"{shown(_utf8(raw))} is a link, not a file.")
            if kind == 4:
                raise RefusedError("path-duplicate", f"{shown(_utf8(raw))} is an old version of another file.")

    def _quick_open(self, begin: int, at: int, packed: int, method: int) -> None:
        """The copies of headers in a quick open block must be copies: some programs list only them."""
        if method >> 7 & 7 or packed > _MAX_HEADER:
            raise RefusedError("header-mismatch", "The archive's quick open record cannot be checked; pack without it.")
        fields = _Fields(self._source.read_at(at, packed))
        while fields.left:
            stored = fields.u(4)
            size_at = fields.at
            size = fields.vint()
            body_at = fields.at
            body = _Fields(fields.take(size))
            checked = self._source.read_at(at + size_at, body_at - size_at + size)
            body.vint()
            back, length = body.vint(), body.vint()
            copy = body.take(length)
            if zlib.crc32(checked) != stored or back > begin or self._source.read_at(begin - back, length) != copy:
                raise RefusedError("header-mismatch", "The archive's quick open record lists other files.")


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise RefusedError("path-encoding", "A name in the archive is not valid UTF-8.") from None


# --- rar 4 --------------------------------------------------------------------------------------------------

_MAIN4, _FILE4, _SERVICE4, _END4 = 0x73, 0x74, 0x7A, 0x7B


class _Rar4:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._members: list[RarMember] = []

    def walk(self) -> list[RarMember]:
        at, first = len(RAR4), True
        while at < self._source.size:
            kind, flags, fields, at = self._header(at)
            if first != (kind == _MAIN4):
                raise _damaged()
            first = False
            packed = 0
            if kind == _MAIN4:
                self._main(flags)
            elif kind in (_FILE4, _SERVICE4):
                packed = self._file(kind, flags, fields)
            elif kind == _END4:
                if flags & 1:
                    raise _volume()
                if at != self._source.size:
                    raise _trailing()
                return self._members
            else:
                raise RefusedError("hidden-data", "The archive contains a block of an old or unknown kind.")
            at += packed
            if at > self._source.size:
                raise RefusedError("truncated", "The archive is cut; upload it again.")
        if first:
            raise RefusedError("truncated", "The archive is cut; upload it again.")
        return self._members

    def _header(self, at: int) -> tuple[int, int, _Fields, int]:
        start = _Fields(self._source.read_at(at, 7))
        stored, kind, flags, size = start.u(2), start.u(1), start.u(2), start.u(2)
        if size < 7:
            raise _damaged()
        body = self._source.read_at(at + 2, size - 2)
        if zlib.crc32(body) & 0xFFFF != stored:
            raise _damaged()
        return kind, flags, _Fields(body[5:]), at + size

    @staticmethod
    def _main(flags: int) -> None:
        if flags & 0x0001:
            raise _volume()
        if flags & 0x0080:
            raise _encrypted()
        if flags & 0x0002:
            raise RefusedError("hidden-data", "The archive has a comment of an old kind; pack it anew.")

    def _file(self, kind: int, flags: int, fields: _Fields) -> int:
        if flags & 0x0003:
            raise _volume()
        if flags & 0x0404:
            raise _encrypted()
        if flags & 0x0800:
            raise RefusedError("path-duplicate", "The archive contains old versions of a file.")
        if flags & 0x0008 or not flags & 0x8000:
            raise _damaged()  # comments inside headers are of rar 2 and before
        packed, size, host, crc = fields.u(4), fields.u(4), fields.u(1), fields.u(4)
        fields.take(6)
        name_size, attributes = fields.u(2), fields.u(4)
        if flags & 0x0100:
            packed |= fields.u(4) << 32
            size |= fields.u(4) << 32
        raw = fields.take(name_size)
        if kind == _SERVICE4:
            if raw not in _SERVICES:
                raise RefusedError("path-stream", "The archive contains a Windows stream or an unknown service block.")
            return packed
        name = _rar4_name(raw, unicode=bool(flags & 0x0200)).replace("\\", "/")
        directory = flags & 0x00E0 == 0x00E0
        mode = attributes & _S_IFMT if host == 3 else 0
        if mode not in (0, _S_IFREG, _S_IFDIR) or (host == 2 and attributes & _WINDOWS_REPARSE):
            raise RefusedError("link-or-device", f"{shown(name)} is a link or a device, not a file.")
        if directory and (size or packed):
            raise RefusedError("directory-with-data", f"{shown(name)} is a folder that carries data.")
        executable = host == 3 and bool(attributes & 0o111) and not directory
        legacy = not flags & 0x0200 and not raw.isascii()
        self._members.append(RarMember(name, size, packed, crc, directory, executable, legacy=legacy))
        return packed


def _rar4_name(raw: bytes, *, unicode: bool) -> str:
    """A name in UTF-8, or as 8-bit text followed by a zero and a code that adds the high bytes
    (encname.cpp).
    """
    plain, zero, code = raw.partition(b"\0")
    if not unicode or not zero:
        return _utf8(plain) if unicode else _legacy(plain)
    if not code:
        raise _damaged()
    high, at, flags, bits = code[0], 1, 0, 0
    out: list[int] = []
    fields = _Fields(code)
    fields.at = at
    while fields.left and len(out) < 2048:
        if not bits:
            flags, bits = fields.u(1), 8
            if not fields.left:
                break
        bits -= 2
        out += _rar4_characters(flags >> bits & 3, fields, high, plain, len(out))
    try:
        return b"".join(unit.to_bytes(2, "little") for unit in out).decode("utf-16-le")
    except UnicodeDecodeError:
        raise RefusedError("path-encoding", "A name in the archive is not valid text.") from None


def _legacy(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp437")


def _rar4_characters(mode: int, fields: _Fields, high: int, plain: bytes, done: int) -> list[int]:
    if mode == 0:
        return [fields.u(1)]
    if mode == 1:
        return [fields.u(1) | high << 8]
    if mode == 2:
        return [fields.u(2)]
    length = fields.u(1)
    piece = plain[done : done + (length & 0x7F) + 2]
    if length & 0x80:
        correction = fields.u(1)
        return [(byte + correction & 0xFF) | high << 8 for byte in piece]
    return list(piece)
