"""Forge and NeoForge mods, their jars within jars, and the mcmod.info of old.

Source: docs.minecraftforge.net and docs.neoforged.net, "Mod Files"; JarJar's metadata format.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from loadstone.archives.extractors.documents import listed, mapping, parse_json, parse_object, parse_toml, text, texts
from loadstone.archives.extractors.registry import ExtractionError, Extractor
from loadstone.archives.model import Dependency, DependencyKind, Manifest, Side

_TYPES: dict[str, DependencyKind] = {
    "required": "requires",
    "optional": "recommends",
    "incompatible": "conflicts",
    "discouraged": "discouraged",
}
_SIDES: dict[str, Side] = {"CLIENT": "client", "SERVER": "server", "BOTH": "both"}


def read_toml(path: str, data: bytes) -> Iterable[Manifest]:
    """One manifest for each mod in the jar. Raises ExtractionError."""
    document = parse_toml(data)
    loader = "neoforge" if path.endswith("neoforge.mods.toml") else "forge"
    relations = mapping(document.get("dependencies"))
    mods = [mod for mod in map(mapping, listed(document.get("mods"))) if text(mod.get("modId"))]
    if not mods:
        raise ExtractionError("it declares no mod")
    if any("neoforge" in _targets(relations.get(text(mod.get("modId")))) for mod in mods):
        loader = "neoforge"
    return [_manifest(path, document, mod, relations, loader) for mod in mods]


def _targets(value: object) -> set[str]:
    return {text(mapping(item).get("modId")) for item in listed(value)}


def _manifest(
    path: str, document: dict[str, Any], mod: dict[str, Any], relations: dict[str, Any], loader: str
) -> Manifest:
    mod_id, version = text(mod.get("modId")), text(mod.get("version"))
    warnings: tuple[str, ...] = ()
    if "${" in version:
        # Forge takes the version from the jar's MANIFEST.MF then.
        version, warnings = "", ("The version is taken from the jar's manifest.",)
    dependencies = [
        _dependency(mapping(item)) for item in listed(relations.get(mod_id)) if text(mapping(item).get("modId"))
    ]
    order: dict[str, DependencyKind] = {"AFTER": "after", "BEFORE": "before"}
    orders = [
        Dependency(text(mapping(item).get("modId")), order[text(mapping(item).get("ordering")).upper()])
        for item in listed(relations.get(mod_id))
        if text(mapping(item).get("ordering")).upper() in order and text(mapping(item).get("modId"))
    ]
    return Manifest(
        extractor="forge",
        path=path,
        id=mod_id,
        name=text(mod.get("displayName")),
        version=version,
        authors=texts(mod.get("authors")),
        dependencies=(*dependencies, *orders),
        provides=(mod_id,),
        loaders=(loader,),
        game_builds=tuple(item.versions for item in dependencies if item.id == "minecraft" and item.versions),
        side="client" if document.get("clientSideOnly") is True else "",
        warnings=warnings,
        data={
            "mod_loader": text(document.get("modLoader")),
            "loader_version": text(document.get("loaderVersion")),
            "license": text(document.get("license")),
        },
    )


def _dependency(item: dict[str, Any]) -> Dependency:
    kind = _TYPES.get(text(item.get("type")).lower())
    if kind is None:
        kind = "recommends" if item.get("mandatory") is False else "requires"
    side = _SIDES.get(text(item.get("side")).upper(), "")
    return Dependency(text(item.get("modId")), kind, text(item.get("versionRange")), "" if side == "both" else side)


def read_jarjar(path: str, data: bytes) -> Iterable[Manifest]:
    """The libraries that a jar carries, with the ranges of versions it accepts instead."""
    document = parse_object(data)
    embedded = []
    for jar in (mapping(item) for item in listed(document.get("jars"))):
        identifier, version = mapping(jar.get("identifier")), mapping(jar.get("version"))
        name = f"{text(identifier.get('group'))}:{text(identifier.get('artifact'))}"
        embedded.append(Dependency(name, "embeds", text(version.get("range"))))
    return [Manifest(extractor="jar-in-jar", path=path, dependencies=tuple(embedded))]


def read_mcmod(path: str, data: bytes) -> Iterable[Manifest]:
    """Forge before Minecraft 1.13."""
    document = parse_json(data, comments=True)
    mods = listed(document.get("modList")) if isinstance(document, dict) else listed(document)
    found = []
    for mod in map(mapping, mods):
        mod_id = text(mod.get("modid"))
        if not mod_id:
            continue
        game = text(mod.get("mcversion"))
        required = [
            Dependency(name.partition("@")[0], "requires", name.partition("@")[2])
            for name in texts(mod.get("requiredMods"))
        ]
        found.append(
            Manifest(
                extractor="mcmod-info",
                path=path,
                id=mod_id,
                name=text(mod.get("name")),
                version=text(mod.get("version")) if "${" not in text(mod.get("version")) else "",
                authors=texts(mod.get("authorList") or mod.get("authors")),
                dependencies=tuple(required),
                provides=(mod_id,),
                loaders=("forge",),
                game_builds=(game,) if game and "${" not in game else (),
            )
        )
    return found


EXTRACTORS = (
    Extractor("forge", r"META-INF/(?:neoforge\.)?mods\.toml", 256 * 1024, read_toml),
    Extractor("jar-in-jar", r"META-INF/jarjar/metadata\.json", 256 * 1024, read_jarjar),
    Extractor("mcmod-info", r"mcmod\.info", 256 * 1024, read_mcmod),
)
