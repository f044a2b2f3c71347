from __future__ import annotations

import struct

import pytest

from loadstone.archives.extractors.registry import ExtractionError
from tests.archives.extractors.reading import read, relations

STRINGS = b"\0Lantern\0mscorlib\0Harmony\0BepInPlugin\0BepInDependency\0.ctor\0<Module>\0"


def place(name: bytes) -> int:
    return STRINGS.index(b"\0" + name + b"\0") + 1


def text(value: str) -> bytes:
    return bytes([len(value)]) + value.encode()


def assembly(*, tables: bytes | None = None, streams: int = 3, managed: bool = True) -> bytes:
    """A library with one BepInEx plugin, as small as ECMA-335 allows."""
    plugin = b"\x01\0" + text("ann.lantern") + text("Lantern") + text("1.2.0") + b"\0\0"
    hard = b"\x01\0" + text("needed") + struct.pack("<I", 1) + b"\0\0"
    soft = b"\x01\0" + text("liked") + struct.pack("<I", 2) + b"\0\0"
    blobs, at = b"\0", []
    for blob in (plugin, hard, soft):
        at.append(len(blobs))
        blobs += bytes([len(blob)]) + blob
    rows = {
        0x00: [struct.pack("<5H", 0, place(b"<Module>"), 0, 0, 0)],
        0x01: [struct.pack("<3H", 6, place(name), 0) for name in (b"BepInPlugin", b"BepInDependency")],
        0x0A: [struct.pack("<3H", number << 3 | 1, place(b".ctor"), 0) for number in (1, 2)],
        0x0C: [struct.pack("<3H", 0, ctor << 3 | 3, value) for ctor, value in zip((1, 2, 2), at, strict=True)],
        0x20: [struct.pack("<I4HI3H", 0x8004, 1, 2, 3, 4, 0, 0, place(b"Lantern"), 0)],
        0x23: [
            struct.pack("<4HI4H", *version, 0, 0, place(name), 0, 0)
            for name, version in ((b"mscorlib", (4, 0, 0, 0)), (b"Harmony", (2, 9, 0, 0)))
        ],
    }
    valid = sum(1 << table for table in rows)
    stream = struct.pack("<IBBBBQQ", 0, 2, 0, 0, 1, valid, 0)
    stream += b"".join(struct.pack("<I", len(found)) for found in rows.values())
    stream += b"".join(row for found in rows.values() for row in found)
    heaps = [(b"#~\0\0", stream if tables is None else tables), (b"#Strings\0\0\0\0", STRINGS), (b"#Blob\0\0\0", blobs)]
    version = b"v4.0.30319\0\0"
    root = b"BSJB" + struct.pack("<HHII", 1, 1, 0, len(version)) + version + struct.pack("<HH", 0, streams)
    place_at = len(root) + sum(8 + len(name) for name, _ in heaps)
    body = b""
    for name, heap in heaps:
        root += struct.pack("<2I", place_at + len(body), len(heap)) + name
        body += heap
    metadata = root + body
    cli = struct.pack("<IHHII", 72, 2, 5, 0x2000 + 72, len(metadata)).ljust(72, b"\0")
    section = cli + metadata
    optional = bytearray(224)
    optional[0:2] = b"\x0b\x01"
    if managed:
        optional[208:216] = struct.pack("<2I", 0x2000, 72)
    header = b".text\0\0\0" + struct.pack("<4I", len(section), 0x2000, len(section), 0x200) + bytes(16)
    pe = b"PE\0\0" + struct.pack("<HHIIIHH", 0x14C, 1, 0, 0, 0, len(optional), 0x2102) + bytes(optional) + header
    return (b"MZ" + bytes(58) + struct.pack("<I", 64) + pe).ljust(0x200, b"\0") + section


def test_a_plugin_gives_its_guid_its_assembly_and_its_needs() -> None:
    (manifest,) = read("BepInEx/plugins/Lantern.dll", assembly())
    assert (manifest.id, manifest.name, manifest.version) == ("ann.lantern", "Lantern", "1.2.0")
    assert manifest.provides == ("Lantern", "ann.lantern")
    assert manifest.loaders == ("bepinex",)
    assert relations(manifest) == {("requires", "needed", ""), ("recommends", "liked", "")}
    assert manifest.data["references"] == [{"assembly": "Harmony", "version": "2.9.0.0"}]
    assert manifest.data["assembly_version"] == "1.2.3.4"


@pytest.mark.parametrize(
    "data", [b"", b"MZ", b"\x7fELF" + bytes(100), assembly(managed=False), assembly()[:90], assembly()[:0x200]]
)
def test_a_native_library_is_no_assembly(data: bytes) -> None:
    assert read("a.dll", data) == []


MANY = struct.pack("<IBBBBQQ", 0, 2, 0, 0, 1, 1 << 0x20 | 1, 0) + struct.pack("<II", 0xFFFFFFFF, 0xFFFFFFFF)


@pytest.mark.parametrize(
    "data",
    [
        assembly()[:0x260],
        assembly(streams=0),
        assembly(tables=b""),
        assembly(tables=MANY),
        assembly().replace(b"BSJB", b"XXXX"),
        assembly().replace(struct.pack("<HHII", 1, 1, 0, 12), struct.pack("<HHII", 1, 1, 0, 1 << 30)),
    ],
)
def test_a_hostile_assembly_is_an_error_of_the_manifest_only(data: bytes) -> None:
    with pytest.raises(ExtractionError):
        read("a.dll", data)
