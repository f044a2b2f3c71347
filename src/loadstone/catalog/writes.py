"""The SQL of the catalogue: writing (``store.py`` reads)."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

from loadstone.kernel.db import Row, Transaction


async def insert_game(tx: Transaction, *, id_: int, slug: str, name: str, summary: str, scheme: str) -> bool:
    return bool(
        await tx.fetchval(
            "insert into games (id, slug, name, summary, version_scheme) values ($1, $2, $3, $4, $5)"
            " on conflict do nothing returning true",
            id_, slug, name, summary, scheme,
        )
    )  # fmt: skip


async def add_builds(tx: Transaction, game_id: int, names: Sequence[str]) -> None:
    """Append builds behind those that are there, in the given order."""
    await tx.execute(
        "insert into builds (game_id, name, place)"
        " select $1, n.name, coalesce((select max(place) from builds where game_id = $1), 0) + n.nth"
        " from unnest($2::text[]) with ordinality as n (name, nth) on conflict (game_id, name) do nothing",
        game_id, list(names),
    )  # fmt: skip


async def add_loaders(tx: Transaction, game_id: int, loaders: Mapping[str, str]) -> None:
    await tx.execute_many(
        "insert into loaders (game_id, slug, name) values ($1, $2, $3) on conflict do nothing",
        [(game_id, slug, name) for slug, name in loaders.items()],
    )


async def add_categories(tx: Transaction, game_id: int, rows: Sequence[tuple[int, str, str]]) -> None:
    """``rows`` are (id, path, name)."""
    await tx.execute_many(
        "insert into categories (id, game_id, path, name) values ($2, $1, $3, $4) on conflict do nothing",
        [(game_id, *row) for row in rows],
    )


async def next_mod_number(tx: Transaction, game_id: int) -> int | None:
    """Takes the game's next number; the row lock makes numbers dense and unique."""
    number: int | None = await tx.fetchval(
        "update games set next_mod_number = next_mod_number + 1 where id = $1 returning next_mod_number - 1",
        game_id,
    )
    return number


async def claim_slug(tx: Transaction, game_id: int, slug: str, mod_id: int) -> bool:
    """Take a slug for a mod for ever; True when it is, or already was, this mod's."""
    owner: int | None = await tx.fetchval(
        "insert into mod_slugs (game_id, slug, mod_id) values ($1, $2, $3)"
        " on conflict (game_id, slug) do update set mod_id = mod_slugs.mod_id returning mod_id",
        game_id, slug, mod_id,
    )  # fmt: skip
    return owner == mod_id


async def insert_team(tx: Transaction, team_id: int, name: str, owner: int) -> None:
    await tx.execute("insert into teams (id, name) values ($1, $2)", team_id, name)
    await tx.execute("insert into team_members (team_id, member_id, role) values ($1, $2, 'owner')", team_id, owner)


_MOD: Final = (
    "id", "game_id", "number", "slug", "name", "summary", "description", "authors", "category_id",
    "tags", "licence", "team_id", "visibility", "published_at",
)  # fmt: skip


async def insert_mod(tx: Transaction, values: Mapping[str, Any]) -> None:
    places = ", ".join(f"${n}" for n in range(1, len(_MOD) + 1))
    await tx.execute(f"insert into mods ({', '.join(_MOD)}) values ({places})", *(values[c] for c in _MOD))
    await tx.execute(
        "insert into mod_counters (mod_id, game_id) values ($1, $2) on conflict do nothing",
        values["id"], values["game_id"],
    )  # fmt: skip


async def lock_mod(tx: Transaction, mod_id: int) -> Row | None:
    return await tx.fetchrow(
        "select id, game_id, slug, version, visibility, published_at, team_id from mods where id = $1 for update",
        mod_id,
    )


_CHANGEABLE: Final = frozenset(
    {
        "name", "slug", "summary", "description", "category_id", "tags", "licence", "links",
        "visibility", "visibility_reason", "published_at",
    }
)  # fmt: skip


async def update_mod(tx: Transaction, mod_id: int, values: Mapping[str, Any], now: dt.datetime) -> None:
    unknown = values.keys() - _CHANGEABLE
    if unknown:
        raise KeyError(f"not columns that change: {', '.join(sorted(unknown))}")
    columns = sorted(values)
    sets = "".join(f", {c} = ${n}" for n, c in enumerate(columns, 3))
    await tx.execute(
        f"update mods set version = version + 1, updated_at = $2{sets} where id = $1",
        mod_id, now, *(values[c] for c in columns),
    )  # fmt: skip


async def category_id(tx: Transaction, game_id: int, path: str) -> int | None:
    found: int | None = await tx.fetchval("select id from categories where game_id = $1 and path = $2", game_id, path)
    return found


async def insert_chain(tx: Transaction, values: Mapping[str, Any]) -> bool:
    """False when the mod has a chain of that slug, or the game a package of that name."""
    return bool(
        await tx.fetchval(
            "insert into chains (id, mod_id, game_id, package, slug, name, category, place, is_default)"
            " values ($1, $2, $3, $4, $5, $6, $7,"
            "   coalesce((select max(place) from chains where mod_id = $2), 0) + 1, $8)"
            " on conflict do nothing returning true",
            values["id"], values["mod_id"], values["game_id"], values["package"], values["slug"],
            values["name"], values["category"], values["is_default"],
        )
    )  # fmt: skip


async def insert_claim(tx: Transaction, values: Mapping[str, Any]) -> None:
    await tx.execute(
        "insert into claims (id, game_id, chain_id, release_id, kind, about, body, source, actor_id, withdraws)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        values["id"], values["game_id"], values["chain_id"], values["release_id"], values["kind"],
        values["about"], values["body"], values["source"], values["actor_id"], values.get("withdraws"),
    )  # fmt: skip


async def lock_release(tx: Transaction, release_id: int) -> Row | None:
    return await tx.fetchrow(
        "select r.id, r.mod_id, r.game_id, r.chain_id, r.version, r.state, r.state_reason, r.channel, r.line,"
        " r.changelog, r.published_at, m.team_id, m.visibility"
        " from releases r join mods m on m.id = r.mod_id where r.id = $1 for update of r",
        release_id,
    )


async def set_release_state(
    tx: Transaction, release_id: int, state: str, reason: str, published_at: dt.datetime | None
) -> None:
    await tx.execute(
        "update releases set state = $2, state_reason = $3, edit = edit + 1,"
        " published_at = coalesce(published_at, $4) where id = $1",
        release_id, state, reason, published_at,
    )  # fmt: skip


async def record(
    tx: Transaction,
    release_id: int,
    change: str,
    *,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    actor: int | None,
    reason: str = "",
) -> None:
    """Append to the release's history."""
    await tx.execute(
        "insert into release_records (release_id, actor_id, change, before, after, reason)"
        " values ($1, $2, $3, $4, $5, $6)",
        release_id, actor, change, dict(before), dict(after), reason,
    )  # fmt: skip


async def insert_image(
    tx: Transaction,
    *,
    id_: int,
    mod_id: int,
    sha256: bytes,
    size: int,
    width: int,
    height: int,
    caption: str,
    most: int,
) -> bool:
    """False when the gallery is full; the mod's lock keeps the count true."""
    await tx.execute("select id from mods where id = $1 for update", mod_id)
    return bool(
        await tx.fetchval(
            "insert into mod_images (id, mod_id, place, sha256, size, width, height, caption)"
            " select $1, $2, coalesce(max(place), 0) + 1, $3, $4, $5, $6, $7 from mod_images where mod_id = $2"
            " having count(*) < $8 returning true",
            id_, mod_id, sha256, size, width, height, caption, most,
        )
    )  # fmt: skip


async def delete_image(tx: Transaction, mod_id: int, id_: int) -> bool:
    return bool(await tx.fetchval("delete from mod_images where id = $1 and mod_id = $2 returning true", id_, mod_id))


async def touch_mod(tx: Transaction, mod_id: int, now: dt.datetime) -> None:
    """A new release moves the mod to the front of the "updated" list."""
    await tx.execute("update mods set updated_at = $2, version = version + 1 where id = $1", mod_id, now)
