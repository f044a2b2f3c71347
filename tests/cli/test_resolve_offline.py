"""The offline commands: requests in, results out, mistakes named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import zstandard

from loadstone.cli.resolve_offline import resolve_offline
from loadstone.cli.sweep import sweep

ROWS = [
    {"id": "App", "version": "2", "game_min": "1.12", "game_max": "1.12", "depends": [{"name": "Lib"}]},
    {"id": "App", "version": "1", "game_min": "1.8", "game_max": "1.12"},
    {"id": "Lib", "version": "1", "game_min": "1.12.5", "game_max": "1.12.5"},
    {"id": "Addon", "version": "1", "depends": [{"name": "DLC"}]},
    {"id": "DLC", "version": "1.0", "kind": "dlc"},
    {"id": "Old", "version": "1", "game_max": "1.7.3"},
    {"id": "New", "version": "1", "release_status": "testing"},
]


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl.zst"
    path.write_bytes(zstandard.compress("\n".join(json.dumps(row) for row in ROWS).encode()))
    return path


def results(catalogue: Path, *requests: dict, **options) -> list[dict]:
    asked, out = catalogue.with_name("in.jsonl"), catalogue.with_name("out.jsonl")
    asked.write_text("\n".join(json.dumps({"game": ["1.12.5"], **request}) for request in requests))
    assert resolve_offline(catalogue, asked, out, **options) == 0
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_results_come_in_the_order_of_the_requests(catalogue):
    first, second, third = results(
        catalogue, {"request": ["App"]}, {"request": ["Ghost"]}, {"game": ["1.8.1"], "request": ["App"]}
    )
    assert (first["sat"], first["plan"]) == (True, [{"id": "App", "version": "2"}, {"id": "Lib", "version": "1"}])
    assert (second["sat"], second["plan"]) == (False, [])
    assert second["facts"][0]["text"] == "You asked for Ghost, which nothing here offers."
    assert (third["sat"], third["plan"]) == (True, [{"id": "App", "version": "1"}])
    assert all(result["cpu_ms"] > 0 for result in (first, second, third))


def test_a_dlc_must_be_owned(catalogue):
    assert results(catalogue, {"request": ["Addon"]})[0]["sat"] is False
    [result] = results(catalogue, {"request": ["Addon"]}, own=["DLC"])
    assert {entry["id"] for entry in result["plan"]} == {"Addon", "DLC"}


def test_channels_are_accepted_when_asked_for(catalogue):
    assert results(catalogue, {"request": ["New"]})[0]["sat"] is False
    assert results(catalogue, {"request": ["New"]}, channel=["release", "beta"])[0]["sat"] is True


def test_a_locked_version_is_kept(catalogue):
    lock = [{"id": "App", "version": "1"}]
    [result] = results(catalogue, {"request": ["App"], "lock": lock})
    assert (result["plan"], result["changes"]) == (lock, 0)


def test_repairs_come_with_explain(catalogue):
    request = {"request": ["App", "Old"]}
    assert results(catalogue, request)[0]["repairs"] == []
    [result] = results(catalogue, request, explain=True)
    assert result["repairs"][0]["drop"] == ["Old"]
    assert "does not run on game build 1.12.5" in result["explanation"]


def test_several_game_builds_are_all_accepted(catalogue):
    [result] = results(catalogue, {"game": ["1.12.5", "1.7.3"], "request": ["App", "Old"]})
    assert {entry["id"] for entry in result["plan"]} == {"App", "Lib", "Old"}


@pytest.mark.parametrize("line", ["{", '{"game": ["1.12.5"]}', '{"game": "1.12.5", "request": []}'])
def test_a_bad_request_line_is_named_and_nothing_is_written(catalogue, line, capsys):
    asked, out = catalogue.with_name("in.jsonl"), catalogue.with_name("out.jsonl")
    asked.write_text('{"game": ["1.12.5"], "request": ["App"]}\n' + line)
    assert resolve_offline(catalogue, asked, out) == 2
    assert "line 2" in capsys.readouterr().err
    assert not out.exists()


def test_a_catalogue_that_is_not_one_is_named(catalogue, capsys):
    asked, out = catalogue.with_name("in.jsonl"), catalogue.with_name("out.jsonl")
    asked.write_text('{"game": ["1.12.5"], "request": ["App"]}')
    catalogue.write_bytes(b"not zstd")
    assert resolve_offline(catalogue, asked, out) == 2
    assert "zstd" in capsys.readouterr().err


def test_the_sweep_lists_what_can_and_cannot_be_installed(catalogue, capsys):
    assert sweep(catalogue, ["1.12.5"], json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert [entry["id"] for entry in report["installable"]] == ["App", "Lib"]
    assert [entry["id"] for entry in report["uninstallable"]] == ["Addon"]
    assert "DLC" in report["uninstallable"][0]["reason"]
    assert report["no_release"] == ["DLC", "New", "Old"]
