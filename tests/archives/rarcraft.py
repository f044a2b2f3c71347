"""Writers of rar 4 and rar 5 that store, and lie on request."""

from __future__ import annotations

import struct
import zlib

RAR4 = b"Rar!\x1a\x07\x00"
RAR5 = b"Rar!\x1a\x07\x01\x00"


def vint(value: int) -> bytes:
    out = bytearray()
    while True:
        byte = value & 0x7F
        value >>= 7
        out.append(byte | 0x80 if value else byte)
        if not value:
            return bytes(out)


def block5(kind: int, fields: bytes, *, flags: int = 0, extra: bytes = b"", data: bytes | None = None) -> bytes:
    """One rar 5 block with its data."""
    body = vint(kind) + vint(flags | (1 if extra else 0) | (2 if data is not None else 0))
    if extra:
        body += vint(len(extra))
    if data is not None:
        body += vint(len(data))
    body += fields + extra
    sized = vint(len(body)) + body
    return struct.pack("<I", zlib.crc32(sized)) + sized + (data or b"")


def main5(flags: int = 0) -> bytes:
    return block5(1, vint(flags))


def end5(flags: int = 0) -> bytes:
    return block5(5, vint(flags))


def file5(
    name: bytes,
    data: bytes = b"",
    *,
    size: int | None = None,
    crc: int | None = None,
    directory: bool = False,
    attributes: int = 0o100644,
    host: int = 1,
    method: int = 0,
    extra: bytes = b"",
    kind: int = 2,
    flags: int = 0,
    file_flags: int = 0,
) -> bytes:
    file_flags |= (1 if directory else 0) | (0 if directory else 4)
    fields = vint(file_flags) + vint(len(data) if size is None else size) + vint(attributes)
    if file_flags & 4:
        fields += struct.pack("<I", zlib.crc32(data) if crc is None else crc)
    fields += vint(method) + vint(host) + vint(len(name)) + name
    return block5(kind, fields, flags=flags, extra=extra, data=data)


def record(kind: int, body: bytes = b"") -> bytes:
    inner = vint(kind) + body
    return vint(len(inner)) + inner


def rar5(*blocks: bytes, end: bytes | None = None, main: bytes | None = None) -> bytes:
    return RAR5 + (main5() if main is None else main) + b"".join(blocks) + (end5() if end is None else end)


def block4(kind: int, flags: int, fields: bytes, data: bytes = b"") -> bytes:
    body = struct.pack("<BHH", kind, flags, 7 + len(fields)) + fields
    return struct.pack("<H", zlib.crc32(body) & 0xFFFF) + body + data


def main4(flags: int = 0) -> bytes:
    return block4(0x73, flags, bytes(6))


def end4(flags: int = 0) -> bytes:
    return block4(0x7B, 0x4000 | flags, b"")


def file4(
    name: bytes,
    data: bytes = b"",
    *,
    size: int | None = None,
    crc: int | None = None,
    flags: int = 0,
    directory: bool = False,
    attributes: int = 0o100644,
    host: int = 3,
    kind: int = 0x74,
) -> bytes:
    fields = struct.pack(
        "<IIBIIBBHI",
        len(data),
        len(data) if size is None else size,
        host,
        zlib.crc32(data) if crc is None else crc,
        0x5A210000,
        20,
        0x30,
        len(name),
        attributes,
    )
    return block4(kind, 0x8000 | flags | (0xE0 if directory else 0), fields + name, data)


def rar4(*blocks: bytes, end: bytes | None = None, main: bytes | None = None) -> bytes:
    return RAR4 + (main4() if main is None else main) + b"".join(blocks) + (end4() if end is None else end)
