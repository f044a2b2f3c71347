"""SMAPI manifests (Stardew Valley). Source: the wiki's "Modding:Modder Guide/APIs/Manifest"."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from loadstone.archives.extractors.documents import listed, mapping, parse_object, text, texts
from loadstone.archives.extractors.registry import Extractor
from loadstone.archives.model import Dependency, Manifest


def read(path: str, data: bytes) -> Iterable[Manifest]:
    """One manifest, or none where the file belongs to another ecosystem. Keys are read without regard to
    case.
    """
    fields = _lower(parse_object(data, comments=True))
    unique_id = text(fields.get("uniqueid"))
    if not unique_id:
        return []
    dependencies = [
        Dependency(
            text(item.get("uniqueid")),
            "requires" if item.get("isrequired", True) is not False else "recommends",
            _at_least(text(item.get("minimumversion"))),
        )
        for item in map(_lower, map(mapping, listed(fields.get("dependencies"))))
        if text(item.get("uniqueid"))
    ]
    host = _lower(mapping(fields.get("contentpackfor")))
    if text(host.get("uniqueid")):
        dependencies.append(
            Dependency(text(host.get("uniqueid")), "requires", _at_least(text(host.get("minimumversion"))))
        )
    warnings = []
    if not host and not text(fields.get("entrydll")):
        warnings.append("The manifest names neither EntryDll nor ContentPackFor.")
    game, loader = text(fields.get("minimumgameversion")), text(fields.get("minimumapiversion"))
    manifest = Manifest(
        extractor="smapi",
        path=path,
        id=unique_id,
        name=text(fields.get("name")),
        version=_version(fields.get("version")),
        authors=texts(fields.get("author")),
        dependencies=tuple(dependencies),
        provides=(unique_id,),
        loaders=("smapi",),
        game_builds=(_at_least(game),) if game else (),
        warnings=tuple(warnings),
        data={
            "smapi": _at_least(loader),
            "update_keys": list(texts(fields.get("updatekeys"))),
            "content_pack": bool(host),
        },
    )
    return [manifest]


def _lower(fields: dict[str, Any]) -> dict[str, Any]:
    return {key.lower(): value for key, value in fields.items()}


def _at_least(version: str) -> str:
    return f">={version}" if version else ""


def _version(value: object) -> str:
    """A string, or the object of SMAPI before 2.0."""
    if not isinstance(value, dict):
        return text(value)
    fields = _lower(value)
    numbers = ".".join(text(fields.get(f"{part}version")) or "0" for part in ("major", "minor", "patch"))
    build = text(fields.get("build"))
    return f"{numbers}-{build}" if build else numbers


EXTRACTOR = Extractor("smapi", r"(?:[^/]+/){0,4}manifest\.json", 256 * 1024, read)
