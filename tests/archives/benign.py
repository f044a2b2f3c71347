"""Archives that real tools make, and that must be accepted. Made in the tests by those tools or by their
habits.
"""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import Buffer

from tests.archives.zipcraft import UNIX_DIRECTORY, Item, build, deflate, unicode_path, zip64_extra

TEXT = b"Every mod is somebody's evening.\n" * 30
WHEN = (2021, 3, 4, 5, 6, 8)


@dataclass(frozen=True)
class Good:
    """One archive that must be accepted, and the paths that it must be seen to contain."""

    name: str
    make: Callable[[], bytes]
    paths: frozenset[str]
    file: str = "upload.zip"


def good(name: str, data: bytes | Callable[[], bytes], *paths: str, file: str = "upload.zip") -> Good:
    make = data if callable(data) else lambda: data
    return Good(name, make, frozenset(paths), file)


class _Pipe(io.RawIOBase):
    """A file that cannot seek: makes writers stream."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        self.parts.append(bytes(data))
        return len(bytes(data))


def python_zip(method: int, *, streamed: bool = False, zip64: bool = False) -> bytes:
    target = _Pipe() if streamed else io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.mkdir("folder")
        for name in ("folder/a.txt", "b.txt", "empty"):
            info = zipfile.ZipInfo(name, WHEN)
            info.compress_type = method
            with archive.open(info, "w", force_zip64=zip64) as entry:
                entry.write(b"" if name == "empty" else TEXT)
    return b"".join(target.parts) if isinstance(target, _Pipe) else target.getvalue()


UNUSUAL_NAMES = (
    "Données/Été.esp",
    "日本語/テスト.txt",
    "Мод/файл.dll",
    "한국어.json",
    "emoji 🎮/👩‍🚀.png",
    "with space/a b.txt",
    "[Author] Mod (v1.2) {beta}.esp",
    "it's & that's #1 @home $5 100% ~new~ a=b;c,d^e`f!.txt",
    ".hidden/.gitignore",
    "console.txt",
    "aux_cable.nif",
    "com10.txt",
    "nulls/x",
    "lpt.txt",
    "a.b.c.d",
    "-dash",
    "Ｆｕｌｌ：ｗｉｄｔｈ",
    "ending…",
    "__MACOSX/._a",
    "a" * 255,
    "$RECYCLE/x",
    "100%",
    "dollar$",
    "semi;colon",
)


def cases() -> Iterator[Good]:
    yield from _python()
    yield from _by_habit()
    yield from _names()
    yield from _wide()
    yield from other_formats()


def _python() -> Iterator[Good]:
    paths = ("folder/a.txt", "b.txt", "empty")
    for label, method in (("stored", 0), ("deflate", 8), ("bzip2", 12), ("lzma", 14)):
        yield good(f"python-{label}", python_zip(method), *paths)
        yield good(f"python-{label}-zip64", python_zip(method, zip64=True), *paths)
        yield good(f"python-{label}-streamed", python_zip(method, streamed=True), *paths)
        yield good(f"python-{label}-streamed-zip64", python_zip(method, streamed=True, zip64=True), *paths)


def _by_habit() -> Iterator[Good]:
    crc, packed = zlib.crc32(TEXT), deflate(TEXT)
    yield good("one-stored", build(Item(b"a.txt", TEXT)), "a.txt")
    yield good("archive-comment", build(Item(b"a.txt", TEXT), comment=b"made with love"), "a.txt")
    yield good("archive-comment-longest", build(Item(b"a.txt", TEXT), comment=b"c" * 65535), "a.txt")
    yield good("entry-comments", build(Item(b"a.txt", TEXT, comment=b"note"), Item(b"b", b"b")), "a.txt", "b")
    other_order = build(Item(b"a", b"1"), Item(b"b", b"2"), Item(b"c", b"3"), directory_order=[2, 0, 1])
    yield good("directory-in-other-order", other_order, "a", "b", "c")
    jar_first = Item(b"META-INF/", b"", extra=b"\xfe\xca\0\0", attributes=0, made_by=10)
    manifest = Item(b"META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\r\n", method=8, flags=8, attributes=0, made_by=10)
    yield good("java-jar", build(jar_first, manifest), "META-INF/MANIFEST.MF", file="mod.jar")
    utf8_jar = Item("assets/dàta.json".encode(), TEXT, method=8, flags=0x808, attributes=0)
    yield good("java-jar-utf8", build(utf8_jar), "assets/dàta.json", file="mod.jar")
    for label, signed, wide in (("bare", False, False), ("bare-wide", False, True), ("signed-wide", True, True)):
        body = struct.pack("<I2Q" if wide else "<3I", crc, len(packed), len(TEXT))
        item = Item(b"a.txt", TEXT, method=8, flags=8, descriptor=(b"PK\x07\x08" if signed else b"") + body)
        yield good(f"descriptor-{label}", build(item, Item(b"b", b"b")), "a.txt", "b")
    known = {"crc": crc, "packed": len(packed), "size": len(TEXT)}
    yield good("descriptor-and-known-sizes", build(Item(b"a.txt", TEXT, method=8, flags=8, local=known)), "a.txt")
    info_zip = struct.pack("<2HB2I", 0x5455, 9, 3, 1, 1) + struct.pack("<2HBBIBI", 0x7875, 11, 1, 4, 0, 4, 0)
    central = struct.pack("<2HBI", 0x5455, 5, 3, 1) + struct.pack("<2HBBIBI", 0x7875, 11, 1, 4, 0, 4, 0)
    yield good("info-zip-extras", build(Item(b"a.txt", TEXT, extra=info_zip, central_extra=central)), "a.txt")
    yield good("zipalign-padding", build(Item(b"a.so", b"\x01" * 99, extra=bytes(3), central_extra=b"")), "a.so")
    level_hint = Item(b"a.txt", TEXT, method=8, flags=2, central={"flags": 0})
    yield good("level-hint-in-one-header", build(level_hint), "a.txt")
    ant = Item(b"folder/", b"", method=8, packed=b"\x03\x00", attributes=UNIX_DIRECTORY)
    yield good("folder-deflated-to-nothing", build(ant, Item(b"folder/a", b"a")), "folder/a")
    dotnet = Item(b"dir\\sub\\file.txt", TEXT, method=8, made_by=20, attributes=0)
    yield good("dotnet-backslashes", build(dotnet, Item(b"root.txt", b"r", made_by=20)), "dir/sub/file.txt", "root.txt")
    dotnet_folder = Item(b"dir\\", b"", made_by=20, attributes=0x10)
    yield good("dotnet-backslash-folder", build(dotnet_folder, Item(b"dir\\a", b"a", made_by=20)), "dir/a")
    ntfs = struct.pack("<2HI2H3Q", 0x000A, 32, 0, 1, 24, 1, 2, 3)
    yield good("7-zip-ntfs-times", build(Item(b"a", b"a", central_extra=ntfs, made_by=63, attributes=0x20)), "a")
    yield good("no-attributes", build(Item(b"a", b"a", attributes=0, made_by=20)), "a")
    empty_deflated = Item(b"empty", b"", method=8)
    yield good("empty-file-deflated", build(empty_deflated), "empty")
    zeros = build(Item(b"heightmap.raw", bytes(24 << 20), method=8))
    yield good("very-compressible-and-small", zeros, "heightmap.raw")
    inner = build(Item(b"fabric.mod.json", b"{}", method=8))
    yield good("jar-in-jar-stored", build(Item(b"META-INF/jars/lib.jar", inner)), "META-INF/jars/lib.jar", file="x.jar")
    yield good("jar-in-jar-deflated", build(Item(b"lib.jar", inner, method=8)), "lib.jar", file="x.jar")
    yield good("pdf-first-and-stored", build(Item(b"manual.pdf", b"%PDF-1.4\n...")), "manual.pdf")
    yield good("signature-inside-data", build(Item(b"a.bin", b"xPK\x03\x04PK\x05\x06" + bytes(40))), "a.bin")
    last = build(Item(b"a.bin", b"xPK\x05\x06" + bytes(16) + b"\x00\x00"))
    yield good("end-record-inside-data", last, "a.bin")
    yield good("no-extension", build(Item(b"a", b"a")), "a", file="4f1c0aa9")
    gz = zlib.compressobj(9, zlib.DEFLATED, 31)
    nbt = gz.compress(b"\x0a\x00\x00data") + gz.flush()
    yield good("gzipped-data-file", build(Item(b"data/house.nbt", nbt)), "data/house.nbt")
    several_fonts = build(*(Item(b"f/%03d.txt" % i, b"%d" % i, method=8) for i in range(300)))
    yield good("three-hundred-files", several_fonts, *(f"f/{i:03}.txt" for i in range(300)))


def _names() -> Iterator[Good]:
    mac = Item("Cafe\u0301/na\u00efve.txt".encode(), b"x", method=8, flags=8)
    yield good("macos-undeclared-utf8-nfd", build(mac), "Café/naïve.txt")
    yield good("cp437", build(Item(b"caf\x82\x2etxt", b"x", made_by=20)), "café.txt")
    legacy = b"caf\x82.txt"
    item = Item(legacy, b"x", extra=unicode_path(legacy, "café.txt".encode()))
    yield good("info-zip-unicode-path", build(item), "café.txt")
    better = Item(b"\xa5\xdf.txt", b"x", extra=unicode_path(b"\xa5\xdf.txt", "日本.txt".encode()))
    yield good("unicode-path-better-than-cp437", build(better), "日本.txt")
    for number, name in enumerate(UNUSUAL_NAMES):
        flags = 0 if name.isascii() else 0x800
        yield good(f"name-{number}", build(Item(name.encode(), b"x", flags=flags)), name)
    deep = "/".join(["d"] * 31) + "/f"
    yield good("name-deep", build(Item(deep.encode(), b"x")), deep)
    yield good("bsdtar-dot-slash", build(Item(b"./", b"", attributes=UNIX_DIRECTORY), Item(b"./a/b", b"x")), "a/b")
    mixed = build(Item(b"Textures/a.dds", b"a"), Item(b"textures/b.dds", b"b"))
    yield good("folder-in-two-spellings", mixed, "Textures/a.dds", "textures/b.dds")
    implied = build(Item(b"dir/a", b"a"), Item(b"dir/", b"", attributes=UNIX_DIRECTORY))
    yield good("folder-after-its-files", implied, "dir/a")


def _wide() -> Iterator[Good]:
    data, full = b"stored data", 0xFFFFFFFF
    sizes = {"size": full, "packed": full}
    both = zip64_extra(len(data), len(data))
    yield good("zip64-sizes", build(Item(b"a", data, extra=both, local=sizes, central=sizes)), "a")
    yield good("zip64-local-only", build(Item(b"a", data, extra=both, central_extra=b"", local=sizes)), "a")
    yield good("zip64-full-layout", build(Item(b"a", data, central_extra=zip64_extra(len(data), len(data), 0))), "a")
    yield good("zip64-end-record", build(Item(b"a", data), wide={}), "a")
    yield good("zip64-end-record-no-disks", build(Item(b"a", data), wide={"disks": 0}), "a")
    saturated = {"here": 0xFFFF, "count": 0xFFFF, "size": full, "offset": full}
    yield good("zip64-end-record-saturated", build(Item(b"a", data), wide={}, end=saturated), "a")
    streamed = Item(
        b"a", data, method=8, flags=8, extra=zip64_extra(0, 0), central_extra=b"", local=sizes,
        descriptor=struct.pack("<4sI2Q", b"PK\x07\x08", zlib.crc32(data), len(deflate(data)), len(data)),
    )  # fmt: skip
    yield good("zip64-streamed", build(streamed), "a")


def tool_archives(folder: Path) -> Iterator[Good]:
    """Archives by the tools that are installed here; a tool that is absent gives none."""
    tree = folder / "tree"
    (tree / "sub" / "deeper").mkdir(parents=True)
    for name, data in (
        ("readme.txt", TEXT),
        ("sub/empty", b""),
        ("sub/deeper/é.bin", os.urandom(3000)),
        ("sub/x.json", b"{}"),
    ):
        (tree / name).write_bytes(data)
    paths = ("readme.txt", "sub/empty", "sub/deeper/é.bin", "sub/x.json")
    for label, command, file in (
        ("info-zip", ["zip", "-qr", "{out}", "."], "upload.zip"),
        ("info-zip-store", ["zip", "-qr0", "{out}", "."], "upload.zip"),
        ("info-zip-no-folders", ["zip", "-qrD", "{out}", "."], "upload.zip"),
        ("info-zip-best-no-extras", ["zip", "-qrX9", "{out}", "."], "upload.zip"),
        ("info-zip-zip64", ["zip", "-qr", "-fz", "{out}", "."], "upload.zip"),
        ("info-zip-bzip2", ["zip", "-qr", "-Z", "bzip2", "{out}", "."], "upload.zip"),
        ("info-zip-streamed", ["sh", "-c", "zip -qr - . | cat > {out}"], "upload.zip"),
        ("jdk-jar", ["jar", "cf", "{out}", "."], "upload.jar"),
        ("jdk-jar-stored", ["jar", "c0Mf", "{out}", "."], "upload.jar"),
        ("7-zip", ["7z", "a", "-bd", "-tzip", "{out}", "."], "upload.zip"),
        ("bsdtar-zip", ["bsdtar", "-a", "-cf", "{out}", "."], "upload.zip"),
    ):
        if shutil.which(command[0]) is None:
            continue
        out = folder / f"{label}{Path(file).suffix}"
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        parts = [part.replace("{out}", str(out)) for part in command]
        done = subprocess.run(parts, cwd=tree, env=environment, check=False, capture_output=True)
        if done.returncode == 0 and out.exists():
            yield good(label, out.read_bytes(), *paths, file=file)


def other_formats() -> Iterator[Good]:
    """tar, 7z and rar as their tools write them; 7z by py7zr, rar by hand in its stored form."""
    import bz2
    import gzip
    import lzma
    import tarfile

    import py7zr
    import zstandard

    from tests.archives import rarcraft as rar
    from tests.archives.tarcraft import extended, member, pax, seven_zip, tar

    paths = ("folder/é.txt", "b.txt", "empty")

    def python_tar(form: int) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
            folder = tarfile.TarInfo("./folder")
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
            for name in paths:
                info = tarfile.TarInfo(name)
                info.size = 0 if name == "empty" else len(TEXT)
                info.mtime = 1.5 if form == tarfile.PAX_FORMAT else 1
                archive.addfile(info, io.BytesIO(TEXT))
        return buffer.getvalue()

    for label, form in (("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)):
        plain = python_tar(form)
        yield good(f"tar-{label}", plain, *paths, file="upload.tar")
        for extension, packed in (
            ("gz", gzip.compress(plain)),
            ("bz2", bz2.compress(plain)),
            ("xz", lzma.compress(plain)),
            ("zst", zstandard.compress(plain)),
        ):
            yield good(f"tar-{label}-{extension}", packed, *paths, file=f"upload.tar.{extension}")
    whole = python_tar(tarfile.PAX_FORMAT)
    half = gzip.compress(whole[:1000]) + gzip.compress(whole[1000:])
    yield good("tar-gz-in-two-members", half, *paths, file="upload.tgz")
    git = extended(pax(comment="4b825dc642cb6eb9a060e54bf8d69288fbee4904"), b"g")
    yield good("tar-of-git", tar(git, member(b"a", b"x")), "a", file="upload.tar")
    inner = build(Item(b"x.txt", b"x"))
    yield good("tar-with-a-zip-inside", tar(member(b"inner.zip", inner)), "inner.zip", file="upload.tar")
    for label, filters in (
        ("lzma2", None),
        ("lzma", [{"id": py7zr.FILTER_LZMA, "preset": 7}]),
        ("bcj", [{"id": py7zr.FILTER_X86}, {"id": py7zr.FILTER_LZMA2, "preset": 7}]),
        ("delta", [{"id": py7zr.FILTER_DELTA}, {"id": py7zr.FILTER_LZMA2, "preset": 7}]),
        ("bzip2", [{"id": py7zr.FILTER_BZIP2}]),
        ("deflate", [{"id": py7zr.FILTER_DEFLATE}]),
        ("copy", [{"id": py7zr.FILTER_COPY}]),
    ):
        buffer = io.BytesIO()
        with py7zr.SevenZipFile(buffer, "w", filters=filters) as archive:
            for name in paths:
                archive.writestr(b"" if name == "empty" else TEXT, name)
        yield good(f"7z-{label}", buffer.getvalue(), *paths, file="upload.7z")
    crafted = seven_zip([("a", b"one"), ("b/c", b"two")], directories=["b", "d"], attributes=[0x20, 0x20, 0x10, 0x10])
    yield good("7z-plain-header", crafted, "a", "b/c", file="upload.7z")
    folder5 = rar.file5(b"folder", directory=True, attributes=0o040755)
    files5 = [folder5, *(rar.file5(name.encode(), b"" if name == "empty" else TEXT) for name in paths)]
    yield good("rar5", rar.rar5(*files5), *paths, file="upload.rar")
    files4 = [rar.file4(b"folder", directory=True, attributes=0o040755), rar.file4(b"folder\\a.txt", TEXT)]
    yield good("rar4", rar.rar4(*files4, rar.file4(b"b.txt", b"")), "folder/a.txt", "b.txt", file="upload.rar")
    yield good("rar4-without-end", rar.rar4(rar.file4(b"a", TEXT), end=b""), "a", file="upload.rar")
