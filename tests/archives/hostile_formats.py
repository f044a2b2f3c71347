"""Hostile tar, 7z and rar archives."""

from __future__ import annotations

import bz2
import functools
import gzip
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator

from tests.archives import rarcraft as rar
from tests.archives import tarcraft as craft
from tests.archives.hostile import Case, case
from tests.archives.tarcraft import extended, header, member, pax, seven_zip, tar
from tests.archives.zipcraft import Item, build

MIB = 1 << 20
SLIPS = ("../evil", "/etc/passwd", "a/../../evil", "C:/evil", "nul.txt", "a/./b", "x:y", "evil.exe.", "a\nb", "a//b")
SLIP_CODES = (
    "path-traversal",
    "path-absolute",
    "path-reserved",
    "path-dot-component",
    "path-stream",
    "path-trailing-dot",
    "path-control-character",
    "path-empty-component",
)
PAIRS = (("a", "a"), ("A", "a"), ("a", "a/b"), ("caf\u00e9", "cafe\u0301"))


def cases() -> Iterator[Case]:
    yield from _tar()
    yield from _tar_extended()
    yield from _compressed()
    yield from _seven_zip()
    yield from _seven_zip_structure()
    yield from _rar5()
    yield from _rar4()


def _tar() -> Iterator[Case]:
    def one(name: str, data: bytes, *codes: str) -> Case:
        return case(f"tar-{name}", data, *codes, file="upload.tar")

    for number, name in enumerate(SLIPS):
        yield one(f"slip-{number}", tar(member(name.encode(), b"x")), *SLIP_CODES)
    for number, pair in enumerate(PAIRS):
        members = [member(name.encode(), b"x") for name in pair]
        yield one(f"collision-{number}", tar(*members), "path-collision", "path-duplicate")
    for kind in (b"1", b"2", b"3", b"4", b"6"):
        yield one(f"kind-{kind.decode()}", tar(member(b"l", kind=kind, link=b"/etc/passwd")), "link-or-device")
    for kind in (b"8", b"A", b"M", b"V", b"D", b"Z"):
        yield one(f"kind-{kind.decode()}", tar(member(b"l", kind=kind)), "link-or-device")
    yield one("sparse-old", tar(member(b"s", kind=b"S")), "sparse")
    yield one("directory-with-data", tar(member(b"d/", b"data", kind=b"5")), "directory-with-data")
    yield one("directory-by-slash-with-data", tar(member(b"d/", b"data")), "directory-with-data")
    yield one("checksum", tar(member(b"a", b"x"), header(b"b", checksum=1)), "damaged")
    yield one("not-utf8", tar(member(b"\xff\xfe", b"x")), "path-encoding")
    yield one("size-negative", tar(member(b"a", b"x"), header(b"b", raw_size=b"\xff" * 12)), "damaged")
    yield one("size-not-octal", tar(member(b"a", b"x"), header(b"b", raw_size=b"99999999999\0")), "damaged")
    huge = b"\x80" + (1 << 60).to_bytes(11, "big")
    yield one("size-exabyte", tar(member(b"a", b"x"), header(b"b", raw_size=huge)), "entry-too-large")
    yield one("size-beyond-end", tar(member(b"a", b"x"), header(b"b", 5000)), "truncated")
    yield one("no-end", member(b"a", b"x"), "truncated")
    yield one("half-end", member(b"a", b"x") + bytes(512), "truncated")
    yield one("cut-in-header", tar(member(b"a", b"x"))[:700], "truncated")
    yield one("padding", tar(header(b"a", 1) + b"x" + b"hidden".ljust(511, b"\0")), "hidden-data")
    yield one("after-end", tar(member(b"a", b"x")) + member(b"evil", b"x"), "trailing-data")
    yield one("after-first-zero-block", member(b"a", b"x") + bytes(512) + member(b"evil", b"x"), "hidden-data")
    yield one("zeros-without-end", tar(member(b"a", b"x"), end=bytes(3 * MIB)), "trailing-data")
    yield one("empty", bytes(1024), "not-an-archive")
    zip_tail = build(Item(b"evil.txt", b"x"))
    yield one("zip-at-end", tar(member(b"a", b"x"), end=bytes(1024) + zip_tail), "polyglot")
    inside = member(b"a", b"x" * 100 + zip_tail[:-2] + struct.pack("<H", 1024 + 512 - (100 + len(zip_tail)) % 512))
    yield one("zip-whose-comment-is-the-end", tar(inside), "polyglot")


def _tar_extended() -> Iterator[Case]:
    def one(name: str, *members: bytes, codes: tuple[str, ...]) -> Case:
        return case(f"tar-{name}", tar(*members), *codes, file="upload.tar")

    plain = member(b"plain", b"x")
    yield one("pax-slip", extended(pax(path="../evil")), plain, codes=("path-traversal",))
    yield one("pax-absolute", extended(pax(path="/evil")), plain, codes=("path-absolute",))
    yield one("pax-link", extended(pax(linkpath="/etc/passwd")), plain, codes=("link-or-device",))
    yield one("pax-sparse", extended(pax(GNU__sparse__major="1")), plain, codes=("sparse",))
    yield one("pax-size-lie", extended(pax(size="700")), plain, codes=("truncated", "damaged", "hidden-data"))
    yield one("pax-size-huge", extended(pax(size="9" * 18)), plain, codes=("entry-too-large",))
    yield one("pax-size-not-a-number", extended(pax(size="-1")), plain, codes=("damaged",))
    yield one("pax-twice", extended(pax(path="a")), extended(pax(path="b")), plain, codes=("name-mismatch",))
    yield one("pax-and-gnu", member(b"L", b"a\0", kind=b"L"), extended(pax(path="b")), plain, codes=("name-mismatch",))
    yield one("pax-key-twice", extended(pax(path="a") + pax(path="b")), plain, codes=("damaged",))
    yield one("pax-length-lie", extended(b"99 path=a\n"), plain, codes=("damaged",))
    yield one("pax-length-zero", extended(b"0 path=a\n"), plain, codes=("damaged",))
    yield one("pax-no-number", extended(b"xx path=a\n"), plain, codes=("damaged",))
    yield one("pax-huge", extended(b"a" * 70000), plain, codes=("damaged",))
    yield one("pax-at-end", plain, extended(pax(path="a")), codes=("damaged",))
    yield one("pax-not-utf8", extended(b"12 path=\xff\xfe\n"), plain, codes=("path-encoding", "damaged"))
    yield one("global-path", extended(pax(path="evil"), b"g"), plain, codes=("name-mismatch",))
    yield one("gnu-slip", member(b"L", b"../evil\0", kind=b"L"), plain, codes=("path-traversal",))
    yield one("gnu-link", member(b"K", b"/etc\0", kind=b"K"), plain, codes=("link-or-device",))
    yield one("prefix-slip", member(b"x", b"x", prefix=b"../../evil"), codes=("path-traversal",))


def _compressed() -> Iterator[Case]:
    plain = tar(member(b"a.txt", b"hello"))
    bomb = tar(member(b"zeros", bytes(96 * MIB)))
    packers: dict[str, Callable[[bytes], bytes]] = {"gz": _gzip, "bz2": bz2.compress, "xz": _xz}
    for extension, pack in packers.items():
        file = f"upload.tar.{extension}"
        whole = pack(plain)
        yield case(f"tar-{extension}-trailing", whole + b"x", "trailing-data", file=file)
        yield case(f"tar-{extension}-zeros-behind", whole + bytes(512), "trailing-data", file=file)
        yield case(f"tar-{extension}-cut", whole[:-6], "truncated", "damaged", file=file)
        yield case(
            f"tar-{extension}-damaged",
            whole[:25] + b"\xff\xff\xff" + whole[28:],
            "damaged",
            "truncated",
            "path-encoding",
            file=file,
        )
        yield case(f"tar-{extension}-bomb", functools.partial(pack, bomb), "ratio", file=file)
        yield case(f"tar-{extension}-slip", pack(tar(member(b"../e", b"x"))), "path-traversal", file=file)
        yield case(f"tar-{extension}-no-tar", pack(b"just text\n" * 99), "damaged", "truncated", file=file)
        yield case(f"tar-{extension}-named-tar", whole, "type-mismatch", file="upload.tar")
        yield case(f"tar-{extension}-named-zip", whole, "type-mismatch", file="upload.zip")
        twice = pack(plain) + pack(tar(member(b"evil", b"x")))
        yield case(f"tar-{extension}-second-tar", twice, "trailing-data", file=file)
        nested = build(Item(f"inner.tar.{extension}".encode(), pack(tar(member(b"../e", b"x")))))
        yield case(f"zip-tar-{extension}-slip", nested, "path-traversal")
    yield from _zstd(plain, bomb)


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def _xz(data: bytes) -> bytes:
    return lzma.compress(data, preset=1)


def _zstd(plain: bytes, bomb: bytes) -> Iterator[Case]:
    import zstandard

    file = "upload.tar.zst"
    whole = zstandard.ZstdCompressor(level=3, write_checksum=True).compress(plain)
    yield case("tar-zst-trailing", whole + b"x", "trailing-data", file=file)
    skippable = struct.pack("<II", 0x184D2A50, 6) + b"hidden"
    yield case("tar-zst-skippable", whole + skippable, "trailing-data", file=file)
    yield case("tar-zst-skippable-first", skippable + whole, "not-an-archive", file=file)
    yield case("tar-zst-cut", whole[:-6], "truncated", "damaged", file=file)
    broken = whole[:20] + bytes([whole[20] ^ 0x55]) + whole[21:]
    yield case("tar-zst-damaged", broken, "damaged", "truncated", "trailing-data", file=file)
    yield case("tar-zst-bomb", lambda: zstandard.compress(bomb, 1), "ratio", file=file)
    parameters = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=True)
    wide = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    frame = wide.compress(plain) + wide.flush()
    yield case("tar-zst-window", frame, "memory-limit", file=file)
    dictionary = b"\x28\xb5\x2f\xfd\x21\x07\x01\x01\x00\x00x" + bytes(20)
    yield case("tar-zst-dictionary", dictionary, "encrypted", "damaged", file=file)


def _seven_zip() -> Iterator[Case]:
    def one(name: str, data: bytes, *codes: str) -> Case:
        return case(f"7z-{name}", data, *codes, file="upload.7z")

    for number, name in enumerate((*SLIPS, "..\\evil", "a\\..\\..\\evil")):
        yield one(f"slip-{number}", seven_zip([(name, b"x")]), *SLIP_CODES, "path-backslash")
    for number, pair in enumerate(PAIRS):
        files = [(name, b"x") for name in pair]
        yield one(f"collision-{number}", seven_zip(files), "path-collision", "path-duplicate")
    link = 0x8000 | 0o120777 << 16
    yield one("symlink", seven_zip([("l", b"/etc/passwd")], attributes=[link]), "link-or-device")
    yield one("device", seven_zip([("l", b"x")], attributes=[0x8000 | 0o020644 << 16]), "link-or-device")
    yield one("reparse", seven_zip([("l", b"x")], attributes=[0x400]), "link-or-device")
    yield one("directory-attribute", seven_zip([("d", b"x")], attributes=[0x10]), "directory-with-data")
    yield one("directory-mode", seven_zip([("d", b"x")], attributes=[0x8000 | 0o040755 << 16]), "directory-with-data")
    anti = craft.prop(0x10, b"\x80")
    yield one("anti-item", seven_zip([("a", b"x")], directories=["gone"], extra=anti), "link-or-device")
    aes = b"\x24\x06\xf1\x07\x01\x02\x13\x00"
    yield one("encrypted", seven_zip([("a", b"x" * 16)], coder=aes), "encrypted")
    for method, label in ((b"\x04\x01\x09", "deflate64"), (b"\x03\x04\x01", "ppmd"), (b"\x7f\x7f", "unknown")):
        coder = bytes([len(method)]) + method
        yield one(f"method-{label}", seven_zip([("a", b"x")], coder=coder), "method-unsupported")
    greedy = b"\x23\x03\x01\x01\x05\x5d" + struct.pack("<I", 0xFFFFFFFF)
    yield one("lzma-dictionary", seven_zip([("a", b"x")], coder=greedy, packed=bytes(30)), "memory-limit")
    yield one("lzma2-dictionary", seven_zip([("a", b"x")], coder=b"\x21\x21\x01\x28", packed=bytes(9)), "memory-limit")
    yield one("lzma-properties", seven_zip([("a", b"x")], coder=b"\x23\x03\x01\x01\x05\xff" + bytes(4)), "damaged")
    zeros = lzma.compress(bytes(96 * MIB), lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0}])
    lzma2 = b"\x21\x21\x01\x14"
    bomb = seven_zip([("zeros", b"")], coder=lzma2, packed=zeros, sizes=[96 * MIB], unpacked=96 * MIB, crcs=[0])
    yield one("bomb", bomb, "ratio")
    lying = seven_zip([("zeros", b"")], coder=lzma2, packed=zeros, sizes=[9], unpacked=9, crcs=[zlib.crc32(bytes(9))])
    yield one("bomb-lying", lying, "size-lie")
    short = seven_zip([("a", b"x" * 5)], packed=b"xxxx")
    yield one("copy-too-short", short, "size-lie")
    yield one("copy-too-long", seven_zip([("a", b"xxx")], packed=b"xxxxxx"), "size-lie", "hidden-data")
    yield one("crc", seven_zip([("a", b"x")], crcs=[1]), "crc-mismatch")
    yield one("garbage-lzma2", seven_zip([("a", b"x")], coder=lzma2, packed=b"\xff" * 30), "damaged", "size-lie")


def _seven_zip_structure() -> Iterator[Case]:
    def one(name: str, data: bytes, *codes: str) -> Case:
        return case(f"7z-{name}", data, *codes, file="upload.7z")

    good = seven_zip([("a.txt", b"hello"), ("b.txt", b"world")])
    yield one("trailing", good + b"x", "trailing-data")
    yield one("zip-behind", good + build(Item(b"e", b"x")), "polyglot")
    yield one("gap", seven_zip([("a", b"x")], gap=b"hidden"), "hidden-data")
    yield one("position", seven_zip([("a", b"x")], packed=b"hx", position=1, unpacked=1), "hidden-data", "size-lie")
    yield one("start-crc", seven_zip([("a", b"x")], start_crc=1), "damaged")
    yield one("header-tail", seven_zip([("a", b"x")], header_tail=b"hidden"), "damaged")
    yield one("no-files", seven_zip([]), "no-entries", "hidden-data")
    yield one("names-missing", seven_zip([("a", b"x")], names=b"\0"), "damaged")
    yield one("names-too-many", seven_zip([("a", b"x")], names=b"\0a\0\0\0b\0\0\0"), "damaged")
    yield one("names-external", seven_zip([("a", b"x")], names=b"\x01a\0\0\0"), "damaged")
    yield one("names-surrogate", seven_zip([("a", b"x")], names=b"\0\x00\xd8\0\0"), "path-encoding")
    yield one("names-odd", seven_zip([("a", b"x")], names=b"\0a\0\0"), "path-encoding", "damaged")
    yield one("more-files-than-data", seven_zip([("a", b"x")], count=2, names=b"\0a\0\0\0b\0\0\0"), "damaged")
    yield one("count-huge", seven_zip([("a", b"x")], count=1 << 40), "too-many-entries")
    yield one("dummy-with-data", seven_zip([("a", b"x")], extra=craft.prop(0x19, b"hidden")), "hidden-data")
    yield one("property-unknown", seven_zip([("a", b"x")], extra=craft.prop(0x30, b"abc")), "damaged")
    yield one("property-twice", seven_zip([("a", b"x")], extra=craft.prop(0x11, b"\0z\0\0\0")), "damaged")
    yield one("sizes-lie", seven_zip([("a", b"xx"), ("b", b"y")], sizes=[9, 1]), "damaged")
    yield one("size-exabyte", seven_zip([("a", b"x")], unpacked=1 << 60), "entry-too-large")
    for cut in (1, 10, 33, len(good) - 32):
        yield one(f"truncated-by-{cut}", good[:-cut], "truncated")
    for spot in (9, 13, 21, 29, 33, 45, 60, len(good) - 5):
        broken = bytearray(good)
        broken[spot] ^= 0x10
        yield one(f"mutation-{spot}", bytes(broken), "damaged", "truncated", "crc-mismatch")


def _rar5() -> Iterator[Case]:
    def one(name: str, data: bytes, *codes: str) -> Case:
        return case(f"rar5-{name}", data, *codes, file="upload.rar")

    for number, name in enumerate(SLIPS):
        yield one(f"slip-{number}", rar.rar5(rar.file5(name.encode(), b"x")), *SLIP_CODES)
    for number, pair in enumerate(PAIRS):
        files = [rar.file5(name.encode(), b"x") for name in pair]
        yield one(f"collision-{number}", rar.rar5(*files), "path-collision", "path-duplicate")
    redirect = rar.record(5, rar.vint(1) + rar.vint(0) + rar.vint(4) + b"/etc")
    yield one("link", rar.rar5(rar.file5(b"l", extra=redirect)), "link-or-device")
    yield one("link-mode", rar.rar5(rar.file5(b"l", b"x", attributes=0o120777)), "link-or-device")
    yield one("reparse", rar.rar5(rar.file5(b"l", b"x", host=0, attributes=0x400)), "link-or-device")
    yield one("file-encrypted", rar.rar5(rar.file5(b"a", b"x", extra=rar.record(1, bytes(40)))), "encrypted")
    yield one("headers-encrypted", rar.RAR5 + rar.block5(4, bytes(20)), "encrypted")
    yield one("volume", rar.rar5(rar.file5(b"a", b"x"), main=rar.main5(1)), "multi-volume")
    yield one("volume-continues", rar.rar5(rar.file5(b"a", b"x", flags=0x10)), "multi-volume")
    yield one("volume-end", rar.rar5(rar.file5(b"a", b"x"), end=rar.end5(1)), "multi-volume")
    yield one("old-version", rar.rar5(rar.file5(b"a", b"x", extra=rar.record(4, bytes(2)))), "path-duplicate")
    yield one("stream", rar.rar5(rar.file5(b"a", b"x"), rar.file5(b"STM", b":evil", kind=3)), "path-stream")
    yield one("unknown-block", rar.rar5(rar.file5(b"a", b"x"), rar.block5(9, b"", flags=4)), "hidden-data")
    yield one("no-end", rar.rar5(rar.file5(b"a", b"x"), end=b""), "truncated")
    yield one("trailing", rar.rar5(rar.file5(b"a", b"x")) + b"x", "trailing-data")
    yield one("zip-behind", rar.rar5(rar.file5(b"a", b"x")) + build(Item(b"e", b"x")), "polyglot")
    yield one("no-main", rar.rar5(rar.file5(b"a", b"x"), main=b""), "damaged")
    yield one("two-mains", rar.rar5(rar.main5(), rar.file5(b"a", b"x")), "damaged")
    yield one("empty", rar.rar5(), "no-entries")
    yield one("crc", rar.rar5(rar.file5(b"a", b"x", crc=1)), "crc-mismatch", "damaged")
    yield one("size-unknown", rar.rar5(rar.file5(b"a", b"x", file_flags=8)), "size-lie")
    yield one("size-exabyte", rar.rar5(rar.file5(b"a", b"x", size=1 << 60)), "entry-too-large")
    yield one("ratio", rar.rar5(rar.file5(b"a", b"x", size=1 << 33, method=0x180)), "ratio")
    yield one("dictionary-4-gib", rar.rar5(rar.file5(b"a", b"x", method=0x180 | 15 << 10)), "memory-limit")
    yield one("directory-with-data", rar.rar5(rar.file5(b"d", b"data", directory=True)), "directory-with-data")
    yield one("not-utf8", rar.rar5(rar.file5(b"\xff", b"x")), "path-encoding")
    cache = rar.vint(0) + rar.vint(5) + rar.vint(4) + b"evil"
    sized = rar.vint(len(cache)) + cache
    quick = struct.pack("<I", zlib.crc32(sized)) + sized
    yield one("quick-open-lie", rar.rar5(rar.file5(b"a", b"x"), rar.file5(b"QO", quick, kind=3)), "header-mismatch")
    good = rar.rar5(rar.file5(b"a", b"hello"), rar.file5(b"b", b"world"))
    for cut in (1, 5, 9, 20, 40):
        yield one(f"truncated-by-{cut}", good[:-cut], "truncated", "damaged")
    for spot in (8, 12, 20, 30, 45, 60):
        broken = bytearray(good)
        broken[spot] ^= 0x10
        yield one(f"mutation-{spot}", bytes(broken), "damaged", "truncated", "crc-mismatch")


def _rar4() -> Iterator[Case]:
    def one(name: str, data: bytes, *codes: str) -> Case:
        return case(f"rar4-{name}", data, *codes, file="upload.rar")

    for number, name in enumerate((*SLIPS, "..\\evil", "\\\\server\\x", "a\\..\\..\\e")):
        yield one(f"slip-{number}", rar.rar4(rar.file4(name.encode(), b"x")), *SLIP_CODES)
    encoded = b"ok.txt\0\x00\x00" + b"../e"
    yield one(
        "slip-in-unicode", rar.rar4(rar.file4(encoded, b"x", flags=0x200)), "path-traversal", "path-empty", "damaged"
    )
    yield one("link", rar.rar4(rar.file4(b"l", b"/etc", attributes=0o120777)), "link-or-device")
    yield one("reparse", rar.rar4(rar.file4(b"l", b"x", host=2, attributes=0x400)), "link-or-device")
    yield one("encrypted", rar.rar4(rar.file4(b"a", b"x", flags=4)), "encrypted")
    yield one("headers-encrypted", rar.rar4(rar.file4(b"a", b"x"), main=rar.main4(0x80)), "encrypted")
    yield one("volume", rar.rar4(rar.file4(b"a", b"x"), main=rar.main4(1)), "multi-volume")
    yield one("volume-before", rar.rar4(rar.file4(b"a", b"x", flags=1)), "multi-volume")
    yield one("volume-after", rar.rar4(rar.file4(b"a", b"x", flags=2)), "multi-volume")
    yield one("volume-end", rar.rar4(rar.file4(b"a", b"x"), end=rar.end4(1)), "multi-volume")
    yield one("old-version", rar.rar4(rar.file4(b"a;1", b"x", flags=0x800)), "path-duplicate")
    yield one("stream", rar.rar4(rar.file4(b"STM", b"x", kind=0x7A)), "path-stream")
    yield one("unknown-block", rar.rar4(rar.block4(0x79, 0, b"hidden")), "hidden-data")
    yield one("trailing", rar.rar4(rar.file4(b"a", b"x")) + b"hidden", "trailing-data")
    yield one("directory-with-data", rar.rar4(rar.file4(b"d", b"x", directory=True)), "directory-with-data")
    yield one("size-lie", rar.rar4(rar.file4(b"a", b"xxxx", size=2)), "size-lie", "damaged")
    yield one("empty", rar.rar4(), "no-entries")
    yield one("comment-in-header", rar.rar4(rar.file4(b"a", b"x"), main=rar.main4(2)), "hidden-data")
    yield one("collision", rar.rar4(rar.file4(b"a", b"x"), rar.file4(b"A", b"x")), "path-collision")
    good = rar.rar4(rar.file4(b"a", b"hello"))
    for cut in (8, 12, 20):
        yield one(f"truncated-by-{cut}", good[:-cut], "truncated", "damaged")
    for spot in (8, 15, 22, 30, 40):
        broken = bytearray(good)
        broken[spot] ^= 0x10
        yield one(f"mutation-{spot}", bytes(broken), "damaged", "truncated")
