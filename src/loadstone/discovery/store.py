"""The SQL of discovery: it owns no table, and reads the catalogue's in bulk to derive its index from."""

from collections.abc import Sequence

from loadstone.kernel.db import Database, Row


async def database_name(db: Database) -> str:
    """What tells this database from any other that the same data folder may be used with, and a restored
    one from what it was before.
    """
    name: str = await db.fetchval(
        "select current_era() || ' ' || current_database() || ' ' ||"
        " coalesce((select extract(epoch from at)::text from schema_migrations order by number limit 1), '')"
    )
    return name


async def published_after(db: Database, mod_id: int, limit: int) -> list[int]:
    """The ids of the next published mods."""
    rows = await db.fetch(
        "select id from mods where id > $1 and visibility = 'published' order by id limit $2", mod_id, limit
    )
    return [row["id"] for row in rows]


async def mods_of_game_after(db: Database, game_id: int, mod_id: int, limit: int) -> list[int]:
    rows = await db.fetch(
        "select id from mods where game_id = $1 and id > $2 order by id limit $3", game_id, mod_id, limit
    )
    return [row["id"] for row in rows]


async def count_published(db: Database) -> int:
    """About how many mods there are to index, from the planner's statistics: a figure for a progress bar."""
    number: int = await db.fetchval("select greatest(reltuples, 0)::bigint from pg_class where oid = 'mods'::regclass")
    return number


async def published_mods(db: Database, ids: Sequence[int]) -> list[Row]:
    """Those of the mods that lists show."""
    return await db.fetch(
        "select m.id, m.game_id, m.slug, m.name, m.summary, m.description, m.authors, m.tags, m.source_key,"
        " c.path as category, coalesce(n.downloads, 0) as downloads, m.published_at, m.updated_at"
        " from mods m left join categories c on c.id = m.category_id left join mod_counters n on n.mod_id = m.id"
        " where m.id = any($1) and m.visibility = 'published'",
        list(ids),
    )


async def published_files(db: Database, mod_ids: Sequence[int]) -> list[Row]:
    """Each published release of the mods with the loaders of its files; a release without files has one row."""
    return await db.fetch(
        "select r.mod_id, r.id as release_id, x.loaders from releases r"
        " left join release_artifacts x on x.release_id = r.id and x.role = 'main'"
        " where r.mod_id = any($1) and r.state = 'published'",
        list(mod_ids),
    )


async def build_claims(db: Database, mod_ids: Sequence[int]) -> list[Row]:
    """What stands of the mods' chains and releases about game builds."""
    return await db.fetch(
        "select c.mod_id, l.release_id, l.kind, l.body->'builds' as builds"
        " from chains c join claims l on l.chain_id = c.id"
        " where c.mod_id = any($1) and l.kind in ('works_with', 'broken_in') and l.withdraws is null"
        " and not exists (select from claims w where w.withdraws = l.id)",
        list(mod_ids),
    )


async def builds(db: Database, game_id: int) -> list[str]:
    rows = await db.fetch("select name from builds where game_id = $1 order by place", game_id)
    return [row["name"] for row in rows]


async def mods_of_releases(db: Database, ids: Sequence[int]) -> list[int]:
    rows = await db.fetch("select distinct mod_id from releases where id = any($1)", list(ids))
    return [row["mod_id"] for row in rows]


async def mods_of_chains(db: Database, ids: Sequence[int]) -> list[int]:
    rows = await db.fetch("select distinct mod_id from chains where id = any($1)", list(ids))
    return [row["mod_id"] for row in rows]
