"""The SQL of delivery."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from loadstone.kernel.db import Database, Row, Transaction

CONSUMER: Final = "downloads"
"""The rollup's cursor in ``event_cursors``; it walks ``grants`` as consumers of events walk ``events``."""


class Grant(msgspec.Struct, frozen=True):
    """A row of the download log."""

    at: dt.datetime
    id: int
    game_id: int
    mod_id: int
    release_id: int
    place: int
    artifact_id: int
    member_id: int | None
    reason: str


async def insert_grants(tx: Transaction, grants: Sequence[Grant]) -> None:
    """All of them in one statement."""
    columns = list(zip(*(msgspec.structs.astuple(g) for g in grants), strict=True))
    await tx.execute(
        "insert into grants (at, id, game_id, mod_id, release_id, place, artifact_id, member_id, reason)"
        " select * from unnest($1::timestamptz[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[],"
        " $6::integer[], $7::bigint[], $8::bigint[], $9::text[])",
        *map(list, columns),
    )


async def grant(db: Database, at: dt.datetime, id_: int) -> Row | None:
    """A row of the log; ``at`` is the moment inside the id and names the partition."""
    return await db.fetchrow(
        "select id, release_id, place, artifact_id, member_id from grants where at = $1 and id = $2", at, id_
    )


async def make_partition(tx: Transaction, day: dt.date) -> None:
    await tx.execute("select make_grant_partition($1)", day)


async def prepare_cursor(db: Database) -> None:
    await db.fetchval("insert into event_cursors (consumer) values ($1) on conflict do nothing", CONSUMER)


async def lock_cursor(tx: Transaction, *, wait: bool) -> Row | None:
    """The rollup's position, locked; None when another process holds it and ``wait`` is false."""
    return await tx.fetchrow(
        "select era, xid::text::bigint as xid, id from event_cursors where consumer = $1 for update"
        + ("" if wait else " skip locked"),
        CONSUMER,
    )


async def move_cursor(tx: Transaction, last: Row) -> None:
    await tx.execute(
        "update event_cursors set era = $2, xid = $3::text::xid8, id = $4, moved_at = now() where consumer = $1",
        CONSUMER, last["era"], str(last["xid"]), last["id"],
    )  # fmt: skip


GRANTS_AFTER: Final = (
    "select era, xid::text::bigint as xid, id, mod_id, game_id, release_id from grants"
    " where (era, xid, id) > ($1, $2::text::xid8, $3)"
    " and (era < current_era() or xid < pg_snapshot_xmin(pg_current_snapshot()))"
    # the full names are the columns; a bare xid would be the bigint above, which no index has
    " order by grants.era, grants.xid, grants.id limit $4"
)


async def grants_after(tx: Transaction, cursor: Row, limit: int) -> list[Row]:
    """The next rows of the log, none of which can be overtaken any more by a row that commits late."""
    return await tx.fetch(GRANTS_AFTER, cursor["era"], str(cursor["xid"]), cursor["id"], limit)


async def add_to_releases(tx: Transaction, counts: Mapping[int, int]) -> None:
    ids = sorted(counts)
    await tx.execute(
        "insert into release_counters (release_id, downloads)"
        " select k.id, k.n from unnest($1::bigint[], $2::bigint[]) as k (id, n) join releases r on r.id = k.id"
        " order by k.id on conflict (release_id) do update"
        " set downloads = release_counters.downloads + excluded.downloads",
        ids, [counts[i] for i in ids],
    )  # fmt: skip


async def add_to_mods(tx: Transaction, counts: Mapping[int, int]) -> list[Row]:
    """Returns the new counters: mod_id, game_id, downloads."""
    ids = sorted(counts)
    return await tx.fetch(
        "insert into mod_counters (mod_id, game_id, downloads)"
        " select m.id, m.game_id, k.n from unnest($1::bigint[], $2::bigint[]) as k (id, n)"
        " join mods m on m.id = k.id order by k.id on conflict (mod_id) do update"
        " set downloads = mod_counters.downloads + excluded.downloads returning mod_id, game_id, downloads",
        ids, [counts[i] for i in ids],
    )  # fmt: skip


async def mods_after(tx: Transaction, after: int, limit: int) -> list[int]:
    rows = await tx.fetch("select id from mods where id > $1 order by id limit $2", after, limit)
    return [r["id"] for r in rows]


_COUNTED: Final = (
    " from grants where mod_id = any($1) and (era, xid, id) <= ($2, $3::text::xid8, $4)"
    # what a running transaction wrote cannot lie behind the cursor, so visible rows are all rows
)


async def recount_mods(tx: Transaction, mod_ids: Sequence[int], cursor: Row) -> int:
    """Set the mods' counters to the log up to the cursor; returns how many were wrong."""
    status = await tx.execute(
        "insert into mod_counters (mod_id, game_id, downloads)"
        " select m.id, m.game_id, coalesce(c.n, 0) from mods m"
        f" left join (select mod_id, count(*) as n{_COUNTED} group by 1) c on c.mod_id = m.id"
        " where m.id = any($1) order by m.id on conflict (mod_id) do update set downloads = excluded.downloads"
        " where mod_counters.downloads <> excluded.downloads",
        list(mod_ids), cursor["era"], str(cursor["xid"]), cursor["id"],
    )  # fmt: skip
    return int(status.rsplit(" ", 1)[-1])


async def recount_releases(tx: Transaction, mod_ids: Sequence[int], cursor: Row) -> int:
    """Set the counters of the mods' releases to the log up to the cursor; returns how many were wrong."""
    status = await tx.execute(
        "insert into release_counters (release_id, downloads)"
        " select r.id, coalesce(c.n, 0) from releases r"
        f" left join (select release_id, count(*) as n{_COUNTED} group by 1) c on c.release_id = r.id"
        " left join release_counters k on k.release_id = r.id"
        " where r.mod_id = any($1) and coalesce(c.n, 0) <> coalesce(k.downloads, 0)"
        " order by r.id on conflict (release_id) do update set downloads = excluded.downloads",
        list(mod_ids), cursor["era"], str(cursor["xid"]), cursor["id"],
    )  # fmt: skip
    return int(status.rsplit(" ", 1)[-1])
