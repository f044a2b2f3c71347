"""Writers of tar headers and of 7z archives that lie on request."""

from __future__ import annotations

import struct
import zlib
from typing import Any


def header(name: bytes, size: int = 0, kind: bytes = b"0", mode: int = 0o644, link: bytes = b"", **lies: Any) -> bytes:
    """One tar header block with a true checksum, unless `checksum` is given."""
    magic = lies.get("magic", b"ustar\x0000")
    raw_size = lies.get("raw_size", b"%011o\0" % size)
    block = bytearray(
        name[:100].ljust(100, b"\0")
        + b"%07o\0" % mode
        + b"0000000\0" * 2
        + raw_size
        + b"%011o\0" % 0
        + b" " * 8
        + kind
        + link[:100].ljust(100, b"\0")
        + magic
        + bytes(32 + 32 + 16)
        + lies.get("prefix", b"").ljust(155, b"\0")
    ).ljust(512, b"\0")
    block[148:156] = b"%06o\0 " % lies.get("checksum", sum(block))
    return bytes(block)


def member(name: bytes, data: bytes = b"", **fields: Any) -> bytes:
    return header(name, len(data), **fields) + data + bytes(-len(data) % 512)


def pax(**records: str) -> bytes:
    body = b""
    for key, value in records.items():
        rest = b" " + key.replace("__", ".").encode() + b"=" + value.encode("utf-8", "surrogateescape") + b"\n"
        length = len(rest) + 1
        while len(b"%d" % length) + len(rest) != length:
            length += 1
        body += b"%d" % length + rest
    return body


def extended(body: bytes, kind: bytes = b"x") -> bytes:
    return member(b"PaxHeader", body, kind=kind)


END = bytes(1024)


def tar(*members: bytes, end: bytes = END) -> bytes:
    return b"".join(members) + end


# --- 7z --------------------------------------------------------------------------------------------------------


def number(value: int) -> bytes:
    if value < 0x80:
        return bytes([value])
    for extra in range(1, 9):
        if value < 1 << (7 * (extra + 1)) or extra == 8:
            first = (0xFF << (8 - extra)) & 0xFF
            if extra < 8:
                first |= value >> (8 * extra)
            return bytes([first]) + (value & ((1 << 8 * extra) - 1)).to_bytes(extra, "little")
    raise AssertionError


def prop(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + number(len(body)) + body


def seven_zip(
    files: list[tuple[str, bytes]],
    *,
    names: bytes | None = None,
    attributes: list[int] | None = None,
    coder: bytes = b"\x01\x00",
    packed: bytes | None = None,
    position: int = 0,
    gap: bytes = b"",
    suffix: bytes = b"",
    crcs: list[int] | None = None,
    sizes: list[int] | None = None,
    unpacked: int | None = None,
    extra: bytes = b"",
    header_tail: bytes = b"",
    directories: list[str] | None = None,
    start_crc: int | None = None,
    count: int | None = None,
) -> bytes:
    """A 7z with one folder of one coder (copy by default) and a plain header."""
    data = b"".join(body for _, body in files)
    stored = data if packed is None else packed
    total = len(data) if unpacked is None else unpacked
    sizes = [len(body) for _, body in files] if sizes is None else sizes
    head = b"\x01"
    if files:
        head += b"\x04\x06" + number(position) + b"\x01\x09" + number(len(stored)) + b"\x00"
        head += b"\x07\x0b\x01\x00\x01" + coder + b"\x0c" + number(total) + b"\x00"
        head += b"\x08\x0d" + number(len(files))
        if len(files) > 1:
            head += b"\x09" + b"".join(number(size) for size in sizes[:-1])
        digests = [zlib.crc32(body) for _, body in files] if crcs is None else crcs
        head += b"\x0a\x01" + struct.pack(f"<{len(files)}I", *digests) + b"\x00\x00"
    folders = directories or []
    every = [name for name, _ in files] + folders
    head += b"\x05" + number(len(every) if count is None else count)
    if folders:
        bits = [False] * len(files) + [True] * len(folders)
        packed_bits = bytearray((len(bits) + 7) // 8)
        for index, bit in enumerate(bits):
            packed_bits[index >> 3] |= (0x80 >> (index & 7)) if bit else 0
        head += prop(0x0E, bytes(packed_bits))
    listed = b"\0" + b"".join(name.encode("utf-16-le") + b"\0\0" for name in every) if names is None else names
    head += prop(0x11, listed)
    if attributes is not None:
        head += prop(0x15, b"\x01\x00" + struct.pack(f"<{len(attributes)}I", *attributes))
    head += extra + b"\x00\x00" + header_tail
    body = stored + gap
    start = struct.pack("<QQI", len(body), len(head), zlib.crc32(head))
    crc = zlib.crc32(start) if start_crc is None else start_crc
    return b"7z\xbc\xaf\x27\x1c\x00\x04" + struct.pack("<I", crc) + start + body + head + suffix
