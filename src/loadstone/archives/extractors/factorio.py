"""Factorio mods. Source: the Factorio wiki's "Tutorial:Mod structure", "info.json"."""

from __future__ import annotations

import re
from collections.abc import Iterable

from loadstone.archives.extractors.documents import parse_object, text, texts
from loadstone.archives.extractors.registry import ExtractionError, Extractor
from loadstone.archives.model import Dependency, DependencyKind, Manifest

_DEPENDENCY = re.compile(
    r"\s*(!|\?|\(\?\)|~|\+)?\s*([A-Za-z0-9_\- ]+?)\s*(?:(<=|>=|=|<|>)\s*(\d+(?:\.\d+){0,2}))?\s*\Z"
)
_KINDS: dict[str, DependencyKind] = {
    "": "requires",
    "!": "conflicts",
    "?": "recommends",
    "(?)": "after",  # hidden optional: only the order of loading
    "~": "requires",  # required, and without an order of loading
    "+": "recommends",
}
_VERSION = re.compile(r"\d{1,5}\.\d{1,5}\.\d{1,5}\Z")


def read(path: str, data: bytes) -> Iterable[Manifest]:
    """One manifest. Raises ExtractionError."""
    fields = parse_object(data)
    name, version = text(fields.get("name")), text(fields.get("version"))
    if not name:
        raise ExtractionError("it has no name")
    warnings = [] if _VERSION.match(version) else ["The version must have the form 1.2.3."]
    folder = path.rpartition("!/")[2].split("/", 1)[0]
    if folder not in (name, f"{name}_{version}"):
        warnings.append(f"The folder must be called {name} or {name}_{version}.")
    dependencies: list[Dependency] = []
    for line in texts(fields.get("dependencies") or ["base"]):
        found = _DEPENDENCY.match(line)
        if found is None:
            warnings.append(f"The dependency {line[:80]!r} cannot be read.")
            continue
        versions = f"{found[3]} {found[4]}" if found[3] else ""
        dependencies.append(Dependency(found[2], _KINDS[found[1] or ""], versions))
    game = text(fields.get("factorio_version")) or "0.12"
    manifest = Manifest(
        extractor="factorio",
        path=path,
        id=name,
        name=text(fields.get("title")),
        version=version,
        authors=texts(fields.get("author")),
        dependencies=tuple(dependencies),
        provides=(name,),
        game_builds=(game,),
        warnings=tuple(warnings),
        data={key: True for key in ("quality_required", "space_travel_required") if fields.get(key) is True},
    )
    return [manifest]


EXTRACTOR = Extractor("factorio", r"[^/]+/info\.json", 128 * 1024, read)
