"""Zips that two readers see differently, or that carry what no reader lists."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator

from tests.archives.hostile import Case, case
from tests.archives.zipcraft import Item, build, deflate, end64, end_record, zip64_extra

TEXT = b"the quick brown fox " * 40


def cases() -> Iterator[Case]:
    yield from _ends()
    yield from _gaps()
    yield from _overlaps()
    yield from _headers()
    yield from _descriptors()
    yield from _zip64()
    yield from _streams()
    yield from _protected()
    yield from _extras()
    yield from _polyglots()
    yield from _truncations()
    yield from _mutations()


def _one(**fields: object) -> Item:
    return Item(b"readme.txt", TEXT, method=8, **fields)  # type: ignore[arg-type]


def _ends() -> Iterator[Case]:
    plain = build(_one())
    other = build(Item(b"evil.exe", b"MZ"))
    yield case("end-two-archives", plain + other, "hidden-data", "leading-data", "several-ends")
    yield case("end-in-comment", build(_one(), comment=other), "several-ends")
    yield case("end-empty-in-comment", build(_one(), comment=end_record(0, 0, 0)), "several-ends")
    nested = end_record(0, 0, 0, b"tail")
    yield case("end-fitting-in-comment", build(_one(), comment=b"x" + nested), "several-ends")
    yield case("end-central-in-comment", build(_one(), comment=b"PK\x01\x02" + bytes(60)), "several-ends")
    yield case("end-local-in-comment", build(_one(), comment=b"PK\x03\x04" + bytes(60)), "several-ends")
    yield case("end-trailing-byte", plain + b"\0", "trailing-data")
    yield case("end-trailing-kilobytes", plain + b"x" * 5000, "trailing-data")
    yield case("end-trailing-beyond-comment", plain + b"x" * 70000, "trailing-data", "truncated")
    yield case("end-comment-longer", build(_one(), end={"comment_length": 5}), "trailing-data")
    yield case("end-comment-shorter", build(_one(), comment=b"hello", end={"comment_length": 2}), "trailing-data")
    yield case("end-twice", plain + plain[-22:], "hidden-data", "several-ends")
    yield case(
        "end-count-too-small", build(_one(), Item(b"b", b"b"), end={"here": 1, "count": 1}), "directory-malformed"
    )
    yield case("end-count-too-large", build(_one(), end={"here": 2, "count": 2}), "directory-malformed")
    yield case("end-count-zero", build(_one(), end={"here": 0, "count": 0}), "no-entries")
    yield case("end-counts-differ", build(_one(), end={"here": 0}), "end-mismatch")
    yield case("end-offset-too-small", build(_one(), end={"offset": 0}), "hidden-data")
    yield case("end-offset-too-large", build(_one(), end={"offset": 5000}), "truncated")
    yield case("end-size-zero", build(_one(), end={"size": 0}), "hidden-data")
    yield case("end-size-too-large", build(_one(), end={"size": 0x7FFFFFFF}), "truncated")
    yield case("end-disk", build(_one(), end={"disk": 1}), "multi-volume")
    yield case("end-directory-disk", build(_one(), end={"cd_disk": 1}), "multi-volume")
    yield case("end-only", end_record(0, 0, 0), "no-entries")
    yield case("end-missing", plain[:-22], "truncated")
    yield case("spanned-marker", b"PK\x07\x08" + plain, "multi-volume")
    yield case("spanned-temporary-marker", b"PK00" + plain, "multi-volume")
    yield case("entry-on-other-disk", build(_one(central={"disk": 1})), "multi-volume")


def _gaps() -> Iterator[Case]:
    first, second = Item(b"a.txt", b"aaaa"), Item(b"b.txt", b"bbbb")
    yield case("gap-before", build(first, prefix=b"junk"), "leading-data", "not-an-archive", "polyglot")
    yield case("gap-before-hidden-entry", build(Item(b"h", b"h", in_directory=False), first), "leading-data")
    yield case("gap-between", build(first, Item(b"b.txt", b"bbbb", before=b"hidden")), "hidden-data")
    yield case("gap-between-zeros", build(first, Item(b"b.txt", b"b", before=bytes(4096))), "hidden-data")
    yield case("gap-hidden-entry", build(first, Item(b"evil", b"x", in_directory=False), second), "hidden-data")
    yield case("gap-hidden-last-entry", build(first, Item(b"evil", b"x", in_directory=False)), "hidden-data")
    yield case("gap-before-directory", build(first, between=b"hidden"), "hidden-data")
    yield case("gap-signing-block", build(first, between=bytes(24) + b"APK Sig Block 42"), "hidden-data")
    yield case("gap-digital-signature", build(first, between=b"PK\x05\x05\x04\0abcd"), "hidden-data")
    extra_record = build(first)[:-22] + b"PK\x05\x05\x04\0abcd" + build(first)[-22:]
    yield case("gap-after-directory", extra_record, "hidden-data")
    yield case("prefix-unshifted", build(first, prefix=b"PK\x03\x04junk", shift=False), "hidden-data", "local-missing")
    yield case("listed-and-absent", build(first, Item(b"ghost", b"x", in_body=False)), "overlap", "local-missing")


def _overlaps() -> Iterator[Case]:
    first = Item(b"a.txt", b"aaaa")
    yield case(
        "overlap-same-header", build(first, Item(b"b.txt", b"aaaa", in_body=False, central={"offset": 0})), "overlap"
    )
    inner = Item(b"inner.txt", b"inner")
    outer = Item(b"outer.bin", inner.local_bytes())
    inside = len(outer.local_bytes()) - len(inner.local_bytes())
    hidden = Item(b"inner.txt", b"inner", in_body=False, central={"offset": inside})
    yield case("overlap-inside-data", build(outer, hidden), "overlap")
    far = Item(b"far", b"x", central={"offset": 0x7FFFFFFF})
    yield case("overlap-offset-outside", build(first, far), "hidden-data", "truncated", "overlap")
    into = Item(b"dir", b"x", in_body=False, central={"offset": len(first.local_bytes())})
    yield case("overlap-directory", build(first, into), "local-missing", "overlap")
    longer = Item(b"long", b"xxxx", central={"packed": 400, "size": 400}, local={"packed": 400, "size": 400})
    yield case("overlap-into-directory", build(longer), "overlap", "truncated")
    yield case("overlap-name-length", build(Item(b"n", b"x", local={"name_length": 60000}), first), "overlap")
    yield case("overlap-extra-length", build(Item(b"n", b"x", local={"extra_length": 60000}), first), "overlap")


def _headers() -> Iterator[Case]:
    yield case("headers-name", build(_one(local={"name": b"readme.exe"})), "name-mismatch")
    yield case("headers-name-traversal", build(_one(local={"name": b"../e/x.txt"})), "name-mismatch")
    yield case("headers-name-case", build(_one(local={"name": b"README.txt"})), "name-mismatch")
    yield case("headers-name-shorter", build(_one(local={"name": b"readme"})), "name-mismatch")
    yield case("headers-method", build(_one(local={"method": 0})), "header-mismatch")
    yield case("headers-flags-utf8", build(_one(local={"flags": 0x800})), "header-mismatch")
    yield case("headers-flags-streamed", build(_one(central={"flags": 8})), "header-mismatch")
    yield case("headers-flags-encrypted-local", build(_one(local={"flags": 1})), "header-mismatch", "encrypted")
    yield case("headers-crc", build(_one(local={"crc": 1})), "size-mismatch")
    yield case("headers-size", build(_one(local={"size": 1})), "size-mismatch")
    yield case("headers-packed", build(_one(local={"packed": 1})), "size-mismatch")
    yield case("headers-sizes-zero", build(_one(local={"packed": 0, "size": 0, "crc": 0})), "size-mismatch")
    yield case(
        "headers-local-signature",
        build(_one(local={"signature": b"PK\x03\x05"})),
        "local-missing",
        "not-an-archive",
        "polyglot",
    )
    yield case("headers-central-signature", build(_one(central={"signature": b"PK\x01\x03"})), "directory-malformed")
    yield case(
        "headers-central-name-length", build(_one(central={"name_length": 9})), "directory-malformed", "name-mismatch"
    )
    yield case("headers-central-extra-length", build(_one(central={"extra_length": 9999})), "directory-malformed")
    yield case("headers-central-comment-length", build(_one(central={"comment_length": 9999})), "directory-malformed")
    yield case("headers-version-local", build(_one(local={"need": 133})), "flag-unsupported")
    yield case("headers-version-central", build(_one(central={"need": 64})), "flag-unsupported")
    stored = Item(b"s", b"abc", central={"size": 5}, local={"size": 5})
    yield case("headers-stored-two-sizes", build(stored), "size-mismatch")
    for bit in (4, 5, 7, 8, 9, 10, 12, 14, 15):
        yield case(f"headers-flag-bit-{bit}", build(_one(flags=1 << bit)), "flag-unsupported")
    for method in (1, 6, 9, 10, 18, 19, 96, 97, 98, 255, 65535):
        item = Item(b"m", b"abc", method=method)
        yield case(f"headers-method-{method}", build(item), "method-unsupported")


def _descriptor(crc: int, packed: int, size: int, *, signed: bool = True, wide: bool = False) -> bytes:
    body = struct.pack("<I2Q" if wide else "<3I", crc, packed, size)
    return (b"PK\x07\x08" if signed else b"") + body


def _descriptors() -> Iterator[Case]:
    crc, packed, size = zlib.crc32(TEXT), len(deflate(TEXT)), len(TEXT)
    yield case("descriptor-crc", build(_one(flags=8, descriptor=_descriptor(1, packed, size))), "descriptor-mismatch")
    yield case("descriptor-packed", build(_one(flags=8, descriptor=_descriptor(crc, 1, size))), "descriptor-mismatch")
    yield case("descriptor-size", build(_one(flags=8, descriptor=_descriptor(crc, packed, 1))), "descriptor-mismatch")
    yield case("descriptor-missing", build(_one(flags=8, descriptor=b"")), "descriptor-missing")
    yield case(
        "descriptor-cut", build(_one(flags=8, descriptor=_descriptor(crc, packed, size)[:10])), "descriptor-missing"
    )
    wide = _descriptor(crc, packed, size + (1 << 32), wide=True)
    yield case("descriptor-wide-lie", build(_one(flags=8, descriptor=wide)), "descriptor-mismatch")
    twice = _descriptor(crc, packed, size) * 2
    yield case("descriptor-twice", build(_one(flags=8, descriptor=twice)), "hidden-data")
    bare = _descriptor(crc, packed, size, signed=False) + b"hide"
    yield case("descriptor-bare-with-hidden-bytes", build(_one(flags=8, descriptor=bare)), "descriptor-mismatch")
    yield case("descriptor-unannounced", build(_one(descriptor=_descriptor(crc, packed, size))), "hidden-data")
    yield case(
        "descriptor-local-lie", build(_one(flags=8, local={"size": 7, "packed": packed, "crc": crc})), "size-mismatch"
    )
    trap = b"innocent" + _descriptor(zlib.crc32(b"innocent"), 8, 8) + Item(b"evil.exe", b"MZ").local_bytes()
    yield case("descriptor-inside-stored-data", build(Item(b"a.bin", trap, flags=8)), "descriptor-ambiguous")


def _zip64() -> Iterator[Case]:
    full = 0xFFFFFFFF
    yield case("zip64-announced-and-missing", build(_one(), end={"size": full}), "zip64-missing", "truncated")
    yield case("zip64-entry-missing", build(_one(central={"size": full})), "zip64-missing")
    yield case("zip64-local-missing", build(_one(local={"size": full, "packed": full})), "zip64-missing")
    for label, lies in (
        ("count", {"count": 2, "here": 2}),
        ("size", {"size": 5}),
        ("offset", {"offset": 5}),
        ("disk", {"disk": 1}),
        ("cd-disk", {"cd_disk": 3}),
        ("locator-place", {"at": 3}),
        ("locator-disk", {"locator_disk": 2}),
        ("locator-disks", {"disks": 9}),
        ("record-length", {"length": 60}),
        ("record-signature", {"signature": b"PK\x06\x09"}),
        ("counts-differ", {"here": 7}),
    ):
        yield case(
            f"zip64-{label}", build(_one(), wide=lies), "zip64-mismatch", "multi-volume", "end-mismatch", "truncated"
        )
    saturated = {"here": 0xFFFF, "count": 0xFFFF, "size": full, "offset": full}
    yield case("zip64-only-offset-lies", build(_one(), wide={"offset": 1}, end=saturated), "truncated", "hidden-data")
    yield case(
        "zip64-many-announced",
        build(_one(), wide={"count": 1 << 40, "here": 1 << 40}, end=saturated),
        "too-many-entries",
    )
    data = b"stored data"
    sizes = {"size": full, "packed": full}
    wrong = zip64_extra(len(data), len(data) + 1)
    yield case(
        "zip64-packed-lie",
        build(Item(b"a", data, extra=wrong, local=sizes, central=sizes)),
        "size-mismatch",
        "zip64-mismatch",
        "overlap",
    )
    short = struct.pack("<2HQ", 1, 8, len(data))
    yield case("zip64-field-short", build(Item(b"a", data, central_extra=short, central=sizes)), "zip64-mismatch")
    double = zip64_extra(len(data), len(data)) + zip64_extra(1, 1)
    yield case(
        "zip64-field-twice", build(Item(b"a", data, extra=double, local=sizes, central=sizes)), "extra-duplicate"
    )
    unneeded = zip64_extra(999, 999)
    yield case("zip64-field-unneeded-lie", build(Item(b"a", data, central_extra=unneeded)), "zip64-mismatch")
    yield case("zip64-local-field-lie", build(Item(b"a", data, extra=unneeded, central_extra=b"")), "zip64-mismatch")
    moved = struct.pack("<2H3Q", 1, 24, len(data), len(data), 77)
    yield case("zip64-field-moves-offset", build(Item(b"a", data, central_extra=moved)), "zip64-mismatch")
    odd = struct.pack("<2H", 1, 5) + b"abcde"
    yield case("zip64-field-odd", build(Item(b"a", data, central_extra=odd)), "zip64-mismatch")
    only_packed = struct.pack("<2HQQ", 1, 16, len(data), len(data))
    yield case(
        "zip64-field-two-ways",
        build(Item(b"a", data, central_extra=only_packed, central={"packed": full})),
        "zip64-mismatch",
    )
    huge = zip64_extra(1 << 60, 1 << 60)
    yield case(
        "zip64-exabyte",
        build(Item(b"a", data, extra=huge, local=sizes, central=sizes)),
        "entry-too-large",
        "size-mismatch",
        "overlap",
    )
    plain = build(_one())
    yield case("zip64-locator-from-nowhere", plain[:-22] + end64(1, 1, 1, 1)[56:] + plain[-22:], "zip64-mismatch")


def _streams() -> Iterator[Case]:
    packed = deflate(TEXT)
    yield case("stream-trailing-garbage", build(_one(packed=packed + b"garbage")), "hidden-data")
    yield case("stream-two-streams", build(_one(packed=packed + deflate(b"second"))), "hidden-data")
    yield case("stream-cut", build(_one(packed=packed[:-3])), "damaged")
    yield case("stream-empty", build(_one(packed=b"")), "damaged")
    yield case("stream-not-deflate", build(_one(packed=b"\xff" * 30)), "damaged")
    yield case("stream-longer-than-declared", build(_one(packed=deflate(TEXT + b"more"))), "size-lie")
    yield case("stream-shorter-than-declared", build(_one(packed=deflate(TEXT[:-5]))), "size-lie")
    yield case("stream-other-content", build(_one(packed=deflate(b"T" + TEXT[1:]))), "crc-mismatch")
    stored = Item(b"s", b"abcdef", packed=b"abcdeF")
    yield case("stream-stored-other-content", build(stored), "crc-mismatch")
    large = bytes(range(256)) * 4096
    yield case("stream-large-trailing", build(Item(b"l", large, method=8, packed=deflate(large) + b"x")), "hidden-data")
    yield case("stream-large-longer", build(Item(b"l", large, method=8, packed=deflate(large + b"x"))), "size-lie")
    for method, name in ((12, "bzip2"), (14, "lzma")):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            archive.writestr(zipfile.ZipInfo("x", (2020, 1, 1, 0, 0, 0)), TEXT, compress_type=method)
        whole = buffer.getvalue()
        body = whole[31 : whole.index(b"PK\x01\x02")]
        flag = 2 if method == 14 else 0
        yield case(
            f"stream-{name}-cut", build(Item(b"x", TEXT, method=method, flags=flag, packed=body[:-4])), "damaged"
        )
        yield case(
            f"stream-{name}-trailing",
            build(Item(b"x", TEXT, method=method, flags=flag, packed=body + b"junk")),
            "hidden-data",
            "damaged",
        )
        yield case(
            f"stream-{name}-garbage",
            build(Item(b"x", TEXT, method=method, flags=flag, packed=b"\x09\x04\x05\x00" + b"\xfe" * 40)),
            "damaged",
        )
    greedy = b"\x09\x04\x05\x00\x5d" + struct.pack("<I", 0xFFFFFFFF) + b"\0" * 20
    odd = b"\x09\x04\x05\x00\xcb" + struct.pack("<I", 1 << 16) + b"\0" * 20
    yield case("stream-lzma-properties", build(Item(b"x", TEXT, method=14, packed=odd)), "damaged")
    yield case("stream-lzma-dictionary-4-gib", build(Item(b"x", TEXT, method=14, packed=greedy)), "memory-limit")


def _protected() -> Iterator[Case]:
    yield case("encrypted-zipcrypto", build(_one(flags=1)), "encrypted")
    yield case("encrypted-strong", build(_one(flags=0x41)), "encrypted")
    yield case("encrypted-directory", build(_one(flags=0x2000)), "encrypted")
    aes = struct.pack("<2HH2sBH", 0x9901, 7, 2, b"AE", 3, 8)
    yield case("encrypted-aes", build(Item(b"a", b"x" * 40, method=99, flags=1, extra=aes)), "encrypted")
    yield case("encrypted-aes-unflagged", build(Item(b"a", b"x" * 40, extra=aes)), "encrypted")
    yield case("encrypted-one-of-two", build(Item(b"a", b"x"), _one(flags=1)), "encrypted")


def _extras() -> Iterator[Case]:
    yield case("extra-cut", build(_one(extra=b"\x55\x54\x40\x00abc")), "extra-malformed")
    yield case("extra-remainder", build(_one(extra=b"\x55\x54\x01\x00abc")), "extra-malformed")
    yield case("extra-local-cut", build(_one(extra=b"\x01\x02\xff\xff", central_extra=b"")), "extra-malformed")
    yield case("extra-two-bytes", build(_one(extra=b"hi")), "extra-malformed")


def _polyglots() -> Iterator[Case]:
    plain = build(_one())
    png = b"\x89PNG\r\n\x1a\n" + bytes(64)
    yield case("polyglot-png-zip", build(_one(), prefix=png), "polyglot")
    yield case("polyglot-gif-jar", build(_one(), prefix=b"GIF89a" + bytes(20)), "polyglot", file="upload.jar")
    yield case("polyglot-pdf-zip", build(_one(), prefix=b"%PDF-1.4\n" + bytes(20)), "polyglot")
    yield case("polyglot-html-zip", build(_one(), prefix=b"<html><script>alert(1)</script>"), "polyglot")
    yield case("polyglot-class-jar", build(_one(), prefix=b"\xca\xfe\xba\xbe\0\0\0\x34" + bytes(40)), "polyglot")
    mz = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + bytes(200)
    yield case("sfx-zip", build(_one(), prefix=mz), "self-extracting", file="upload.exe")
    yield case("sfx-named-zip", build(_one(), prefix=mz), "self-extracting")
    yield case("sfx-shell-zip", build(_one(), prefix=b"#!/bin/sh\nexec unzip $0\nexit\n"), "self-extracting")
    yield case("sfx-elf-zip", build(_one(), prefix=b"\x7fELF\x02\x01\x01" + bytes(200)), "self-extracting")
    yield case("sfx-7z", mz + b"7z\xbc\xaf\x27\x1c" + bytes(100), "self-extracting")
    yield case("sfx-rar", mz + b"Rar!\x1a\x07\x01\x00" + bytes(100), "self-extracting")
    in_name = Item(b"%PDF-1.5 x", b"obj")
    yield case("polyglot-pdf-in-name", build(in_name), "polyglot")
    in_data = Item(b"a.bin", b"....%PDF-1.5\n1 0 obj")
    yield case("polyglot-pdf-in-data", build(in_data), "polyglot")
    iso = bytearray(Item(b"disc.bin", bytes(0x9000)).local_bytes())
    iso[0x8001:0x8006] = b"CD001"
    data = bytes(iso)[38:]
    yield case("polyglot-iso", build(Item(b"disc.bin", data)), "polyglot")
    yield case("polyglot-tar-zip", _tar_zip(), "polyglot")
    yield case("program-in-disguise", build(Item(b"readme.txt", mz)), "disguised-program")
    yield case("program-as-texture", build(Item(b"textures/a.dds", mz)), "disguised-program")
    yield case("elf-as-json", build(Item(b"a.json", b"\x7fELF\x02\x01\x01" + bytes(90))), "disguised-program")
    for name in ("x.png", "x.exe", "x.txt", "x.7z", "x.rar", "x.tar", "x.tar.gz", "x.dll", "x.pdf", "x.esp"):
        yield case(f"declared-{name}", plain, "type-mismatch", file=name)
    for name, data in (
        ("empty", b""),
        ("one-byte", b"P"),
        ("signature-only", b"PK\x03\x04"),
        ("text", b"this is not an archive\n" * 10),
        ("png", png),
        ("program", mz),
        ("zeros", bytes(4096)),
        ("html", b"<html></html>"),
        ("central-only", b"PK\x01\x02" + bytes(100)),
    ):
        yield case(f"not-an-archive-{name}", data, "not-an-archive", "truncated", "polyglot")


def _tar_zip() -> bytes:
    """A zip whose first local header is, as the first 512 bytes, a valid tar header as well."""
    name_length = 400
    item = Item(b"n" * name_length, b"x")
    block = bytearray(item.local_bytes())
    block[257:263] = b"ustar\0"
    block[148:156] = b"        "
    for _ in range(3):
        total = sum(block[:512].ljust(512, b"\0")) - sum(block[148:156]) + 8 * 32
        block[148:156] = b"%06o\0 " % total
    name = bytes(block[30 : 30 + name_length])
    data = bytes(block[30 + name_length :]).ljust(600, b"\0")
    # The name and the data together make the checksum; it is put right once their final bytes are known.
    for _ in range(4):
        whole = bytearray(build(Item(name, data)))
        total = sum(whole[:512]) - sum(whole[148:156]) + 8 * 32
        name = name[: 148 - 30] + b"%06o\0 " % total + name[156 - 30 :]
    return build(Item(name, data))


def _truncations() -> Iterator[Case]:
    whole = build(_one(), Item(b"data.bin", random.Random(7).randbytes(2000)), Item(b"z.txt", b"end"))
    for cut in (1, 2, 4, 10, 21, 22, 23, 60, 150, 1000, 2000):
        yield case(f"truncated-by-{cut}", whole[:-cut], "truncated", "trailing-data", "several-ends")
    for keep in (5, 30, 200):
        yield case(f"truncated-to-{keep}", whole[:keep], "truncated")


def _mutations() -> Iterator[Case]:
    """One byte of the structure changed at a time, where every change must be noticed."""
    items = (_one(), Item(b"b.bin", b"0123456789" * 8, method=8), Item(b"c.txt", b"stored"))
    whole = build(*items)
    random_bits = random.Random(20240607)
    directory = whole.index(b"PK\x01\x02")
    spots = [
        *(14 + i for i in range(12)),  # CRC and sizes of the first local header
        *(directory + 16 + i for i in range(12)),  # the same in the central directory
        *(directory + 42 + i for i in range(4)),  # the offset
        *(40 + i for i in range(20)),  # packed data
    ]
    for spot in spots:
        broken = bytearray(whole)
        broken[spot] ^= 1 << random_bits.randrange(8)
        yield case(f"mutation-{spot}", bytes(broken), *ANY_STRUCTURE)


ANY_STRUCTURE = (
    "size-mismatch", "crc-mismatch", "damaged", "overlap", "hidden-data", "size-lie", "header-mismatch", "leading-data",
    "zip64-missing", "entry-too-large", "ratio", "truncated", "local-missing", "total-too-large",
)  # fmt: skip
