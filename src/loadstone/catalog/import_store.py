"""The SQL of imports: what is there already, read in bulk, and bulk writing by COPY."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from loadstone.kernel.db import Row, Transaction

Record = tuple[Any, ...]

MOD_COLUMNS: Final = (
    "id", "game_id", "number", "slug", "name", "summary", "description", "authors", "tags", "licence",
    "links", "visibility", "source", "source_key", "published_at", "updated_at",
)  # fmt: skip
CHAIN_COLUMNS: Final = ("id", "mod_id", "game_id", "package", "slug", "name", "category", "place", "is_default")
RELEASE_COLUMNS: Final = (
    "id", "chain_id", "mod_id", "game_id", "version", "version_key", "channel", "place", "state", "published_at",
)  # fmt: skip
FILE_COLUMNS: Final = ("release_id", "file_name", "size", "sha256", "url")
CLAIM_COLUMNS: Final = ("id", "game_id", "chain_id", "release_id", "kind", "about", "body", "source", "at", "withdraws")
_PARKED: Final = 1_000_000_000
"""Places are moved out of the way by this, because the unique index looks at each row by itself."""


async def lock_game(tx: Transaction, game_id: int) -> None:
    """Imports into one game follow each other, and none misses a mod that is being made beside it."""
    await tx.execute("select from games where id = $1 for update", game_id)


async def take_numbers(tx: Transaction, game_id: int, count: int) -> int:
    """Reserve per-game mod numbers; the first of them."""
    first: int = await tx.fetchval(
        "update games set next_mod_number = next_mod_number + $2 where id = $1 returning next_mod_number - $2",
        game_id, count,
    )  # fmt: skip
    return first


async def mods_by_source(tx: Transaction, game_id: int, source: str, keys: Sequence[str]) -> list[Row]:
    return await tx.fetch(
        "select m.id, m.source_key, m.name, m.summary, m.description, m.authors, m.tags, m.licence, m.links,"
        " m.team_id, m.published_at, m.updated_at, c.id as chain_id"
        " from mods m join chains c on c.mod_id = m.id and c.is_default"
        " where m.game_id = $1 and m.source = $2 and m.source_key = any($3)",
        game_id, source, list(keys),
    )  # fmt: skip


async def releases_of_chains(tx: Transaction, chain_ids: Sequence[int]) -> list[Row]:
    """Releases with their outside file, in the order of their places."""
    return await tx.fetch(
        "select r.id, r.chain_id, r.version, r.version_key, r.place, x.release_id is not null as has_file,"
        " x.size, x.sha256, x.url"
        " from releases r left join release_artifacts x on x.release_id = r.id and x.place = 0"
        " where r.chain_id = any($1) and r.state <> 'refused' order by r.chain_id, r.place",
        list(chain_ids),
    )


async def standing_claims(tx: Transaction, chain_ids: Sequence[int]) -> list[Row]:
    """Claims of earlier imports that were not withdrawn."""
    return await tx.fetch(
        "select l.id, l.chain_id, l.release_id, l.kind, l.body from claims l"
        " where l.chain_id = any($1) and l.source = 'import' and l.withdraws is null"
        " and not exists (select from claims w where w.withdraws = l.id)",
        list(chain_ids),
    )


async def taken_packages(tx: Transaction, game_id: int, packages: Sequence[str]) -> set[str]:
    rows = await tx.fetch(
        "select package from chains where game_id = $1 and package = any($2)", game_id, list(packages)
    )
    return {row["package"] for row in rows}


async def taken_slugs(tx: Transaction, game_id: int, slugs: Sequence[str]) -> set[str]:
    rows = await tx.fetch("select slug from mod_slugs where game_id = $1 and slug = any($2)", game_id, list(slugs))
    return {row["slug"] for row in rows}


async def insert_mods(tx: Transaction, rows: Sequence[Record]) -> None:
    """``rows`` follow :data:`MOD_COLUMNS`; each gets its slug and its counter."""
    await tx.copy("mods", MOD_COLUMNS, rows)
    await tx.copy("mod_slugs", ("game_id", "slug", "mod_id"), [(row[1], row[3], row[0]) for row in rows])
    await tx.copy("mod_counters", ("mod_id", "game_id"), [(row[0], row[1]) for row in rows])


async def insert_chains(tx: Transaction, rows: Iterable[Record]) -> None:
    await tx.copy("chains", CHAIN_COLUMNS, rows)


async def insert_releases(tx: Transaction, rows: Iterable[Record]) -> None:
    await tx.copy("releases", RELEASE_COLUMNS, rows)


async def insert_files(tx: Transaction, rows: Iterable[Record]) -> None:
    await tx.copy("release_artifacts", FILE_COLUMNS, rows)


async def insert_claims(tx: Transaction, rows: Iterable[Record]) -> None:
    await tx.copy("claims", CLAIM_COLUMNS, rows)


async def update_mods(tx: Transaction, rows: Iterable[Record]) -> None:
    """``rows`` are (id, name, summary, description, authors, tags, licence, links, published, updated)."""
    await tx.execute_many(
        "update mods set name = $2, summary = $3, description = $4, authors = $5, tags = $6, licence = $7,"
        " links = $8, published_at = least(published_at, $9), updated_at = greatest(updated_at, $10),"
        " version = version + 1 where id = $1",
        rows,
    )


async def complete_files(tx: Transaction, rows: Iterable[Record]) -> None:
    """``rows`` are (release id, size, sha256, url): what was not known before is filled in, a url may move."""
    await tx.execute_many(
        "update release_artifacts set size = coalesce(size, $2), sha256 = coalesce(sha256, $3), url = $4"
        " where release_id = $1 and place = 0 and artifact_id is null",
        rows,
    )


async def set_places(tx: Transaction, chain_id: int, places: Sequence[tuple[int, int]]) -> None:
    """``places`` are (release id, place). Two steps, because no two rows may share a place in between."""
    ids, wanted = [p[0] for p in places], [p[1] for p in places]
    await tx.execute(
        "update releases set place = place + $3 where chain_id = $1 and id = any($2)", chain_id, ids, _PARKED
    )
    await tx.execute(
        "update releases r set place = p.place from unnest($2::bigint[], $3::integer[]) as p (id, place)"
        " where r.chain_id = $1 and r.id = p.id",
        chain_id, ids, wanted,
    )  # fmt: skip


async def build_names(tx: Transaction, game_id: int) -> list[str]:
    rows = await tx.fetch("select name from builds where game_id = $1 order by place", game_id)
    return [row["name"] for row in rows]


async def set_builds(tx: Transaction, game_id: int, names: Sequence[str]) -> None:
    """Make these the game's builds in this order; none that is there may be missing among them."""
    await tx.execute("update builds set place = place + $2 where game_id = $1", game_id, _PARKED)
    await tx.execute(
        "insert into builds (game_id, name, place)"
        " select $1, n.name, n.nth from unnest($2::text[]) with ordinality as n (name, nth)"
        " on conflict (game_id, name) do update set place = excluded.place",
        game_id, list(names),
    )  # fmt: skip
