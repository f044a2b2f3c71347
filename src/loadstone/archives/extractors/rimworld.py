"""RimWorld mods. Source: the RimWorld wiki's "Modding Tutorials/About.xml"."""

from __future__ import annotations

from collections.abc import Iterable

from loadstone.archives.extractors.documents import Node, parse_xml
from loadstone.archives.extractors.registry import ExtractionError, Extractor
from loadstone.archives.model import Dependency, DependencyKind, Manifest

_LISTS: dict[str, DependencyKind] = {
    "loadAfter": "after",
    "forceLoadAfter": "after",
    "loadBefore": "before",
    "forceLoadBefore": "before",
    "incompatibleWith": "conflicts",
}


def read(path: str, data: bytes) -> Iterable[Manifest]:
    """One manifest. Package ids are case-blind and given in lower case. Raises ExtractionError."""
    root = parse_xml(data)
    if root.tag.lower() != "modmetadata":
        raise ExtractionError("it is not a ModMetaData document")
    package = root.value("packageId").lower()
    dependencies = [*_required(root.first("modDependencies"))]
    by_version = root.first("modDependenciesByVersion")
    for versioned in by_version.children if by_version else []:
        dependencies += [item for item in _required(versioned) if item not in dependencies]
    for tag, kind in _LISTS.items():
        dependencies += [Dependency(name.lower(), kind) for name in root.items(tag)]
    authors = root.items("authors") or [name.strip() for name in root.value("author").split(",")]
    manifest = Manifest(
        extractor="rimworld",
        path=path,
        id=package,
        name=root.value("name"),
        version=root.value("modVersion"),
        authors=tuple(name for name in authors if name)[:50],
        dependencies=tuple(dependencies),
        provides=(package,) if package else (),
        game_builds=tuple(root.items("supportedVersions") or filter(None, [root.value("targetVersion")])),
        warnings=() if package else ("The mod has no packageId; the game will not load it.",),
    )
    return [manifest]


def _required(node: Node | None) -> list[Dependency]:
    found = (item.value("packageId").lower() for item in (node.children if node else [])[:500])
    return [Dependency(package) for package in found if package]


EXTRACTOR = Extractor("rimworld", r"(?:[^/]+/){0,3}About/About\.xml", 512 * 1024, read)
