"""Law: an extractor is one file, bounded in bytes and time, and never decides about the archive."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadstone.archives import inspect_sync
from loadstone.archives.extractors.registry import MAX_BYTES, ExtractionError, Extractor, Registry, default_registry
from loadstone.archives.gate import run_extractor
from loadstone.archives.model import Manifest
from tests.archives.zipcraft import Item, build


def test_two_extractors_of_one_name_are_refused_at_the_start() -> None:
    one = Extractor("one", "a", 10, lambda _path, _data: [])
    with pytest.raises(ValueError, match="same name"):
        Registry([one, one])


def test_an_extractor_that_wants_too_much_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="wants more"):
        Registry([Extractor("one", "a", MAX_BYTES + 1, lambda _path, _data: [])])


def test_an_extractor_that_takes_too_long_is_stopped() -> None:
    def forever(_path: str, _data: bytes) -> list[Manifest]:
        while True:
            pass

    with pytest.raises(ExtractionError, match="too long"):
        run_extractor(Extractor("slow", "a", 10, forever), "a", b"")


def test_paths_are_matched_whole_and_without_regard_to_case() -> None:
    registry = default_registry()
    assert [extractor.name for extractor in registry.wanting("Data/MOD.ESP")] == ["bethesda-plugin"]
    assert registry.wanting("Data/mod.esp.txt") == []
    assert registry.wanting("textures/a.dds") == []


def test_manifests_in_nested_jars_are_found_with_their_whole_path(tmp_path: Path) -> None:
    inner = build(Item(b"fabric.mod.json", json.dumps({"id": "inner", "version": "1"}).encode(), method=8))
    outer = build(
        Item(b"fabric.mod.json", json.dumps({"id": "outer", "version": "2"}).encode()),
        Item(b"META-INF/jars/inner.jar", inner, method=8),
    )
    path = tmp_path / "mod.jar"
    path.write_bytes(outer)
    found = {manifest.path: manifest.id for manifest in inspect_sync(path).facts.manifests}
    assert found == {"fabric.mod.json": "outer", "META-INF/jars/inner.jar!/fabric.mod.json": "inner"}


def test_a_broken_manifest_is_a_warning_and_not_a_refusal(tmp_path: Path) -> None:
    path = tmp_path / "mod.zip"
    path.write_bytes(build(Item(b"fabric.mod.json", b"{"), Item(b"x/info.json", b" " * 200_000)))
    result = inspect_sync(path)
    assert result.verdict == "accept"
    assert {warning.code for warning in result.warnings} == {"manifest-unreadable", "manifest-too-large"}


def test_every_extractor_works_inside_the_jail(tmp_path: Path) -> None:
    from tests.archives.extractors.test_bethesda import plugin
    from tests.archives.extractors.test_fomod import CONFIG
    from tests.archives.extractors.test_minecraft import FABRIC, FORGE
    from tests.archives.extractors.test_others import ABOUT, SMAPI

    files: dict[str, bytes] = {
        "a.esp": plugin("Skyrim.esm"),
        "b/manifest.json": SMAPI.encode(),
        "fabric.mod.json": json.dumps(FABRIC).encode(),
        "META-INF/mods.toml": FORGE.encode(),
        "About/About.xml": ABOUT.replace('"utf-8"', '"utf-16"').encode("utf-16"),
        "fomod/ModuleConfig.xml": CONFIG.encode(),
        "x/info.json": b'{"name": "x", "version": "1.0.0"}',
        "a.version": b'{"NAME": "x", "VERSION": "1"}',
        "quilt.mod.json": b'{"quilt_loader": {"id": "q", "version": "1"}}',
        "manifest.json": b'{"name": "x", "version_number": "1.0.0"}',
    }
    path = tmp_path / "mod.zip"
    path.write_bytes(build(*(Item(name.encode(), data, method=8) for name, data in files.items())))
    result = inspect_sync(path)
    assert [warning for warning in result.warnings if warning.code.startswith("manifest")] == []
    assert {manifest.path for manifest in result.facts.manifests} == set(files)
