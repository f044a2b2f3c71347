"""Names that must never reach a player's disk: the slip family, Windows, collisions, links, encodings."""

from __future__ import annotations

from collections.abc import Iterator

from tests.archives.hostile import Case, case
from tests.archives.zipcraft import UNIX_DIRECTORY, Item, build, unicode_path

UTF8 = 0x0800

TRAVERSAL = (
    "../evil", "../../../../etc/passwd", "a/../../evil", "a/b/../../../evil", "..", "a/..", "../", "./../evil",
    "\u2025/evil", "a/\uff0e\uff0e/evil", "\uff0e\uff0e\uff0fevil", "a/\uff0e./b",
)  # fmt: skip
ABSOLUTE = (
    "/etc/passwd", "/", "//server/share/evil", "\\\\server\\share\\evil", "\\evil", "C:\\evil", "C:/evil", "c:evil",
    "\\\\?\\C:\\evil", "\\\\.\\PhysicalDrive0", "~/evil", "Z:\\..\\evil",
)  # fmt: skip
RESERVED = (
    "CON", "con.txt", "PRN", "aux.lua", "a/NUL", "nul.tar.gz", "COM1", "com9.dll", "LPT1", "lpt\u00b9",
    "COM\u00b2.txt",
    "CONIN$", "CONOUT$", "CLOCK$", "nul .txt", "a/aux/b.txt", "COM0",
)  # fmt: skip
STREAMS = ("file.txt:evil.exe", "file.txt::$DATA", "a/b:c/d", "a/ads:x")
UNPORTABLE = ("what?.txt", "a*b", 'say"hi"', "a<b", "a>b", "a|b")
TRAILING = ("evil.exe.", "evil.exe ", "dir./file", "dir /file", "...", "a/.../b", "name\u3000", "\u00a0name")
CONTROL = ("a\nb", "a\rb", "a\tb", "a\x00b", "evil.txt\x00.exe", "a\x1b[2Jb", "a\x7fb", "a\u0085b", "\x01")
DECEPTIVE = ("cod\u202egnp.exe", "a\u2066b", "\ufeffname", "a\u2028b", "x\u202a", "tag\U000e0041")
EMPTY = ("", "a//b", "a/./b", "././x", "a/.")
LONG = ("a" * 256, "a/" * 300 + "b", "é" * 128, "/".join(["d" * 60] * 12), "x" * 5000)
DEEP = ("a/" * 33 + "b", "a/" * 120 + "b")

COLLISIONS: tuple[tuple[str, ...], ...] = (
    ("file.txt", "file.txt"),
    ("File.txt", "file.txt"),
    ("data/x.esp", "Data/X.ESP"),
    ("caf\u00e9.txt", "cafe\u0301.txt"),
    ("CAF\u00c9.txt", "cafe\u0301.txt"),
    ("stra\u00dfe", "STRASSE"),
    ("\u212bngstrom", "\u00e5ngstrom"),
    ("a", "a/b"),
    ("a/b", "a"),
    ("A", "a/b"),
    ("x/y/z", "x/Y"),
    ("./a", "a"),
    ("a\u200bb", "ab"),
    ("dir/", "dir/"),
    ("dir/", "DIR/"),
    ("dir/", "dir"),
    ("\u03c3", "\u03c2"),
)


def _named(name: str, **fields: object) -> bytes:
    raw = name.encode()
    item = Item(raw, b"x", flags=0 if raw.isascii() else UTF8, **fields)  # type: ignore[arg-type]
    if name.endswith("/"):
        item.data = b""
        item.attributes = UNIX_DIRECTORY
    return build(item)


def cases() -> Iterator[Case]:
    yield from _single()
    yield from _backslashes()
    yield from _collisions()
    yield from _links()
    yield from _encodings()


def _single() -> Iterator[Case]:
    for family, names, codes in (
        ("traversal", TRAVERSAL, ("path-traversal", "path-dot-component", "path-backslash")),
        ("absolute", ABSOLUTE, ("path-absolute", "path-empty")),
        ("reserved", RESERVED, ("path-reserved",)),
        ("stream", STREAMS, ("path-stream",)),
        ("unportable", UNPORTABLE, ("path-unportable",)),
        ("trailing", TRAILING, ("path-trailing-dot",)),
        ("control", CONTROL, ("path-control-character",)),
        ("deceptive", DECEPTIVE, ("path-deceptive",)),
        ("empty", EMPTY, ("path-empty", "path-empty-component", "path-dot-component")),
        ("long", LONG, ("path-too-long", "path-too-deep")),
        ("deep", DEEP, ("path-too-deep",)),
    ):
        for number, name in enumerate(names):
            yield case(f"name-{family}-{number}", _named(name), *codes)


def _backslashes() -> Iterator[Case]:
    dos = 0 << 8 | 20
    for number, name in enumerate((b"a\\b", b"..\\evil", b"a\\..\\..\\evil", b"a/b\\c", b"a/..\\..\\evil")):
        yield case(f"name-backslash-unix-{number}", build(Item(name, b"x")), "path-backslash", "path-traversal")
    for number, name in enumerate((b"..\\evil", b"a\\..\\..\\evil", b"\\evil", b"a/b\\c", b"a\\b\\..\\..\\..\\c")):
        item = Item(name, b"x", made_by=dos, attributes=0x20)
        yield case(f"name-backslash-dos-{number}", build(item), "path-traversal", "path-absolute", "path-backslash")


def _collisions() -> Iterator[Case]:
    for number, names in enumerate(COLLISIONS):
        items = []
        for index, name in enumerate(names):
            folder = name.endswith("/")
            items.append(
                Item(
                    name.encode(),
                    b"" if folder else bytes([65 + index]),
                    flags=0 if name.isascii() else UTF8,
                    attributes=UNIX_DIRECTORY if folder else 0o100644 << 16,
                )
            )
        yield case(f"collision-{number}", build(*items), "path-collision", "path-duplicate")


def _links() -> Iterator[Case]:
    kinds = {
        "symlink": 0o120777,
        "fifo": 0o010644,
        "character-device": 0o020644,
        "block-device": 0o060644,
        "socket": 0o140755,
    }
    for kind, mode in kinds.items():
        for host in (3, 0, 19):
            item = Item(b"link", b"../../etc/passwd", attributes=mode << 16, made_by=host << 8 | 20)
            yield case(f"link-{kind}-host-{host}", build(item), "link-or-device")
    write_through = (Item(b"dir", b"/tmp", attributes=0o120777 << 16), Item(b"dir/evil", b"x"))
    yield case("link-write-through", build(*write_through), "link-or-device", "path-collision")
    yield case("link-reparse-point", build(Item(b"junction", b"x", made_by=20, attributes=0x400)), "link-or-device")
    yield case("link-volume-label", build(Item(b"LABEL", b"", made_by=20, attributes=0x08)), "link-or-device")
    pkware = b"\x0d\x00\x10\x00" + bytes(12) + b"/tmp"
    yield case("link-pkware-extra", build(Item(b"hard", b"x", central_extra=pkware)), "link-or-device")
    yield case("directory-with-data", build(Item(b"d/", b"payload", attributes=UNIX_DIRECTORY)), "directory-with-data")
    packed = Item(b"d/", b"", method=8, packed=b"\x01\x00\x00\xff\xff", attributes=UNIX_DIRECTORY)
    yield case("directory-with-packed-data", build(packed), "directory-with-data")
    short = Item(b"d/", b"", method=8, packed=b"ab", attributes=UNIX_DIRECTORY)
    yield case("directory-with-two-bytes", build(short), "directory-with-data")
    yield case("directory-mode-on-file", build(Item(b"d", b"x", attributes=UNIX_DIRECTORY)), "directory-mismatch")
    dos = Item(b"d", b"x", made_by=20, attributes=0x10)
    yield case("directory-attribute-on-file", build(dos), "directory-mismatch")


def _encodings() -> Iterator[Case]:
    yield case("encoding-bad-utf8", build(Item(b"\xff\xfe.txt", b"x", flags=UTF8)), "path-encoding")
    yield case("encoding-overlong", build(Item(b"\xc0\xae\xc0\xae/x", b"x", flags=UTF8)), "path-encoding")
    yield case("encoding-surrogate", build(Item(b"\xed\xa0\x80.txt", b"x", flags=UTF8)), "path-encoding")
    good = b"readme.txt"
    for label, field in (
        ("other", unicode_path(good, b"evil.dll")),
        ("traversal", unicode_path(good, b"../evil")),
        ("stale", unicode_path(good, b"readme.txt", crc=1)),
        ("version", unicode_path(good, good, version=2)),
        ("short", b"\x75\x70\x03\x00\x01ab"),
        ("invalid", unicode_path(good, b"\xff\xff")),
        ("twice", unicode_path(good, good) + unicode_path(good, b"evil.dll")),
    ):
        yield case(
            f"unicode-path-{label}", build(Item(good, b"x", extra=field)), "unicode-path-mismatch", "extra-duplicate"
        )
    legacy = b"caf\x82.txt"
    extension = Item(legacy, b"x", extra=unicode_path(legacy, "café.exe".encode()))
    yield case("unicode-path-other-extension", build(extension), "unicode-path-mismatch")
    folder = Item(legacy, b"x", extra=unicode_path(legacy, "a/café.txt".encode()))
    yield case("unicode-path-other-folder", build(folder), "unicode-path-mismatch")
    local_only = Item(legacy, b"x", extra=unicode_path(legacy, "cafà.txt".encode()), central_extra=b"")
    yield case("unicode-path-in-local-only", build(local_only), "unicode-path-mismatch")
