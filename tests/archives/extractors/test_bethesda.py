from __future__ import annotations

import struct

import pytest

from loadstone.archives.extractors.registry import ExtractionError
from tests.archives.extractors.reading import read, relations


def field(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<H", len(body)) + body


def plugin(
    *masters: str, flags: int = 0, form: int = 44, version: float = 1.7, extra: bytes = b"", size: int | None = None
) -> bytes:
    body = field(b"HEDR", struct.pack("<fiI", version, 12, 0x800)) + field(b"CNAM", b"Someone\0")
    for master in masters:
        body += field(b"MAST", master.encode() + b"\0") + field(b"DATA", bytes(8))
    body += extra
    tail = struct.pack("<HH", form, 0) if form else b""
    return b"TES4" + struct.pack("<III", len(body) if size is None else size, flags, 0) + bytes(4) + tail + body


def morrowind(*masters: str, master: int = 0) -> bytes:
    hedr = struct.pack("<fI", 1.3, master) + b"Author".ljust(32, b"\0") + bytes(256) + struct.pack("<I", 5)
    body = b"HEDR" + struct.pack("<I", len(hedr)) + hedr
    for name in masters:
        raw = name.encode() + b"\0"
        body += b"MAST" + struct.pack("<I", len(raw)) + raw + b"DATA" + struct.pack("<IQ", 8, 79837557)
    return b"TES3" + struct.pack("<III", len(body), 0, 0) + body


def test_a_skyrim_plugin_names_its_masters_and_itself() -> None:
    (manifest,) = read("Data/Patch.esp", plugin("Skyrim.esm", "Update.esm") + b"GRUP" + bytes(500))
    assert manifest.id == "Patch.esp"
    assert manifest.provides == ("Patch.esp",)
    assert relations(manifest) == {("requires", "Skyrim.esm", ""), ("requires", "Update.esm", "")}
    assert manifest.authors == ("Someone",)
    assert manifest.data["game"] == "skyrim-special-edition"


@pytest.mark.parametrize(
    ("name", "flags", "form", "expected"),
    [
        ("a.esp", 0, 44, {"master": False, "light": False}),
        ("a.esm", 1, 44, {"master": True, "light": False}),
        ("a.esp", 0x200, 44, {"master": False, "light": True}),
        ("a.esl", 0, 44, {"master": True, "light": True}),
        ("a.esp", 0x201, 131, {"master": True, "light": True, "game": "fallout-4"}),
        ("a.esm", 0x101, 552, {"light": True, "medium": False, "overlay": False, "game": "starfield"}),
        ("a.esm", 0x401, 552, {"light": False, "medium": True}),
        ("a.esp", 0x200, 552, {"overlay": True, "light": False}),
        ("a.esm", 0x81, 43, {"localized": True, "game": "skyrim"}),
        ("a.esp", 0, 15, {"game": "fallout"}),
        ("a.esp", 0, 0, {"game": "oblivion"}),
    ],
)
def test_the_flags_are_read_as_each_game_means_them(
    name: str, flags: int, form: int, expected: dict[str, object]
) -> None:
    (manifest,) = read(name, plugin(flags=flags, form=form))
    assert expected.items() <= manifest.data.items()


def test_a_morrowind_master_is_known_by_its_header() -> None:
    (manifest,) = read("Mod.esm", morrowind("Morrowind.esm", "Tribunal.esm", master=1))
    assert manifest.data["game"] == "morrowind"
    assert manifest.data["master"] is True
    assert relations(manifest) == {("requires", "Morrowind.esm", ""), ("requires", "Tribunal.esm", "")}
    assert manifest.authors == ("Author",)


def test_a_large_field_takes_its_size_from_the_field_before() -> None:
    large = b"XXXX" + struct.pack("<HI", 4, 70_000) + b"ONAM" + b"\0\0" + bytes(70_000)
    (manifest,) = read("a.esp", plugin("A.esm", extra=large + field(b"MAST", b"B.esm\0")))
    assert {item.id for item in manifest.dependencies} == {"A.esm", "B.esm"}


def test_names_in_a_windows_code_page_are_read() -> None:
    extra = field(b"MAST", "Übersetzung.esp".encode("cp1252") + b"\0")
    assert read("a.esp", plugin(extra=extra))[0].dependencies[0].id == "Übersetzung.esp"


def test_an_esm_without_its_flag_is_warned_about() -> None:
    assert "not flagged" in read("a.esm", plugin())[0].warnings[0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"TES4",
        b"TES3" + bytes(5),
        b"MZ" + bytes(100),
        plugin("A.esm")[:40],
        plugin("A.esm", size=1 << 31),
        plugin("A.esm", flags=0x40000),
        plugin(extra=b"MAST\xff\xff"),
        plugin(extra=b"XXXX\x04\0\xff\xff\xff\x7fMAST\0\0"),
        morrowind("A.esm")[:60],
        b"TES3" + struct.pack("<III", 16, 0, 0) + b"HEDR" + struct.pack("<I", 0xFFFFFFFF) + bytes(8),
    ],
)
def test_a_hostile_plugin_is_an_error_of_the_manifest_only(data: bytes) -> None:
    with pytest.raises(ExtractionError):
        read("a.esp", data)
