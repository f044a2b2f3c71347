"""Thunderstore packages (BepInEx and other loaders). Source: thunderstore.io "Package format"."""

from __future__ import annotations

import re
from collections.abc import Iterable

from loadstone.archives.extractors.documents import parse_object, text, texts
from loadstone.archives.extractors.registry import Extractor
from loadstone.archives.model import Dependency, Manifest

_DEPENDENCY = re.compile(r"([A-Za-z0-9_.-]+)-([A-Za-z0-9_]+)-(\d+\.\d+\.\d+)\Z")
_NAME = re.compile(r"[A-Za-z0-9_]{1,128}\Z")
_VERSION = re.compile(r"\d+\.\d+\.\d+\Z")


def read(path: str, data: bytes) -> Iterable[Manifest]:
    """One manifest, or none where the file belongs to another ecosystem."""
    fields = parse_object(data, comments=True)
    version = text(fields.get("version_number"))
    if not version:
        return []
    name = text(fields.get("name"))
    warnings = []
    if not _NAME.match(name):
        warnings.append("The name may contain letters, digits and underscores only.")
    if not _VERSION.match(version):
        warnings.append("The version must have the form 1.2.3.")
    dependencies: list[Dependency] = []
    for reference in texts(fields.get("dependencies")):
        found = _DEPENDENCY.match(reference)
        if found is None:
            warnings.append(f"The dependency {reference[:80]!r} is not of the form Team-Name-1.2.3.")
            continue
        dependencies.append(Dependency(f"{found[1]}-{found[2]}", "requires", f">={found[3]}"))
    bepinex = any("bepinex" in dependency.id.lower() for dependency in dependencies)
    manifest = Manifest(
        extractor="thunderstore",
        path=path,
        id=name,
        name=name,
        version=version,
        dependencies=tuple(dependencies),
        provides=(name,) if name else (),
        loaders=("bepinex",) if bepinex else (),
        warnings=tuple(warnings),
        data={"website": text(fields.get("website_url")), "description": text(fields.get("description"))},
    )
    return [manifest]


EXTRACTOR = Extractor("thunderstore", r"manifest\.json", 256 * 1024, read)
