"""SMAPI, Thunderstore, Factorio, RimWorld and Kerbal Space Program."""

from __future__ import annotations

import json

import pytest

from loadstone.archives.extractors.registry import ExtractionError
from tests.archives.extractors.reading import read, relations

SMAPI = """\ufeff{
  // comments and trailing commas are how people write these
  "Name": "Lantern", "Author": "Ann", "Version": "1.2.0", /* really */
  "uniqueid": "Ann.Lantern", "EntryDll": "Lantern.dll", "MinimumApiVersion": "4.0.0",
  "MinimumGameVersion": "1.6.0",
  "Dependencies": [
    {"UniqueID": "Pathos.ContentPatcher", "MinimumVersion": "2.0.0"},
    {"UniqueID": "spacechase0.GMCM", "IsRequired": false},
  ],
  "UpdateKeys": ["Nexus:123", "GitHub:a/b"],
}"""


def test_a_smapi_mod_is_read_as_people_write_it() -> None:
    (manifest,) = read("Lantern/manifest.json", SMAPI)
    assert (manifest.id, manifest.version, manifest.loaders) == ("Ann.Lantern", "1.2.0", ("smapi",))
    assert manifest.game_builds == (">=1.6.0",)
    assert manifest.data["update_keys"] == ["Nexus:123", "GitHub:a/b"]
    assert relations(manifest) == {
        ("requires", "Pathos.ContentPatcher", ">=2.0.0"),
        ("recommends", "spacechase0.GMCM", ""),
    }


def test_a_content_pack_requires_its_host() -> None:
    pack = {
        "UniqueID": "Ann.Pack",
        "Version": {"MajorVersion": 1, "MinorVersion": 4},
        "ContentPackFor": {"UniqueID": "Host"},
    }
    (manifest,) = read("[CP] Pack/manifest.json", json.dumps(pack))
    assert manifest.version == "1.4.0"
    assert manifest.warnings == ()
    assert relations(manifest) == {("requires", "Host", "")}


def test_a_thunderstore_package_names_its_dependencies() -> None:
    package = {
        "name": "Lantern",
        "version_number": "1.2.0",
        "website_url": "https://example.org",
        "description": "Light",
        "dependencies": ["BepInEx-BepInExPack-5.4.2100", "Evil-Team-Lib_X-0.1.0"],
    }
    (manifest,) = read("manifest.json", json.dumps(package))
    assert manifest.loaders == ("bepinex",)
    assert relations(manifest) == {
        ("requires", "BepInEx-BepInExPack", ">=5.4.2100"),
        ("requires", "Evil-Team-Lib_X", ">=0.1.0"),
    }


def test_a_manifest_belongs_to_one_ecosystem_only() -> None:
    assert [item.extractor for item in read("manifest.json", SMAPI)] == ["smapi"]
    assert read("manifest.json", '{"manifest_version": 3, "name": "a browser extension"}') == []


def test_a_thunderstore_package_is_warned_about_its_mistakes() -> None:
    bad = {"name": "Two Words", "version_number": "1.2", "dependencies": ["nonsense", 5]}
    assert len(read("manifest.json", json.dumps(bad))[0].warnings) == 4


def test_a_factorio_mod_tells_all_kinds_of_dependencies() -> None:
    info = {
        "name": "lantern",
        "version": "1.2.0",
        "title": "Lantern",
        "author": "Ann",
        "factorio_version": "2.0",
        "dependencies": ["base >= 2.0.7", "? flib", "! old-light", "(?) zzz >= 1.0", "~ lib = 0.1.2", "+ nice"],
    }
    (manifest,) = read("lantern_1.2.0/info.json", json.dumps(info))
    assert manifest.warnings == ()
    assert manifest.game_builds == ("2.0",)
    assert relations(manifest) == {
        ("requires", "base", ">= 2.0.7"),
        ("recommends", "flib", ""),
        ("conflicts", "old-light", ""),
        ("after", "zzz", ">= 1.0"),
        ("requires", "lib", "= 0.1.2"),
        ("recommends", "nice", ""),
    }


def test_a_factorio_mod_in_the_wrong_folder_is_warned_about() -> None:
    info = json.dumps({"name": "lantern", "version": "one", "dependencies": ["", "a >> 1"]})
    assert len(read("wrong/info.json", info)[0].warnings) == 3


ABOUT = """<?xml version="1.0" encoding="utf-8"?>
<ModMetaData>
  <name>Lantern</name><author>Ann, Ben</author><packageId>Ann.Lantern</packageId>
  <supportedVersions><li>1.4</li><li>1.5</li></supportedVersions>
  <modDependencies><li><packageId>brrainz.harmony</packageId><displayName>Harmony</displayName></li></modDependencies>
  <modDependenciesByVersion><v1.5><li><packageId>New.Lib</packageId></li></v1.5></modDependenciesByVersion>
  <loadAfter><li>Ludeon.RimWorld</li></loadAfter><loadBefore><li>Some.Mod</li></loadBefore>
  <incompatibleWith><li>Old.Light</li></incompatibleWith>
</ModMetaData>"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_rimworld_mod_is_read_in_the_encodings_of_its_editors(encoding: str) -> None:
    text = ABOUT.replace('encoding="utf-8"', 'encoding="utf-16"') if encoding == "utf-16" else ABOUT
    (manifest,) = read("Lantern/About/About.xml", text.encode(encoding))
    assert (manifest.id, manifest.authors) == ("ann.lantern", ("Ann", "Ben"))
    assert manifest.game_builds == ("1.4", "1.5")
    assert relations(manifest) == {
        ("requires", "brrainz.harmony", ""),
        ("requires", "new.lib", ""),
        ("after", "ludeon.rimworld", ""),
        ("before", "some.mod", ""),
        ("conflicts", "old.light", ""),
    }


def test_a_rimworld_mod_without_an_id_is_warned_about() -> None:
    assert read("About/About.xml", "<ModMetaData><name>x</name></ModMetaData>")[0].warnings


def test_an_avc_file_gives_version_and_game() -> None:
    avc = {
        "NAME": "Lantern",
        "URL": "https://example.org/l.version",
        "VERSION": {"MAJOR": 1, "MINOR": 2, "PATCH": 0, "BUILD": 3},
        "KSP_VERSION": "1.12.5",
        "KSP_VERSION_MIN": {"MAJOR": 1, "MINOR": 8, "PATCH": -1},
        "KSP_VERSION_MAX": {"MAJOR": 1, "MINOR": 12},
    }
    (manifest,) = read("GameData/Lantern/Lantern.version", json.dumps(avc))
    assert (manifest.version, manifest.game_builds) == ("1.2.0.3", (">=1.8 <=1.12",))
    (plain,) = read("a.version", '{"name": "x", "version": "1.0", "ksp_version": "any",}')
    assert (plain.version, plain.game_builds) == ("1.0", ())


def test_a_ckan_file_gives_its_relations() -> None:
    ckan = {
        "identifier": "Lantern",
        "version": "1:1.2.0",
        "author": ["Ann", "Ben"],
        "ksp_version_min": "1.8",
        "depends": [{"name": "ModuleManager", "min_version": "4.0"}, {"any_of": [{"name": "A"}, {"name": "B"}]}],
        "conflicts": [{"name": "OldLight", "version": "1"}],
        "suggests": [{"name": "Nice"}],
        "supports": [{"name": "Friend"}],
        "provides": ["LightProvider"],
    }
    (manifest,) = read("Lantern.ckan", json.dumps(ckan))
    assert manifest.provides == ("Lantern", "LightProvider")
    assert relations(manifest) == {
        ("requires", "ModuleManager", ">=4.0"),
        ("requires", "A|B", ""),
        ("conflicts", "OldLight", "=1"),
        ("recommends", "Nice", ""),
        ("works_with", "Friend", ""),
    }


ENTITY = '<!DOCTYPE x [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;">]><ModMetaData><name>&b;</name></ModMetaData>'
EXTERNAL = '<!DOCTYPE x SYSTEM "file:///etc/passwd"><ModMetaData/>'


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("manifest.json", "not json"),
        ("manifest.json", "[1, 2"),
        ("manifest.json", '"' + "\\" * 100_001),
        ("manifest.json", "/*" * 60_000),
        ("manifest.json", "," * 100_000),
        ("x/info.json", "{}"),
        ("x/info.json", "[]"),
        ("x/info.json", '{"name": ["a"]}'),
        ("x/info.json", b"\x80"),
        ("x/info.json", '{"name": "' + "a" * 10),
        ("About/About.xml", ""),
        ("About/About.xml", ENTITY),
        ("About/About.xml", EXTERNAL),
        ("About/About.xml", "<a>" * 100),
        ("About/About.xml", "<ModMetaData>" + "<a/>" * 100_000 + "</ModMetaData>"),
        ("About/About.xml", "<Other/>"),
        ("About/About.xml", "<ModMetaData><name></ModMetaData>"),
        ("About/About.xml", b'<?xml version="1.0" encoding="no-such"?><ModMetaData/>'),
        ("a.version", "{}"),
        ("a.version", "1.2.3"),
        ("a.version", b"\0" * 50),
        ("a.ckan", "{}"),
        ("a.ckan", "[" * 5_000),
    ],
)
def test_a_hostile_manifest_is_an_error_of_the_manifest_only(path: str, data: bytes | str) -> None:
    with pytest.raises(ExtractionError):
        read(path, data)


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("manifest.json", '{"UniqueID": "a", "Dependencies": [1, null, [], {"UniqueID": {}}], "Author": [{}]}'),
        ("manifest.json", '{"version_number": [], "name": 1}'),
        ("x/info.json", '{"name": "x", "dependencies": {"a": 1}, "version": 5}'),
        ("a.ckan", '{"identifier": "x", "depends": [null, 3, {"any_of": 7}], "author": {}}'),
        ("a.version", '{"NAME": "x", "VERSION": [[]], "KSP_VERSION": {"MAJOR": {}}}'),
    ],
)
def test_values_of_the_wrong_type_are_left_out(path: str, data: str) -> None:
    assert all(isinstance(item.version, str) for item in read(path, data))
