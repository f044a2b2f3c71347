"""Names, references and BepInEx attributes of .NET assemblies, from their metadata tables alone.

Source: ECMA-335, partition II, chapters 22 to 25. Nothing is loaded or run.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from loadstone.archives.extractors.registry import MAX_BYTES, ExtractionError, Extractor
from loadstone.archives.model import Dependency, Manifest

_MAX_ROWS = 20_000
_TYPE_REF, _MEMBER_REF, _CUSTOM_ATTRIBUTE, _ASSEMBLY, _ASSEMBLY_REF = 0x01, 0x0A, 0x0C, 0x20, 0x23
# What every .NET program refers to; not a mod's dependency.
_FRAMEWORK = ("mscorlib", "netstandard", "system", "microsoft.", "windowsbase", "presentation")

# Columns: 2 and 4 are numbers; S, G, B are indices into heaps; a number from 100 is a row of table n -
# 100; other
# letters are coded indices. Tables 0x00 to 0x23 in order; later ones are not needed to find the earlier.
_COLUMNS: tuple[tuple[int | str, ...], ...] = (
    (2, "S", "G", "G", "G"),
    ("R", "S", "S"),
    (4, "S", "S", "T", 104, 106),
    (104,),
    (2, "S", "B"),
    (106,),
    (4, 2, 2, "S", "B", 108),
    (108,),
    (2, 2, "S"),
    (102, "T"),
    ("P", "S", "B"),
    (2, "K", "B"),
    ("A", "C", "B"),
    ("F", "B"),
    (2, "D", "B"),
    (2, 4, 102),
    (4, 104),
    ("B",),
    (102, 120),
    (120,),
    (2, "S", "T"),
    (102, 123),
    (123,),
    (2, "S", "B"),
    (2, 106, "E"),
    (102, "M", "M"),
    ("S",),
    ("B",),
    (2, "W", "S", 126),
    (4, 104),
    (4, 4),
    (4,),
    (4, 2, 2, 2, 2, 4, "B", "S", "S"),
    (4,),
    (4, 4, 4),
    (2, 2, 2, 2, 4, "B", "S", "S", "B"),
)
_CODED: dict[str, tuple[int, tuple[int, ...]]] = {
    "T": (2, (0x02, 0x01, 0x1B)),
    "K": (2, (0x04, 0x08, 0x17)),
    "A": (5, (6, 4, 1, 2, 8, 9, 10, 0, 14, 23, 20, 17, 26, 27, 32, 35, 38, 39, 40, 42, 44, 43)),
    "F": (1, (0x04, 0x08)),
    "D": (2, (0x02, 0x06, 0x20)),
    "P": (3, (0x02, 0x01, 0x1A, 0x06, 0x1B)),
    "E": (1, (0x14, 0x17)),
    "M": (1, (0x06, 0x0A)),
    "W": (1, (0x04, 0x06)),
    "C": (3, (0x06, 0x0A)),
    "R": (2, (0x00, 0x1A, 0x23, 0x01)),
}


class _Tables:
    """The metadata of one assembly."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        heaps = _streams(data, start)
        at = heaps.get(b"#~", (0, 0))[0]
        if not at or at + 24 > len(data):
            raise ExtractionError("its metadata lie beyond what is read")
        self._strings = heaps.get(b"#Strings", (0, 0))
        self._blobs = heaps.get(b"#Blob", (0, 0))
        sizes, valid = data[at + 6], int.from_bytes(data[at + 8 : at + 16], "little")
        at += 24
        self.rows = [0] * 64
        for table in range(64):
            if valid >> table & 1:
                self.rows[table] = int.from_bytes(data[at : at + 4], "little")
                at += 4
        self._widths = {"S": 4 if sizes & 1 else 2, "G": 4 if sizes & 2 else 2, "B": 4 if sizes & 4 else 2}
        for code, (bits, tables) in _CODED.items():
            self._widths[code] = 4 if max(self.rows[table] for table in tables) >= 1 << (16 - bits) else 2
        self._starts: list[int] = []
        for table, columns in enumerate(_COLUMNS):
            self._starts.append(at)
            at += self.rows[table] * sum(self._width(column) for column in columns)

    def _width(self, column: int | str) -> int:
        if isinstance(column, str):
            return self._widths[column]
        return column if column < 100 else 4 if self.rows[column - 100] >= 1 << 16 else 2

    def row(self, table: int, number: int) -> list[int]:
        """The columns of a row, counted from 1."""
        widths = [self._width(column) for column in _COLUMNS[table]]
        at = self._starts[table] + (number - 1) * sum(widths)
        if not 1 <= number <= self.rows[table] or at + sum(widths) > len(self._data):
            raise ExtractionError("its metadata are malformed or lie beyond what is read")
        values = []
        for width in widths:
            values.append(int.from_bytes(self._data[at : at + width], "little"))
            at += width
        return values

    def all(self, table: int) -> Iterator[list[int]]:
        return (self.row(table, number) for number in range(1, min(self.rows[table], _MAX_ROWS) + 1))

    def string(self, index: int) -> str:
        start, size = self._strings
        if index >= size:
            return ""
        raw = self._data[start + index : start + min(size, index + 512)].partition(b"\0")[0]
        return raw.decode("utf-8", "replace")

    def blob(self, index: int) -> bytes:
        start, size = self._blobs
        if index >= size:
            return b""
        length, at = _compressed(self._data, start + index)
        return self._data[at : at + min(length, 4096)]


def read(path: str, data: bytes) -> Iterable[Manifest]:
    """One manifest for an assembly, none for a library that is not .NET. Raises ExtractionError."""
    start = _metadata(data)
    if start is None:
        return []
    tables = _Tables(data, start)
    assembly = next(tables.all(_ASSEMBLY), None)
    if assembly is None:
        return []
    name = tables.string(assembly[7])
    references = [(tables.string(row[6]), ".".join(map(str, row[:4]))) for row in tables.all(_ASSEMBLY_REF)]
    own = [ref for ref in references if not ref[0].lower().startswith(_FRAMEWORK)]
    plugins, dependencies = _bepinex(tables)
    provides = [name, *(guid for guid, _, _ in plugins)]
    manifest = Manifest(
        extractor="dotnet",
        path=path,
        id=plugins[0][0] if plugins else name,
        name=plugins[0][1] if plugins else name,
        version=plugins[0][2] if plugins else ".".join(map(str, assembly[1:5])),
        dependencies=tuple(dependencies),
        provides=tuple(provides),
        loaders=("bepinex",) if plugins else (),
        data={
            "assembly": name,
            "assembly_version": ".".join(map(str, assembly[1:5])),
            "references": [{"assembly": other, "version": version} for other, version in own],
        },
    )
    return [manifest]


def _metadata(data: bytes) -> int | None:
    """Where the metadata root lies; None where there is none (a native library)."""
    if data[:2] != b"MZ" or len(data) < 64:
        return None
    pe = int.from_bytes(data[60:64], "little")
    if data[pe : pe + 4] != b"PE\0\0" or pe + 264 > len(data):
        return None
    sections, optional_size = struct.unpack_from("<H12xH", data, pe + 6)
    wide = data[pe + 24 : pe + 26] == b"\x0b\x02"
    directory = pe + 24 + (224 if wide else 208)
    if optional_size < (232 if wide else 216):
        return None
    header = _place(data, pe + 24 + optional_size, sections, int.from_bytes(data[directory : directory + 4], "little"))
    if header is None or header + 16 > len(data):
        return None
    root = int.from_bytes(data[header + 8 : header + 12], "little")
    start = _place(data, pe + 24 + optional_size, sections, root)
    if start is None or data[start : start + 4] != b"BSJB":
        raise ExtractionError("its metadata lie beyond what is read")
    return start


def _place(data: bytes, table: int, sections: int, address: int) -> int | None:
    """The offset in the file of a virtual address."""
    if not address:
        return None
    for number in range(min(sections, 96)):
        at = table + 40 * number
        if at + 40 > len(data):
            return None
        size, start, raw_size, raw = struct.unpack_from("<4I", data, at + 8)
        if start <= address < start + max(size, raw_size):
            return int(raw + address - start)
    return None


def _streams(data: bytes, start: int) -> dict[bytes, tuple[int, int]]:
    """The heaps: name to place and size."""
    length = int.from_bytes(data[start + 12 : start + 16], "little")
    at = start + 16 + length
    if length > 256 or at + 4 > len(data):
        raise ExtractionError("its metadata are malformed")
    count = int.from_bytes(data[at + 2 : at + 4], "little")
    at += 4
    found: dict[bytes, tuple[int, int]] = {}
    for _ in range(min(count, 16)):
        if at + 8 > len(data):
            raise ExtractionError("its metadata are malformed")
        offset, size = struct.unpack_from("<2I", data, at)
        name = data[at + 8 : at + 40].partition(b"\0")[0]
        found[name] = (start + offset, size)
        at += 8 + (len(name) // 4 + 1) * 4
    return found


def _compressed(data: bytes, at: int) -> tuple[int, int]:
    """A compressed unsigned number (II.23.2) and where it ends."""
    if at >= len(data):
        raise ExtractionError("its metadata lie beyond what is read")
    first = data[at]
    if first < 0x80:
        return first, at + 1
    if first < 0xC0:
        return int.from_bytes(data[at : at + 2], "big") & 0x3FFF, at + 2
    return int.from_bytes(data[at : at + 4], "big") & 0x1FFFFFFF, at + 4


def _bepinex(tables: _Tables) -> tuple[list[tuple[str, str, str]], list[Dependency]]:
    """The plugins that an assembly declares (guid, name, version), and what they depend on."""
    wanted: dict[int, str] = {}
    for number, row in enumerate(tables.all(_MEMBER_REF), 1):
        if row[0] & 7 == 1 and tables.string(row[1]) == ".ctor":
            attribute = tables.string(tables.row(_TYPE_REF, row[0] >> 3)[1])
            if attribute in ("BepInPlugin", "BepInDependency"):
                wanted[number] = attribute
    plugins: list[tuple[str, str, str]] = []
    dependencies: list[Dependency] = []
    if not wanted:
        return plugins, dependencies
    for _, kind, value in tables.all(_CUSTOM_ATTRIBUTE):
        attribute = wanted.get(kind >> 3, "") if kind & 7 == 3 else ""
        if attribute == "BepInPlugin":
            guid, name, version = (*_texts(tables.blob(value), 3), "", "", "")[:3]
            plugins.append((guid, name, version))
        elif attribute == "BepInDependency":
            blob = tables.blob(value)
            guid = (*_texts(blob, 1), "")[0]
            soft = blob[-6:-2] == b"\x02\0\0\0"  # DependencyFlags.SoftDependency, before the count of named arguments
            dependencies.append(Dependency(guid, "recommends" if soft else "requires"))
    return plugins, [item for item in dependencies if item.id]


def _texts(blob: bytes, count: int) -> list[str]:
    """The first strings of a custom attribute's value (II.23.3)."""
    at, found = 2, list[str]()
    while len(found) < count and at < len(blob) and blob[at] != 0xFF:
        length, at = _compressed(blob, at)
        found.append(blob[at : at + length].decode("utf-8", "replace")[:512])
        at += length
    return found


EXTRACTOR = Extractor("dotnet", r"(?:.*/)?[^/]+\.dll", MAX_BYTES, read, whole=False)
