"""Kerbal Space Program: KSP-AVC version files and .ckan metadata.

Source: ksp-avc.cybutek.net documents; KSP-CKAN's Spec.md and CKAN.schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from loadstone.archives.extractors.documents import listed, mapping, parse_object, text, texts
from loadstone.archives.extractors.registry import ExtractionError, Extractor
from loadstone.archives.model import Dependency, DependencyKind, Manifest

_KINDS: dict[str, DependencyKind] = {
    "depends": "requires",
    "recommends": "recommends",
    "suggests": "recommends",
    "supports": "works_with",
    "conflicts": "conflicts",
}


def read_avc(path: str, data: bytes) -> Iterable[Manifest]:
    """A KSP-AVC file. Keys are read without regard to case."""
    fields = {key.upper(): value for key, value in parse_object(data, comments=True).items()}
    name = text(fields.get("NAME"))
    if not name:
        raise ExtractionError("it has no NAME")
    exact, least, most = (_version(fields.get(key)) for key in ("KSP_VERSION", "KSP_VERSION_MIN", "KSP_VERSION_MAX"))
    manifest = Manifest(
        extractor="ksp-avc",
        path=path,
        id=name,
        name=name,
        version=_version(fields.get("VERSION")),
        game_builds=_builds(exact, least, most),
        data={"url": text(fields.get("URL"))},
    )
    return [manifest]


def _builds(exact: str, least: str, most: str) -> tuple[str, ...]:
    bounds = " ".join(part for part in (least and f">={least}", most and f"<={most}") if part)
    return tuple(part for part in (bounds or exact,) if part)


def _version(value: object) -> str:
    """A string or an object of MAJOR, MINOR, PATCH, BUILD; -1 and `any` mean any."""
    if not isinstance(value, dict):
        return text(value) if text(value).lower() != "any" else ""
    fields = {str(key).upper(): part for key, part in value.items()}
    parts: list[str] = []
    for key in ("MAJOR", "MINOR", "PATCH", "BUILD"):
        part = text(fields.get(key))
        if not part or part == "-1":
            break
        parts.append(part)
    return ".".join(parts)


def read_ckan(path: str, data: bytes) -> Iterable[Manifest]:
    """A .ckan file. Raises ExtractionError."""
    fields = parse_object(data)
    identifier = text(fields.get("identifier"))
    if not identifier:
        raise ExtractionError("it has no identifier")
    dependencies = [item for key, kind in _KINDS.items() for item in _relations(fields.get(key), kind)]
    exact, least, most = (text(fields.get(key)) for key in ("ksp_version", "ksp_version_min", "ksp_version_max"))
    manifest = Manifest(
        extractor="ckan",
        path=path,
        id=identifier,
        name=text(fields.get("name")),
        version=text(fields.get("version")),
        authors=texts(fields.get("author")),
        dependencies=tuple(dependencies),
        provides=(identifier, *texts(fields.get("provides"))),
        game_builds=_builds("" if exact == "any" else exact, least, most),
        data={"license": list(texts(fields.get("license"))), "tags": list(texts(fields.get("tags")))},
    )
    return [manifest]


def _relations(value: object, kind: DependencyKind) -> Iterator[Dependency]:
    """Named relations; any_of becomes one whose names are joined by `|`."""
    for item in map(mapping, listed(value)):
        if "any_of" in item:
            names = [text(mapping(choice).get("name")) for choice in listed(item["any_of"])]
            yield Dependency("|".join(filter(None, names)), kind)
        elif text(item.get("name")):
            yield Dependency(text(item.get("name")), kind, _range(item))


def _range(item: dict[str, Any]) -> str:
    if text(item.get("version")):
        return f"={text(item.get('version'))}"
    least, most = text(item.get("min_version")), text(item.get("max_version"))
    return " ".join(part for part in (least and f">={least}", most and f"<={most}") if part)


EXTRACTORS = (
    Extractor("ksp-avc", r"(?:.*/)?[^/]+\.version", 64 * 1024, read_avc),
    Extractor("ckan", r"(?:.*/)?[^/]+\.ckan", 256 * 1024, read_ckan),
)
