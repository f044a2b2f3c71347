"""Numbered SQL migrations: one advisory lock, short lock waits, checksums.

A migration is ``NNNN_name.sql`` beside this file and runs in one transaction, unless its first line is
``-- outside a transaction`` (for ``create index concurrently``). What has run is never edited.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Final

import msgspec

from loadstone.kernel import db

_NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_LOCK: Final = 0x10AD_5701
_OUTSIDE: Final = "-- outside a transaction"


class MigrationError(Exception):
    """The database's history and the shipped migrations do not fit together."""


class Migration(msgspec.Struct, frozen=True):
    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def in_transaction(self) -> bool:
        return not self.sql.startswith(_OUTSIDE)


def shipped() -> list[Migration]:
    """All migrations of this version, in order. Raises :class:`MigrationError` on a gap or a double."""
    found = []
    for entry in resources.files("loadstone.kernel").joinpath("migrations").iterdir():
        match = _NAME.fullmatch(entry.name)
        if match:
            found.append(Migration(int(match[1]), match[2], entry.read_text("utf-8")))
    found.sort(key=lambda m: m.number)
    if [m.number for m in found] != list(range(1, len(found) + 1)):
        raise MigrationError("the shipped migrations are not numbered 1, 2, 3, … without gaps")
    return found


async def migrate(
    dsn: str,
    migrations: Sequence[Migration] | None = None,
    *,
    progress: Callable[[Migration], None] | None = None,
) -> list[Migration]:
    """Bring the database to this version; returns what was run.

    Safe to call from many processes at once: one works, the others wait and find nothing to do.
    Raises :class:`MigrationError` when the database is newer or a past migration was changed.
    """
    wanted = list(migrations if migrations is not None else shipped())
    connection = await db.connect(dsn, name="loadstone migrate")
    try:
        await connection.execute("select pg_advisory_lock($1)", _LOCK)
        await connection.execute(
            "create table if not exists schema_migrations ("
            " number int primary key, name text not null, checksum text not null,"
            " at timestamptz not null default now())"
        )
        done = {r["number"]: r for r in await connection.fetch("select * from schema_migrations")}
        _check_history({n: (r["name"], r["checksum"]) for n, r in done.items()}, wanted)
        ran = []
        for migration in wanted:
            if migration.number in done:
                continue
            if progress:
                progress(migration)
            await _run(connection, migration)
            ran.append(migration)
        return ran
    finally:
        await connection.close()


def _check_history(done: dict[int, tuple[str, str]], wanted: Sequence[Migration]) -> None:
    by_number = {m.number: m for m in wanted}
    for number, (name, checksum) in sorted(done.items()):
        migration = by_number.get(number)
        if migration is None:
            raise MigrationError(
                f"the database has migration {number:04} ({name}) that this version does not know; "
                "run the version that made it, or a newer one"
            )
        if migration.checksum != checksum:
            raise MigrationError(
                f"migration {number:04} ({name}) was changed after it ran on this database; "
                "restore the file and put the change into a new migration"
            )


async def _run(connection: object, migration: Migration) -> None:
    record = "insert into schema_migrations (number, name, checksum) values ($1, $2, $3)"
    execute = connection.execute  # type: ignore[attr-defined]
    if not migration.in_transaction:
        await execute(migration.sql)
        await execute(record, migration.number, migration.name, migration.checksum)
        return
    async with connection.transaction():  # type: ignore[attr-defined]
        await execute("set local lock_timeout = '5s'")
        await execute("set local statement_timeout = '10min'")
        await execute(migration.sql)
        await execute(record, migration.number, migration.name, migration.checksum)
