"""Fabric mods. Source: the Fabric wiki's "fabric.mod.json specification", schema versions 0 and 1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from loadstone.archives.extractors.documents import listed, mapping, parse_json, parse_object, text, texts
from loadstone.archives.extractors.registry import ExtractionError, Extractor
from loadstone.archives.model import Dependency, DependencyKind, Manifest, Side

_KINDS: dict[str, DependencyKind] = {
    "depends": "requires",
    "recommends": "recommends",
    "suggests": "recommends",
    "conflicts": "discouraged",
    "breaks": "conflicts",
}
_SIDES: dict[str, Side] = {"client": "client", "server": "server", "*": "both", "": "both"}


def read(path: str, data: bytes) -> Iterable[Manifest]:
    """One manifest (or a list of them, which schema 0 allowed)."""
    if data.lstrip()[:1] == b"[":
        return [_manifest(path, mapping(item)) for item in listed(parse_json(data))[:50]]
    return [_manifest(path, parse_object(data, comments=True))]


def _manifest(path: str, fields: dict[str, Any]) -> Manifest:
    mod_id = text(fields.get("id"))
    if not mod_id:
        raise ExtractionError("it has no id")
    dependencies = [
        Dependency(other, kind, versions(predicate))
        for key, kind in _KINDS.items()
        for other, predicate in mapping(fields.get(key)).items()
    ]
    embedded = [text(mapping(jar).get("file")) for jar in listed(fields.get("jars"))]
    dependencies += [Dependency(jar, "embeds") for jar in embedded if jar]
    provides = [mod_id, *texts(fields.get("provides"))]
    return Manifest(
        extractor="fabric",
        path=path,
        id=mod_id,
        name=text(fields.get("name")),
        version=text(fields.get("version")),
        authors=tuple(filter(None, (_person(author) for author in listed(fields.get("authors"))))),
        dependencies=tuple(dependencies),
        provides=tuple(provides),
        loaders=("fabric",),
        game_builds=tuple(item.versions for item in dependencies if item.id == "minecraft" and item.kind == "requires"),
        side=_SIDES.get(text(fields.get("environment")), ""),
        data={"license": list(texts(fields.get("license")))},
    )


def versions(predicate: object) -> str:
    """A version predicate; a list means any of them."""
    return " || ".join(texts(predicate)).strip()


def _person(author: object) -> str:
    return text(mapping(author).get("name")) or text(author)


EXTRACTOR = Extractor("fabric", r"fabric\.mod\.json", 512 * 1024, read)
