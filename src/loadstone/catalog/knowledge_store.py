"""The SQL of what the solver knows of a game: read whole, in a few statements."""

from collections.abc import Sequence
from typing import Final

from loadstone.kernel.db import Database, Row

_IN_REACH: Final = "m.visibility in ('published', 'unlisted')"
_KNOWN: Final = "r.state in ('published', 'yanked', 'archived')"


async def chains(db: Database, game_id: int, mod_ids: Sequence[int] | None) -> list[Row]:
    """The chains of a game's mods in reach, or of those of some mods."""
    return await db.fetch(
        "select c.id, c.package, c.is_default, c.name, m.id as mod_id, m.slug as mod_slug, m.name as mod_name,"
        " m.number, m.visibility, coalesce(n.downloads, 0) as downloads"
        " from chains c join mods m on m.id = c.mod_id left join mod_counters n on n.mod_id = m.id"
        f" where c.game_id = $1 and ($2::bigint[] is null or m.id = any($2)) and {_IN_REACH}",
        game_id, mod_ids,
    )  # fmt: skip


async def releases(db: Database, game_id: int, mod_ids: Sequence[int] | None) -> list[Row]:
    """The releases that were published, newest place first."""
    return await db.fetch(
        "select r.id, r.chain_id, r.version, r.channel, r.state, r.published_at"
        f" from releases r join mods m on m.id = r.mod_id where r.game_id = $1"
        f" and ($2::bigint[] is null or r.mod_id = any($2)) and {_KNOWN} and {_IN_REACH}"
        " order by r.chain_id, r.place desc",
        game_id, mod_ids,
    )  # fmt: skip


async def narrow_files(db: Database, game_id: int, mod_ids: Sequence[int] | None) -> list[Row]:
    """The files of releases that have one which is not for everybody, or not clean."""
    return await db.fetch(
        "with files as ("
        " select x.release_id, x.role, x.loaders, x.os, x.side, coalesce(a.verdict, 'clean') as verdict,"
        "  bool_or(x.loaders <> '{}' or x.os <> '{}' or x.side <> 'both' or coalesce(a.verdict, 'clean') <> 'clean')"
        "   over (partition by x.release_id) as narrow"
        " from release_artifacts x join releases r on r.id = x.release_id"
        " left join artifacts a on a.id = x.artifact_id"
        f" where r.game_id = $1 and ($2::bigint[] is null or r.mod_id = any($2)) and {_KNOWN})"
        " select release_id, role, loaders, os, side, verdict from files where narrow",
        game_id, mod_ids,
    )  # fmt: skip


async def claims(db: Database, game_id: int, mod_ids: Sequence[int] | None) -> list[Row]:
    """The claims that stand, oldest first."""
    return await db.fetch(
        "select l.id, l.chain_id, l.release_id, l.kind, l.body, l.source"
        " from claims l join chains c on c.id = l.chain_id join mods m on m.id = c.mod_id"
        f" where l.game_id = $1 and ($2::bigint[] is null or c.mod_id = any($2)) and {_IN_REACH}"
        " and l.withdraws is null and not exists (select from claims w where w.withdraws = l.id) order by l.id",
        game_id, mod_ids,
    )  # fmt: skip


async def mods_of(db: Database, ids: Sequence[int]) -> list[int]:
    """The mods that these ids are, or belong to as chains or releases."""
    rows = await db.fetch(
        "select id from mods where id = any($1) union select mod_id from chains where id = any($1)"
        " union select mod_id from releases where id = any($1)",
        list(ids),
    )
    return [row["id"] for row in rows]


async def games_of_releases(db: Database, release_ids: Sequence[int]) -> list[Row]:
    """(release, game, version scheme) of those that exist."""
    return await db.fetch(
        "select r.id, r.game_id, g.version_scheme from releases r join games g on g.id = r.game_id"
        " where r.id = any($1)",
        list(release_ids),
    )


async def releases_of_files(db: Database, digests: Sequence[bytes]) -> list[Row]:
    """(SHA-256, newest release in reach) that holds a file of these bytes."""
    return await db.fetch(
        "select a.sha256, max(r.id) as id from artifacts a join release_artifacts x on x.artifact_id = a.id"
        " join releases r on r.id = x.release_id join mods m on m.id = r.mod_id"
        f" where a.sha256 = any($1) and {_KNOWN} and {_IN_REACH} group by a.sha256",
        list(digests),
    )
