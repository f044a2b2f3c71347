"""Migrations: forward only, once, in order, by one process at a time."""

import asyncio
import subprocess
import sys

import asyncpg
import pytest

from loadstone.kernel.migrate import Migration, MigrationError, migrate, shipped


async def test_running_them_again_does_nothing(database_url: str) -> None:
    assert await migrate(database_url) == []


async def test_many_processes_at_once_run_each_migration_once(database_url: str) -> None:
    extra = [*shipped(), Migration(len(shipped()) + 1, "slow", "create table slow (n int); select pg_sleep(0.2)")]
    ran = await asyncio.gather(*(migrate(database_url, extra) for _ in range(4)))
    assert sorted(len(r) for r in ran) == [0, 0, 0, 1]


async def test_a_migration_that_fails_leaves_nothing(database_url: str) -> None:
    broken = [*shipped(), Migration(len(shipped()) + 1, "broken", "create table half (n int); select 1/0")]
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(database_url, broken)
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("select to_regclass('half')") is None
    finally:
        await connection.close()


async def test_a_newer_database_is_refused(database_url: str) -> None:
    with pytest.raises(MigrationError, match="does not know"):
        await migrate(database_url, shipped()[:-1])


async def test_an_edited_past_is_refused(database_url: str) -> None:
    edited = shipped()
    edited[0] = Migration(1, edited[0].name, edited[0].sql + "\n-- edited")
    with pytest.raises(MigrationError, match="changed after it ran"):
        await migrate(database_url, edited)


def test_the_queue_is_that_of_the_installed_pgqueuer() -> None:
    """0002 is what the installed PgQueuer prints; an upgrade that changes it needs a migration."""
    printed = subprocess.run(
        [sys.executable, "-m", "pgqueuer", "sql", "install"], check=True, capture_output=True, text=True
    ).stdout
    ours = next(m for m in shipped() if m.name == "jobs").sql

    def statements(text: str) -> str:
        return "\n".join(line for line in text.splitlines() if line.strip() and not line.startswith("--"))

    assert statements(ours) == statements(printed)
