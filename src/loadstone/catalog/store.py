"""The SQL of the catalogue: reading. Writing is in ``writes.py``."""

from collections.abc import Sequence
from typing import Final

from loadstone.kernel.db import Database, Row

GAME_COLUMNS: Final = "id, slug, name, summary, version_scheme, archive_profile, created_at, version"
MOD_COLUMNS: Final = (
    "m.id, m.game_id, g.slug as game_slug, m.number, m.slug, m.name, m.summary, m.authors,"
    " c.path as category, m.tags, m.visibility, coalesce(n.downloads, 0) as downloads,"
    " m.published_at, m.updated_at, m.team_id"
)
MOD_DETAIL: Final = ", m.description, m.licence, m.links, m.visibility_reason, m.source, m.created_at, m.version"
MOD_FROM: Final = (
    " from mods m join games g on g.id = m.game_id"
    " left join categories c on c.id = m.category_id"
    " left join mod_counters n on n.mod_id = m.id"
)


async def game_by_slug(db: Database, slug: str) -> Row | None:
    return await db.fetchrow(f"select {GAME_COLUMNS} from games where slug = $1", slug)


async def game_by_id(db: Database, id_: int) -> Row | None:
    return await db.fetchrow(f"select {GAME_COLUMNS} from games where id = $1", id_)


async def games_by_id(db: Database, ids: Sequence[int]) -> list[Row]:
    return await db.fetch(f"select {GAME_COLUMNS} from games where id = any($1)", list(ids))


async def games_by_slug(db: Database, slugs: Sequence[str]) -> list[Row]:
    return await db.fetch(f"select {GAME_COLUMNS} from games where slug = any($1)", list(slugs))


async def builds_of_games(db: Database, ids: Sequence[int]) -> list[Row]:
    return await db.fetch(
        "select game_id, name, place, released_at from builds where game_id = any($1) order by game_id, place",
        list(ids),
    )


async def games(db: Database, after: tuple[str, int] | None, limit: int) -> list[Row]:
    name, id_ = after or ("", 0)
    return await db.fetch(
        f"select {GAME_COLUMNS} from games where (slug, id) > ($1, $2) order by slug, id limit $3",
        name, id_, limit,
    )  # fmt: skip


async def builds(db: Database, game_id: int) -> list[Row]:
    return await db.fetch("select name, place, released_at from builds where game_id = $1 order by place", game_id)


async def loaders(db: Database, game_id: int) -> list[Row]:
    return await db.fetch("select slug, name from loaders where game_id = $1 order by slug", game_id)


async def categories(db: Database, game_id: int) -> list[Row]:
    return await db.fetch("select id, path, name from categories where game_id = $1 order by path", game_id)


async def mods_by_id(db: Database, ids: Sequence[int]) -> list[Row]:
    return await db.fetch(f"select {MOD_COLUMNS}{MOD_DETAIL}{MOD_FROM} where m.id = any($1)", list(ids))


async def mod_ids_by_slug(db: Database, keys: Sequence[tuple[str, str]]) -> list[Row]:
    """For (game slug, mod slug) pairs: the mod's id; an old slug finds the mod as well."""
    return await db.fetch(
        "select k.game, k.slug, s.mod_id from unnest($1::text[], $2::text[]) as k (game, slug)"
        " join games g on g.slug = k.game join mod_slugs s on s.game_id = g.id and s.slug = k.slug",
        [k[0] for k in keys], [k[1] for k in keys],
    )  # fmt: skip


async def mods_by_slug(db: Database, keys: Sequence[tuple[str, str]]) -> list[Row]:
    """Whole mods for (game slug, mod slug) pairs, old slugs too, in one statement."""
    return await db.fetch(
        f"select k.game as asked_game, k.slug as asked_slug, {MOD_COLUMNS}{MOD_DETAIL}"
        " from unnest($1::text[], $2::text[]) as k (game, slug)"
        " join games g on g.slug = k.game join mod_slugs s on s.game_id = g.id and s.slug = k.slug"
        " join mods m on m.id = s.mod_id left join categories c on c.id = m.category_id"
        " left join mod_counters n on n.mod_id = m.id",
        [k[0] for k in keys], [k[1] for k in keys],
    )  # fmt: skip


async def mod_id_by_number(db: Database, game_slug: str, number: int) -> int | None:
    found: int | None = await db.fetchval(
        "select m.id from mods m join games g on g.id = m.game_id where g.slug = $1 and m.number = $2",
        game_slug, number,
    )  # fmt: skip
    return found


async def recently_updated(db: Database, limit: int) -> list[Row]:
    """Published mods of all games, by ``mods_recent``."""
    return await db.fetch(
        f"select {MOD_COLUMNS}{MOD_FROM} where m.visibility = 'published'"
        " order by m.updated_at desc, m.id desc limit $1",
        limit,
    )


async def images(db: Database, mod_id: int) -> list[Row]:
    return await db.fetch(
        "select id, sha256, width, height, caption from mod_images where mod_id = $1 order by place, id", mod_id
    )


async def first_images(db: Database, mod_ids: Sequence[int]) -> list[Row]:
    """The first picture of each of the mods that has one."""
    return await db.fetch(
        "select distinct on (mod_id) mod_id, id, sha256, width, height, caption from mod_images"
        " where mod_id = any($1) order by mod_id, place, id",
        list(mod_ids),
    )


async def image(db: Database, id_: int) -> Row | None:
    return await db.fetchrow("select mod_id, sha256 from mod_images where id = $1", id_)


_LISTS: Final = {
    "new": ("m.published_at", "desc"),
    "updated": ("m.updated_at", "desc"),
    "name": ("lower(m.name)", "asc"),
    "downloads": ("n.downloads", "desc"),
}


async def browse(db: Database, game_id: int, order: str, after: tuple[object, int] | None, limit: int) -> list[Row]:
    """Published mods of a game by keyset; each order has its index (``mods_new``, ``mods_updated``,
    ``mods_by_name``, ``mod_counters_most``).
    """
    expression, direction = _LISTS[order]
    sign = "<" if direction == "desc" else ">"
    tie = "n.mod_id" if order == "downloads" else "m.id"
    source = (
        " from mod_counters n join mods m on m.id = n.mod_id join games g on g.id = m.game_id"
        " left join categories c on c.id = m.category_id where n.game_id = $1"
        if order == "downloads"
        else f"{MOD_FROM} where m.game_id = $1"
    )
    cast = {"new": "timestamptz", "updated": "timestamptz", "name": "text", "downloads": "bigint"}[order]
    key = f" and ({expression}, {tie}) {sign} ($3::{cast}, $4::bigint)" if after else ""
    return await db.fetch(
        f"select {MOD_COLUMNS}, {expression} as sort_key{source}"
        f" and m.visibility = 'published'{key} order by {expression} {direction}, {tie} {direction} limit $2",
        game_id, limit, *(after or ()),
    )  # fmt: skip


async def mods_of_member(db: Database, member_id: int, after: int | None, limit: int) -> list[Row]:
    return await db.fetch(
        f"select {MOD_COLUMNS}{MOD_FROM}"
        " where m.team_id in (select team_id from team_members where member_id = $1)"
        " and ($2::bigint is null or m.id < $2) and m.visibility <> 'removed' order by m.id desc limit $3",
        member_id, after, limit,
    )  # fmt: skip


async def teams_of(db: Database, member_id: int) -> dict[int, str]:
    """The member's teams and their role in each."""
    rows = await db.fetch("select team_id, role from team_members where member_id = $1", member_id)
    return {r["team_id"]: r["role"] for r in rows}


async def team_role(db: Database, team_id: int, member_id: int) -> str | None:
    role: str | None = await db.fetchval(
        "select role from team_members where team_id = $1 and member_id = $2", team_id, member_id
    )
    return role


async def team_members(db: Database, team_id: int) -> list[Row]:
    return await db.fetch(
        "select m.id, m.name, t.role from team_members t join members m on m.id = t.member_id"
        " where t.team_id = $1 order by t.since, m.id",
        team_id,
    )


async def chains_of_mods(db: Database, mod_ids: Sequence[int]) -> list[Row]:
    return await db.fetch(
        "select id, mod_id, game_id, package, slug, name, category, place, is_default from chains"
        " where mod_id = any($1) order by mod_id, place, id",
        list(mod_ids),
    )


async def chain(db: Database, id_: int) -> Row | None:
    return await db.fetchrow(
        "select id, mod_id, game_id, package, slug, name, category, place, is_default from chains where id = $1",
        id_,
    )


RELEASE_COLUMNS: Final = (
    "r.id, r.mod_id, r.game_id, r.chain_id, c.package, c.slug as chain_slug, r.version, r.channel, r.line, r.place,"
    " r.state, r.state_reason, r.changelog, r.created_at, r.published_at, r.edit,"
    " coalesce(n.downloads, 0) as downloads"
)
RELEASE_FROM: Final = (
    " from releases r join chains c on c.id = r.chain_id left join release_counters n on n.release_id = r.id"
)


async def releases_by_id(db: Database, ids: Sequence[int]) -> list[Row]:
    return await db.fetch(f"select {RELEASE_COLUMNS}{RELEASE_FROM} where r.id = any($1)", list(ids))


async def releases_of_mod(
    db: Database, mod_id: int, states: Sequence[str], chain_id: int | None, after: int | None, limit: int
) -> list[Row]:
    """A mod's releases in these states, newest id first."""
    return await db.fetch(
        f"select {RELEASE_COLUMNS}{RELEASE_FROM}"
        " where r.mod_id = $1 and r.state = any($2) and ($3::bigint is null or r.chain_id = $3)"
        " and ($4::bigint is null or r.id < $4) order by r.id desc limit $5",
        mod_id, list(states), chain_id, after, limit,
    )  # fmt: skip


async def newest_releases(db: Database, mod_ids: Sequence[int], states: Sequence[str], each: int) -> list[Row]:
    """The newest releases of several mods, at most ``each`` of one, by ``releases_by_mod_newest``."""
    return await db.fetch(
        f"select {RELEASE_COLUMNS} from unnest($1::bigint[]) as k (mod_id) cross join lateral"
        " (select * from releases where mod_id = k.mod_id and state = any($2) order by id desc limit $3) r"
        " join chains c on c.id = r.chain_id left join release_counters n on n.release_id = r.id order by r.id desc",
        list(mod_ids), list(states), each,
    )  # fmt: skip


async def artifacts_of_releases(db: Database, release_ids: Sequence[int]) -> list[Row]:
    return await db.fetch(
        "select x.release_id, x.place, x.artifact_id, x.file_name, x.role, x.loaders, x.os, x.side,"
        " coalesce(a.size, x.size) as size, coalesce(a.sha256, x.sha256) as sha256, x.url,"
        " a.md5, a.sha1, a.sha512, coalesce(a.verdict, 'elsewhere') as verdict"
        " from release_artifacts x left join artifacts a on a.id = x.artifact_id"
        " where x.release_id = any($1) order by x.release_id, x.place",
        list(release_ids),
    )


async def files_to_fetch(db: Database, keys: Sequence[tuple[int, int]]) -> list[Row]:
    """For (release, place) pairs: the file with what the visibility rule asks of its mod and release.

    ``file_name`` is null when the release has no file at that place.
    """
    return await db.fetch(
        "select r.id as release_id, k.place, r.mod_id, r.game_id, r.state, m.visibility, m.team_id, m.published_at,"
        " x.artifact_id, x.file_name, coalesce(a.size, x.size) as size, coalesce(a.sha256, x.sha256) as sha256,"
        " a.md5, a.sha1, a.sha512, a.verdict, x.url"
        " from unnest($1::bigint[], $2::integer[]) as k (release_id, place)"
        " join releases r on r.id = k.release_id join mods m on m.id = r.mod_id"
        " left join release_artifacts x on x.release_id = r.id and x.place = k.place"
        " left join artifacts a on a.id = x.artifact_id",
        [k[0] for k in keys], [k[1] for k in keys],
    )  # fmt: skip


async def claims_of_chains(db: Database, chain_ids: Sequence[int]) -> list[Row]:
    """The claims that stand, i.e. were not withdrawn, of these chains and their releases."""
    return await db.fetch(
        "select l.id, l.chain_id, l.release_id, l.kind, l.about, l.body, l.source, l.at, c.package, m.name as by"
        " from claims l join chains c on c.id = l.chain_id left join members m on m.id = l.actor_id"
        " where l.chain_id = any($1) and l.withdraws is null"
        " and not exists (select from claims w where w.withdraws = l.id) order by l.id",
        list(chain_ids),
    )


async def entries(db: Database, artifact_id: int, after: int, limit: int) -> list[Row]:
    return await db.fetch(
        "select place, path, size, sha256, kind from artifact_entries"
        " where artifact_id = $1 and place > $2 order by place limit $3",
        artifact_id, after, limit,
    )  # fmt: skip


async def dependents(db: Database, game_id: int, package: str, after: int | None, limit: int) -> list[Row]:
    """Published mods of which some release requires the package, newest claim first."""
    return await db.fetch(
        f"select distinct on (m.id) {MOD_COLUMNS}{MOD_FROM}"
        " join chains h on h.mod_id = m.id join claims l on l.chain_id = h.id"
        " where l.game_id = $1 and l.about = $2 and l.kind = 'requires' and m.visibility = 'published'"
        " and ($3::bigint is null or m.id < $3) order by m.id desc limit $4",
        game_id, package, after, limit,
    )  # fmt: skip
