"""Plugins of Bethesda's games, Morrowind to Starfield: masters, and the flags that decide their place.

Source: the UESP pages "Mod File Format" of each game; xEdit's record definitions.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from loadstone.archives.extractors.registry import ExtractionError, Extractor
from loadstone.archives.model import Dependency, Manifest

_BYTES = 256 * 1024
_MAX_MASTERS = 4096
_MASTER, _LOCALIZED, _COMPRESSED = 0x1, 0x80, 0x40000
_LIGHT, _STARFIELD_SMALL, _STARFIELD_OVERLAY, _STARFIELD_MEDIUM = 0x200, 0x100, 0x200, 0x400


def read(path: str, data: bytes) -> Iterable[Manifest]:
    """One manifest a plugin. Raises ExtractionError."""
    name = path.rpartition("/")[2]
    if data[:4] == b"TES3":
        return [_morrowind(path, name, data)]
    if data[:4] == b"TES4":
        return [_later(path, name, data)]
    raise ExtractionError("it is not a plugin of a Bethesda game")


def _morrowind(path: str, name: str, data: bytes) -> Manifest:
    if len(data) < 16:
        raise ExtractionError("its header is cut")
    end = 16 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise ExtractionError("its header is cut")
    masters: list[str] = []
    author, master_type, version = "", False, 0.0
    for kind, body in _wide_fields(data[16:end]):
        if kind == b"HEDR" and len(body) >= 300:
            version = struct.unpack_from("<f", body)[0]
            master_type = int.from_bytes(body[4:8], "little") & 1 == 1
            author = _zstring(body[8:40])
        elif kind == b"MAST":
            masters.append(_zstring(body))
    facts = {"game": "morrowind", "master": master_type, "header_version": round(version, 3)}
    return _manifest(path, name, masters, author, facts, ())


def _wide_fields(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + size > len(data):
            raise ExtractionError("its header is malformed")
        yield data[at : at + 4], data[at + 8 : at + 8 + size]
        at += 8 + size


def _later(path: str, name: str, data: bytes) -> Manifest:
    if len(data) < 30:
        raise ExtractionError("its header is cut")
    size, flags = struct.unpack_from("<II", data, 4)
    start = 20 if data[20:24] == b"HEDR" else 24
    form = 0 if start == 20 else int.from_bytes(data[20:22], "little")
    if flags & _COMPRESSED or data[start : start + 4] != b"HEDR":
        raise ExtractionError("its header is malformed")
    if start + size > len(data):
        raise ExtractionError("its header is cut or too large")
    masters: list[str] = []
    author, version, records = "", 0.0, 0
    for kind, body in _fields(data[start : start + size]):
        if kind == b"HEDR" and len(body) >= 8:
            version, records = struct.unpack_from("<fi", body)
        elif kind == b"CNAM":
            author = _zstring(body)
        elif kind == b"MAST" and len(masters) < _MAX_MASTERS:
            masters.append(_zstring(body))
    game = _game(start, form)
    facts = _flags(game, name, flags) | {"game": game, "header_version": round(version, 3), "records": records}
    warnings = []
    if name.lower().endswith(".esm") and not flags & _MASTER:
        warnings.append("The file is named .esm and is not flagged as a master.")
    if len({master.lower() for master in masters}) != len(masters):
        warnings.append("A master is listed twice.")
    return _manifest(path, name, masters, author, facts, tuple(warnings))


def _fields(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Fields with 16-bit sizes; an XXXX field gives the size of the next."""
    at, wide = 0, -1
    while at + 6 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 6], "little")
        if kind == b"XXXX" and size == 4:
            wide = int.from_bytes(data[at + 6 : at + 10], "little")
            at += 10
            continue
        size, wide = (wide if wide >= 0 else size), -1
        if at + 6 + size > len(data):
            raise ExtractionError("its header is malformed")
        yield kind, data[at + 6 : at + 6 + size]
        at += 6 + size


def _game(start: int, form: int) -> str:
    """The game whose editor wrote this form version (xEdit, wbDefinitions*)."""
    if start == 20:
        return "oblivion"
    for limit, game in ((39, "fallout"), (43, "skyrim"), (44, "skyrim-special-edition"), (152, "fallout-4")):
        if form <= limit:
            return game
    return "fallout-76" if form < 400 else "starfield"


def _flags(game: str, name: str, flags: int) -> dict[str, object]:
    lower = name.lower()
    facts: dict[str, object] = {
        "master": bool(flags & _MASTER) or lower.endswith((".esm", ".esl")),
        "localized": bool(flags & _LOCALIZED),
    }
    if game == "starfield":
        facts["light"] = bool(flags & _STARFIELD_SMALL) or lower.endswith(".esl")
        facts["medium"] = bool(flags & _STARFIELD_MEDIUM)
        facts["overlay"] = bool(flags & _STARFIELD_OVERLAY)
    elif game in ("skyrim-special-edition", "fallout-4"):
        facts["light"] = bool(flags & _LIGHT) or lower.endswith(".esl")
    return facts


def _manifest(
    path: str, name: str, masters: list[str], author: str, facts: dict[str, object], warnings: tuple[str, ...]
) -> Manifest:
    return Manifest(
        extractor="bethesda-plugin",
        path=path,
        id=name,
        authors=(author,) if author and author != "DEFAULT" else (),
        dependencies=tuple(Dependency(master) for master in masters if master),
        provides=(name,),
        warnings=warnings,
        data=facts,
    )


def _zstring(body: bytes) -> str:
    raw = body.partition(b"\0")[0][:512]
    try:
        return raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace").strip()


EXTRACTOR = Extractor("bethesda-plugin", r"(?:.*/)?[^/]+\.es[mpl]", _BYTES, read, whole=False)
