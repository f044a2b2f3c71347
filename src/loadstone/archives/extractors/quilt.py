"""Quilt mods. Source: QuiltMC RFC 0002, "quilt.mod.json"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from loadstone.archives.extractors.documents import listed, mapping, parse_object, text, texts
from loadstone.archives.extractors.registry import ExtractionError, Extractor
from loadstone.archives.model import Dependency, DependencyKind, Manifest, Side

_SIDES: dict[str, Side] = {"client": "client", "dedicated_server": "server", "*": "both", "": "both"}


def read(path: str, data: bytes) -> Iterable[Manifest]:
    """One manifest. Raises ExtractionError."""
    document = parse_object(data, comments=True)
    loader = mapping(document.get("quilt_loader"))
    mod_id = text(loader.get("id"))
    if not mod_id:
        raise ExtractionError("it has no id")
    about = mapping(loader.get("metadata"))
    dependencies = [*_relations(loader.get("depends"), "requires"), *_relations(loader.get("breaks"), "conflicts")]
    dependencies += [Dependency(jar, "embeds") for jar in texts(loader.get("jars"))]
    provided = (text(mapping(item).get("id")) or text(item) for item in listed(loader.get("provides")))
    environment = text(mapping(document.get("minecraft")).get("environment"))
    manifest = Manifest(
        extractor="quilt",
        path=path,
        id=mod_id,
        name=text(about.get("name")),
        version=text(loader.get("version")),
        authors=tuple(str(name)[:200] for name in mapping(about.get("contributors"))),
        dependencies=tuple(dependencies),
        provides=(mod_id, *filter(None, provided)),
        loaders=("quilt",),
        game_builds=tuple(item.versions for item in dependencies if item.id == "minecraft" and item.kind == "requires"),
        side=_SIDES.get(environment, ""),
        data={"group": text(loader.get("group"))},
    )
    return [manifest]


def _relations(value: object, kind: DependencyKind) -> Iterator[Dependency]:
    """Strings, objects, and lists of them, of which any one is enough (kept apart by a shared `|` in the
    id).
    """
    for item in listed(value):
        if isinstance(item, list):
            names = [name for name in (_name(choice) for choice in item[:50]) if name]
            if names:
                yield Dependency("|".join(names), kind, _versions(item[0]) if len(item) == 1 else "")
        elif _name(item):
            optional = kind == "requires" and mapping(item).get("optional") is True
            yield Dependency(_name(item), "recommends" if optional else kind, _versions(item))


def _name(item: object) -> str:
    full = text(mapping(item).get("id")) or text(item)
    return full.rpartition(":")[2]


def _versions(item: object) -> str:
    value = mapping(item).get("versions")
    if isinstance(value, dict):
        joined = " && " if "all" in value else " || "
        return joined.join(texts(value.get("all") or value.get("any")))
    return " || ".join(texts(value))


EXTRACTOR = Extractor("quilt", r"quilt\.mod\.json", 512 * 1024, read)
