"""Archives that are small to send and ruinous to open."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache

from tests.archives.hostile import Case, case
from tests.archives.zipcraft import Item, build, end_record, zip64_extra

MIB = 1 << 20


@cache
def zeros_deflated(mebibytes: int) -> tuple[bytes, int]:
    """Deflated zero bytes and their CRC-32."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bytes(MIB)
    parts, crc = [], 0
    for _ in range(mebibytes):
        parts.append(engine.compress(block))
        crc = zlib.crc32(block, crc)
    parts.append(engine.flush())
    return b"".join(parts), crc


def _zeros(name: bytes, mebibytes: int, *, declared: int | None = None) -> Item:
    packed, crc = zeros_deflated(mebibytes)
    size = mebibytes * MIB if declared is None else declared
    sums = {"size": size, "crc": crc}
    return Item(name, b"", method=8, packed=packed, local=sums, central=sums)


def cases() -> Iterator[Case]:
    yield case("bomb-flat", lambda: build(_zeros(b"zeros", 256)), "ratio")
    yield case("bomb-flat-many-files", lambda: build(*(_zeros(b"z%d" % i, 16) for i in range(32))), "ratio")
    yield case("bomb-lying-small", lambda: build(_zeros(b"zeros", 256, declared=1000)), "size-lie")
    yield case("bomb-lying-zero", lambda: build(_zeros(b"zeros", 64, declared=0)), "size-lie")
    yield case("bomb-lying-large", lambda: build(_zeros(b"zeros", 1, declared=20 * MIB)), "size-lie", "ratio")
    yield case("bomb-declared-4-gib", lambda: build(_zeros(b"zeros", 1, declared=0xFFFFFFFE)), "ratio")
    yield case("bomb-streamed-lying", _streamed, "size-lie")
    yield case("bomb-zip64-petabyte", _petabyte, "entry-too-large")
    yield case("bomb-overlap-one-kernel", lambda: _one_kernel(1000), "overlap")
    yield case("bomb-overlap-quoted", lambda: _quoted(200), "overlap")
    yield case("bomb-many-entries", lambda: _many(150_001), "too-many-entries")
    announced = build(Item(b"a", b"x"), end={"here": 65000, "count": 65000})
    yield case("bomb-many-announced", announced, "directory-malformed")
    yield case("bomb-nested", lambda: _nest(build(_zeros(b"zeros", 256)), 1), "ratio")
    yield case("bomb-nested-deep", lambda: _nest(build(Item(b"a", b"x")), 8), "nested-too-deep")
    yield case("bomb-nested-wide", lambda: _tree(2, 10), "ratio")
    yield case("bomb-nested-42", _forty_two, "ratio", "nested-too-deep")
    yield case("bomb-nested-slip", lambda: _nest(build(Item(b"../evil", b"x")), 1), "path-traversal")
    yield case("bomb-nested-encrypted", lambda: _nest(build(Item(b"a", b"x", flags=1)), 1), "encrypted")
    stored = Item(b"inner.zip", build(_zeros(b"zeros", 128)))
    yield case("bomb-nested-stored", lambda: build(stored), "ratio")
    yield case("bomb-nested-huge-deflated", _padded_nested, "nested-too-large", "ratio")
    yield case("bomb-recursion", lambda: _nest_same_name(6), "nested-too-deep")
    yield case("bomb-bzip2-lzma", _other_methods, "ratio")
    yield case("bomb-long-names", _long_names, "path-too-long")
    yield case("bomb-directory-of-comments", _comments, "directory-too-large")


def _streamed() -> bytes:
    item = _zeros(b"zeros", 128, declared=10)
    item.flags = 8
    item.local = {}
    item.descriptor = struct.pack("<4s3I", b"PK\x07\x08", zeros_deflated(128)[1], len(item.payload()), 10)
    return build(item)


def _petabyte() -> bytes:
    item = _zeros(b"zeros", 1)
    item.local = item.central = {"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF, "crc": zeros_deflated(1)[1]}
    item.extra = zip64_extra(1 << 50, len(item.payload()))
    return build(item)


def _other_methods() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
            info = zipfile.ZipInfo(f"zeros{method}", (2020, 1, 1, 0, 0, 0))
            archive.writestr(info, bytes(48 * MIB), compress_type=method)
    return buffer.getvalue()


def _long_names() -> bytes:
    return build(*(Item(b"%05d" % i + b"n" * 65000, b"") for i in range(60)))


def _comments() -> bytes:
    return build(*(Item(b"%d" % i, b"", comment=b"c" * 65000) for i in range(1100)))


def _one_kernel(count: int) -> bytes:
    """Every entry of the directory points at the same local header (the overlap of 2005)."""
    first = _zeros(b"k", 4)
    others = [_zeros(b"k", 4) for _ in range(count)]
    for number, other in enumerate(others):
        other.name = b"k%d" % number
        other.in_body = False
        other.central = other.central | {"offset": 0}
    return build(first, *others)


def _quoted(count: int) -> bytes:
    """Fifield's bomb: each file is the quoted local header of the next, and all end in one kernel."""
    kernel, crc = zeros_deflated(8)
    local: list[bytes] = []
    sizes: list[tuple[int, int, int]] = []
    tail_packed, tail_size, tail_crc = kernel, 8 * MIB, crc
    body = b""
    for number in reversed(range(count)):
        item = Item(
            b"f%04d" % number,
            b"",
            method=8,
            packed=b"",
            local={"size": tail_size, "packed": len(tail_packed), "crc": tail_crc},
        )
        header = item.local_bytes()
        local.insert(0, header)
        sizes.insert(0, (tail_size, len(tail_packed), tail_crc))
        body = header + tail_packed
        quote = b"\x00" + len(header).to_bytes(2, "little") + (0xFFFF ^ len(header)).to_bytes(2, "little")
        tail_packed = quote + body
        tail_size += len(header)
        tail_crc = 0
    offsets, at = [], 0
    for header in local:
        offsets.append(at)
        at += len(header) + 5
    directory = b"".join(
        Item(b"f%04d" % n, b"", method=8, central={"size": s, "packed": p, "crc": c}).central_bytes(offsets[n])
        for n, (s, p, c) in enumerate(sizes)
    )
    return body + directory + end_record(count, len(directory), len(body))


@cache
def _many(count: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(count):
            archive.writestr(zipfile.ZipInfo(f"{number}", (2020, 1, 1, 0, 0, 0)), b"")
    return buffer.getvalue()


def _nest(inner: bytes, times: int) -> bytes:
    for depth in range(times):
        inner = build(Item(b"level%d.zip" % depth, inner, method=8))
    return inner


def _nest_same_name(times: int) -> bytes:
    inner = build(Item(b"r.txt", b"recursion"))
    for _ in range(times):
        inner = build(Item(b"r.zip", inner))
    return inner


def _tree(levels: int, width: int) -> bytes:
    inner = build(_zeros(b"zeros", 4))
    for _ in range(levels):
        inner = build(*(Item(b"%d.zip" % i, inner, method=8) for i in range(width)))
    return inner


def _forty_two() -> bytes:
    inner = build(_zeros(b"0.dll", 64))
    for _ in range(5):
        inner = build(*(Item(b"lib %x.zip" % i, inner, method=8) for i in range(16)))
    return inner


def _padded_nested() -> bytes:
    """An archive inside, deflated, larger than what is unpacked in memory."""
    inner = build(Item(b"a.bin", bytes(65 * MIB)))
    return build(Item(b"inner.zip", inner, method=8))
