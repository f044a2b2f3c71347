"""Fabric, Quilt, Forge and NeoForge."""

from __future__ import annotations

import json

import pytest

from loadstone.archives.extractors.registry import ExtractionError
from tests.archives.extractors.reading import read, relations

FABRIC = {
    "schemaVersion": 1,
    "id": "lantern",
    "version": "1.2.0+1.20.1",
    "name": "Lantern",
    "authors": ["Ann", {"name": "Ben", "contact": {}}],
    "license": "MIT",
    "environment": "client",
    "depends": {"minecraft": ["1.20", "1.20.1"], "fabricloader": ">=0.14", "fabric-api": "*"},
    "breaks": {"optifabric": "*"},
    "recommends": {"modmenu": "*"},
    "conflicts": {"oldlight": "<2"},
    "provides": ["torch"],
    "jars": [{"file": "META-INF/jars/lib.jar"}],
}
FORGE = """
modLoader="javafml"
loaderVersion="[47,)"
license="MIT"
[[mods]]
modId="lantern"
version="1.2.0"
displayName="Lantern"
authors="Ann, Ben"
[[dependencies.lantern]]
modId="minecraft"
mandatory=true
versionRange="[1.20,1.21)"
ordering="NONE"
side="BOTH"
[[dependencies.lantern]]
modId="jei"
mandatory=false
versionRange="[15,)"
ordering="AFTER"
side="CLIENT"
"""


def test_a_fabric_mod_tells_all_its_relations() -> None:
    (manifest,) = read("fabric.mod.json", json.dumps(FABRIC))
    assert (manifest.id, manifest.version, manifest.side) == ("lantern", "1.2.0+1.20.1", "client")
    assert manifest.authors == ("Ann", "Ben")
    assert manifest.provides == ("lantern", "torch")
    assert manifest.loaders == ("fabric",)
    assert manifest.game_builds == ("1.20 || 1.20.1",)
    assert relations(manifest) == {
        ("requires", "minecraft", "1.20 || 1.20.1"),
        ("requires", "fabricloader", ">=0.14"),
        ("requires", "fabric-api", "*"),
        ("conflicts", "optifabric", "*"),
        ("recommends", "modmenu", "*"),
        ("discouraged", "oldlight", "<2"),
        ("embeds", "META-INF/jars/lib.jar", ""),
    }


def test_line_breaks_inside_strings_are_read_as_fabric_reads_them() -> None:
    assert read("fabric.mod.json", '{"id": "a", "version": "1", "name": "two\nlines"}')[0].name == "two\nlines"


def test_a_fabric_file_deeper_in_the_archive_is_not_this_mods() -> None:
    assert read("examples/fabric.mod.json", json.dumps(FABRIC)) == []


def test_a_quilt_mod_tells_all_its_relations() -> None:
    document = {
        "schema_version": 1,
        "quilt_loader": {
            "group": "org.example",
            "id": "lantern",
            "version": "2.0.0",
            "metadata": {"name": "Lantern", "contributors": {"Ann": "Owner"}},
            "depends": [
                "quilt_base",
                {"id": "minecraft", "versions": ">=1.20"},
                {"id": "org.x:modmenu", "versions": "*", "optional": True},
                ["a", {"id": "b"}],
            ],
            "breaks": [{"id": "old", "versions": {"any": ["1", "2"]}}],
            "provides": [{"id": "torch"}, "candle"],
            "jars": ["lib.jar"],
        },
        "minecraft": {"environment": "dedicated_server"},
    }
    (manifest,) = read("quilt.mod.json", json.dumps(document))
    assert manifest.side == "server"
    assert manifest.provides == ("lantern", "torch", "candle")
    assert relations(manifest) == {
        ("requires", "quilt_base", ""),
        ("requires", "minecraft", ">=1.20"),
        ("recommends", "modmenu", "*"),
        ("requires", "a|b", ""),
        ("conflicts", "old", "1 || 2"),
        ("embeds", "lib.jar", ""),
    }


def test_a_forge_mod_tells_requirements_sides_and_order() -> None:
    (manifest,) = read("META-INF/mods.toml", FORGE)
    assert (manifest.id, manifest.name, manifest.version) == ("lantern", "Lantern", "1.2.0")
    assert manifest.loaders == ("forge",)
    assert manifest.game_builds == ("[1.20,1.21)",)
    assert ("recommends", "jei", "[15,)") in relations(manifest)
    assert ("after", "jei", "") in relations(manifest)
    assert next(item.side for item in manifest.dependencies if item.id == "jei") == "client"


def test_neoforge_has_types_of_dependencies() -> None:
    document = FORGE.replace("mandatory=true", 'type="required"').replace("mandatory=false", 'type="incompatible"')
    (manifest,) = read("META-INF/neoforge.mods.toml", document)
    assert manifest.loaders == ("neoforge",)
    assert ("conflicts", "jei", "[15,)") in relations(manifest)


def test_a_version_from_the_jar_is_not_invented() -> None:
    (manifest,) = read("META-INF/mods.toml", FORGE.replace('"1.2.0"', '"${file.jarVersion}"'))
    assert manifest.version == ""
    assert manifest.warnings


def test_jars_in_a_jar_are_embedded_dependencies() -> None:
    jar = {"identifier": {"group": "com.x", "artifact": "lib"}, "version": {"range": "[1,2)"}, "path": "lib.jar"}
    (manifest,) = read("META-INF/jarjar/metadata.json", json.dumps({"jars": [jar]}))
    assert relations(manifest) == {("embeds", "com.x:lib", "[1,2)")}


def test_the_forge_of_old_is_read() -> None:
    old = [
        {"modid": "lantern", "name": "Lantern", "version": "0.9", "mcversion": "1.7.10", "requiredMods": ["core@[1,)"]}
    ]
    for document in (old, {"modListVersion": 2, "modList": old}):
        (manifest,) = read("mcmod.info", json.dumps(document))
        assert (manifest.id, manifest.game_builds) == ("lantern", ("1.7.10",))
        assert relations(manifest) == {("requires", "core", "[1,)")}


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("fabric.mod.json", ""),
        ("fabric.mod.json", "[" * 100_000),
        ("fabric.mod.json", '{"a":' * 50_000),
        ("fabric.mod.json", b"\xff\xfe\x00"),
        ("fabric.mod.json", "null"),
        ("fabric.mod.json", "{}"),
        ("fabric.mod.json", '{"id": 5e999999, "depends": 3}'),
        ("fabric.mod.json", '{"id": {"$ne": 1}}'),
        ("quilt.mod.json", '{"quilt_loader": []}'),
        ("quilt.mod.json", '"x"'),
        ("META-INF/mods.toml", "mods = 5"),
        ("META-INF/mods.toml", "[[mods]\n"),
        ("META-INF/mods.toml", "a = " + "[" * 20_000),
        ("META-INF/mods.toml", "a.b.c.d = 1\n" * 5_000),
        ("META-INF/mods.toml", b"\x00\xff"),
        ("META-INF/jarjar/metadata.json", "[]"),
        ("mcmod.info", "{"),
    ],
)
def test_a_hostile_manifest_is_an_error_of_the_manifest_only(path: str, data: bytes | str) -> None:
    with pytest.raises(ExtractionError):
        read(path, data)
