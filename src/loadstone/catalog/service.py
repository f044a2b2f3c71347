"""Reading the catalogue: names resolve to things, and one rule says who sees them (law 3)."""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from loadstone.catalog import store
from loadstone.catalog.models import (
    Build,
    Category,
    Chain,
    Claim,
    Entry,
    Game,
    GameDetail,
    Image,
    Loader,
    Mod,
    ModSummary,
    Release,
    ReleaseArtifact,
    RemovedError,
    may_fetch,
    may_see_mod,
    may_see_release,
)
from loadstone.identity.models import ANONYMOUS, Actor
from loadstone.kernel.db import Row
from loadstone.kernel.errors import ForbiddenError, NotFoundError
from loadstone.kernel.ids import InvalidIdError, decode, encode, is_id
from loadstone.kernel.pages import Page, page, read_cursor
from loadstone.kernel.platform import Platform

Order = Literal["new", "updated", "name", "downloads"]
_PUBLIC_STATES = ("published", "yanked", "archived")
_ALL_STATES = (*_PUBLIC_STATES, "processing", "refused", "quarantined")


class ModRow(msgspec.Struct, frozen=True):
    """A mod that the actor may see, with what other rooms need beside its public form."""

    id: int
    game_id: int
    game_slug: str
    team_id: int | None
    in_team: bool
    is_owner: bool
    mod: Mod


async def find_game(platform: Platform, name: str) -> Row:
    """A game's row by slug or id. Raises :class:`NotFoundError`."""
    if is_id("game", name):
        row = await store.game_by_id(platform.db, decode("game", name))
    else:
        row = await store.game_by_slug(platform.db, name)
    if row is None:
        raise NotFoundError(f"There is no game “{name[:64]}” here.")
    return row


async def game(platform: Platform, name: str) -> GameDetail:
    """A game with its builds (oldest first), loaders and categories."""
    row = await find_game(platform, name)
    return GameDetail(
        **msgspec.structs.asdict(as_game(row)),
        builds=[Build(r["name"], r["place"], r["released_at"]) for r in await store.builds(platform.db, row["id"])],
        loaders=[Loader(r["slug"], r["name"]) for r in await store.loaders(platform.db, row["id"])],
        categories=[
            Category(encode("category", r["id"]), r["path"], r["name"])
            for r in await store.categories(platform.db, row["id"])
        ],
    )


async def list_games(platform: Platform, cursor: str | None, limit: int) -> Page[Game]:
    after = read_cursor(platform.signer, "games", cursor)
    rows = await store.games(platform.db, (after[0], after[1]) if after else None, limit + 1)
    return page(platform.signer, "games", rows, limit, lambda r: [r["slug"], r["id"]], as_game)


async def games_by_slug(platform: Platform, slugs: Sequence[str]) -> dict[str, GameDetail]:
    """Several games with their builds in two statements; loaders and categories stay empty."""
    rows = await store.games_by_slug(platform.db, slugs)
    builds: dict[int, list[Build]] = {}
    for r in await store.builds_of_games(platform.db, [r["id"] for r in rows]):
        builds.setdefault(r["game_id"], []).append(Build(r["name"], r["place"], r["released_at"]))
    return {
        r["slug"]: GameDetail(
            **msgspec.structs.asdict(as_game(r)), builds=builds.get(r["id"], []), loaders=[], categories=[]
        )
        for r in rows
    }


async def resolve_mod(platform: Platform, game_name: str, name: str) -> int:
    """The id of a mod named by slug (also an old one), per-game number or id. Raises :class:`NotFoundError`."""
    missing = NotFoundError(f"There is no mod “{name[:64]}” in {game_name[:64]}.")
    if is_id("mod", name):
        return decode("mod", name)
    game_slug = game_name
    if is_id("game", game_name):
        game_slug = (await find_game(platform, game_name))["slug"]
    if name.isascii() and name.isdigit() and len(name) <= 9:
        by_number = await store.mod_id_by_number(platform.db, game_slug, int(name))
        if by_number is not None:
            return by_number
    rows = await store.mod_ids_by_slug(platform.db, [(game_slug, name)])
    if not rows:
        raise missing
    found: int = rows[0]["mod_id"]
    return found


async def see_mod(platform: Platform, actor: Actor, mod_id: int) -> ModRow:
    """A mod that the actor may see. Raises :class:`NotFoundError`, :class:`RemovedError`."""
    seen = await see_mods(platform, actor, [mod_id])
    if mod_id in seen:
        return seen[mod_id]
    rows = await store.mods_by_id(platform.db, [mod_id])
    if rows and rows[0]["visibility"] == "removed" and rows[0]["published_at"] is not None:
        raise RemovedError()
    raise NotFoundError("There is no such mod.")


async def see_mods(platform: Platform, actor: Actor, mod_ids: Sequence[int]) -> dict[int, ModRow]:
    """Those of the mods that the actor may see."""
    rows = await store.mods_by_id(platform.db, mod_ids)
    teams = await _teams(platform, actor)
    seen = {}
    for row in rows:
        role = teams.get(row["team_id"]) if row["team_id"] else None
        if may_see_mod(actor, row["visibility"], in_team=role is not None):
            seen[row["id"]] = ModRow(
                row["id"], row["game_id"], row["game_slug"], row["team_id"], role is not None,
                role == "owner", as_mod(row),
            )  # fmt: skip
    return seen


async def public_mods(platform: Platform, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Mod]:
    """Those of the (game slug, mod slug) pairs that anyone may see, in one statement."""
    rows = await store.mods_by_slug(platform.db, keys)
    return {
        (row["asked_game"], row["asked_slug"]): as_mod(row)
        for row in rows
        if may_see_mod(ANONYMOUS, row["visibility"], in_team=False)
    }


async def edit_mod(platform: Platform, actor: Actor, mod_id: int) -> ModRow:
    """A mod that the actor may edit: its team's members. Raises :class:`ForbiddenError`."""
    row = await see_mod(platform, actor, mod_id)
    if not row.in_team:
        raise ForbiddenError("Only the mod's team may do this.")
    return row


async def browse(platform: Platform, game_name: str, order: Order, cursor: str | None, limit: int) -> Page[ModSummary]:
    """Published mods of a game."""
    row = await find_game(platform, game_name)
    name = f"mods {row['id']} {order}"
    after = read_cursor(platform.signer, name, cursor)
    key = (_cursor_value(order, after[0]), after[1]) if after else None
    rows = await store.browse(platform.db, row["id"], order, key, limit + 1)
    return page(platform.signer, name, rows, limit, lambda r: [_cursor_text(r["sort_key"]), r["id"]], as_summary)


async def recently_updated(platform: Platform, limit: int) -> list[ModSummary]:
    """The newest changes of all games, for the start page."""
    return [as_summary(r) for r in await store.recently_updated(platform.db, limit)]


async def images(platform: Platform, mod_id: int) -> list[Image]:
    """The gallery of a mod that the caller has seen, in order."""
    return [as_image(r) for r in await store.images(platform.db, mod_id)]


async def first_images(platform: Platform, mods: Sequence[ModSummary]) -> dict[str, Image]:
    """The first picture of each seen mod that has one, by the mod's id; one statement for a whole list."""
    if not mods:
        return {}
    rows = await store.first_images(platform.db, [decode("mod", m.id) for m in mods])
    return {encode("mod", r["mod_id"]): as_image(r) for r in rows}


async def mods_of_member(platform: Platform, member_id: int, cursor: str | None, limit: int) -> Page[ModSummary]:
    """The mods of a member's teams, in every visibility but removed; for themselves."""
    name = f"mine {member_id}"
    after = read_cursor(platform.signer, name, cursor)
    rows = await store.mods_of_member(platform.db, member_id, after[0] if after else None, limit + 1)
    return page(platform.signer, name, rows, limit, lambda r: [r["id"]], as_summary)


async def chains(platform: Platform, mod_id: int) -> list[Chain]:
    """A mod's chains in order; the caller has seen the mod."""
    return [as_chain(r) for r in await store.chains_of_mods(platform.db, [mod_id])]


async def chains_of(platform: Platform, mod_ids: Sequence[int]) -> dict[int, list[Chain]]:
    """The chains of several seen mods."""
    found: dict[int, list[Chain]] = {}
    for row in await store.chains_of_mods(platform.db, mod_ids):
        found.setdefault(row["mod_id"], []).append(as_chain(row))
    return found


async def claims_of(platform: Platform, mod_ids: Sequence[int]) -> dict[int, list[Claim]]:
    """The standing claims of several seen mods."""
    mods = {r["id"]: r["mod_id"] for r in await store.chains_of_mods(platform.db, mod_ids)}
    found: dict[int, list[Claim]] = {}
    for row in await store.claims_of_chains(platform.db, list(mods)):
        found.setdefault(mods[row["chain_id"]], []).append(as_claim(row))
    return found


async def newest_releases(
    platform: Platform, actor: Actor, mods: Sequence[ModRow], each: int
) -> dict[int, list[Release]]:
    """The newest releases of several seen mods that the actor may see, at most ``each`` of one."""
    privileged = [m.id for m in mods if m.in_team or actor.is_moderator]
    public = [m.id for m in mods if not (m.in_team or actor.is_moderator)]
    rows: list[Row] = []
    for ids, states in ((public, _PUBLIC_STATES), (privileged, _ALL_STATES)):
        if ids:
            rows += await store.newest_releases(platform.db, ids, states, each)
    files = await _artifacts(platform, [r["id"] for r in rows])
    found: dict[int, list[Release]] = {}
    for row in rows:
        found.setdefault(row["mod_id"], []).append(as_release(row, files.get(row["id"], [])))
    return found


async def releases(
    platform: Platform,
    row: ModRow,
    actor: Actor,
    *,
    chain_id: int | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[Release]:
    """The releases of a seen mod that the actor may see, newest first."""
    name = f"releases {row.id} {chain_id}"
    after = read_cursor(platform.signer, name, cursor)
    states = _ALL_STATES if row.in_team or actor.is_moderator else _PUBLIC_STATES
    rows = await store.releases_of_mod(platform.db, row.id, states, chain_id, after[0] if after else None, limit + 1)
    files = await _artifacts(platform, [r["id"] for r in rows[:limit]])
    return page(
        platform.signer,
        name,
        rows,
        limit,
        lambda r: [r["id"]],
        lambda r: as_release(r, files.get(r["id"], [])),
    )


async def see_releases(platform: Platform, actor: Actor, ids: Sequence[int]) -> dict[int, tuple[ModRow, Release]]:
    """Those of the releases that the actor may see, with their mods."""
    rows = await store.releases_by_id(platform.db, ids)
    mods = await see_mods(platform, actor, list({r["mod_id"] for r in rows}))
    files = await _artifacts(platform, [r["id"] for r in rows])
    seen = {}
    for row in rows:
        mod = mods.get(row["mod_id"])
        if mod and may_see_release(actor, row["state"], in_team=mod.in_team):
            seen[row["id"]] = (mod, as_release(row, files.get(row["id"], [])))
    return seen


async def see_release(platform: Platform, actor: Actor, name: str) -> tuple[ModRow, Release]:
    """A release by its id that the actor may see. Raises :class:`NotFoundError`."""
    missing = NotFoundError("There is no such release.")
    try:
        id_ = decode("release", name)
    except InvalidIdError:
        raise missing from None
    seen = await see_releases(platform, actor, [id_])
    if id_ not in seen:
        raise missing
    return seen[id_]


async def fetchable_artifact(
    platform: Platform, actor: Actor, release_name: str, place: int = 0
) -> tuple[ModRow, Release, Row]:
    """What a download ticket is about: the release's file whose bytes the actor may fetch now.

    Raises :class:`NotFoundError`, also for what may be seen but not fetched: no byte without a verdict.
    """
    mod, release = await see_release(platform, actor, release_name)
    rows = await store.artifacts_of_releases(platform.db, [decode("release", release.id)])
    file = next((r for r in rows if r["place"] == place), None)
    if file is None:
        raise NotFoundError("The release has no such file.")
    verdict = file["verdict"]
    if file["artifact_id"] is not None and not may_fetch(
        actor, mod.mod.visibility, release.state, verdict, in_team=mod.in_team
    ):
        raise NotFoundError("This file cannot be fetched.")
    return mod, release, file


async def claims(platform: Platform, mod_id: int) -> list[Claim]:
    """The standing claims of a mod's chains and releases; the caller has seen the mod."""
    chain_ids = [r["id"] for r in await store.chains_of_mods(platform.db, [mod_id])]
    return [as_claim(r) for r in await store.claims_of_chains(platform.db, chain_ids)]


async def entries(
    platform: Platform, actor: Actor, release_name: str, place: int, cursor: str | None, limit: int
) -> Page[Entry]:
    """The files inside a release's artifact, by path."""
    _, _, file = await fetchable_artifact(platform, actor, release_name, place)
    if file["artifact_id"] is None:
        raise NotFoundError("This file lies elsewhere; its entries are not known.")
    name = f"entries {file['artifact_id']}"
    after = read_cursor(platform.signer, name, cursor)
    rows = await store.entries(platform.db, file["artifact_id"], after[0] if after else -1, limit + 1)
    return page(
        platform.signer, name, rows, limit, lambda r: [r["place"]],
        lambda r: Entry(r["path"], r["size"], r["sha256"].hex(), r["kind"]),
    )  # fmt: skip


async def dependents(platform: Platform, row: ModRow, cursor: str | None, limit: int) -> Page[ModSummary]:
    """Published mods that require this mod's default chain."""
    default = next((c for c in await chains(platform, row.id) if c.is_default), None)
    if default is None:
        return Page([])
    name = f"dependents {row.id}"
    after = read_cursor(platform.signer, name, cursor)
    rows = await store.dependents(platform.db, row.game_id, default.package, after[0] if after else None, limit + 1)
    return page(platform.signer, name, rows, limit, lambda r: [r["id"]], as_summary)


async def team_names(platform: Platform, team_id: int) -> list[tuple[str, str]]:
    """(name, role) of a team's members, longest-serving first."""
    return [(r["name"], r["role"]) for r in await store.team_members(platform.db, team_id)]


async def _teams(platform: Platform, actor: Actor) -> Mapping[int, str]:
    if actor.member_id is None:
        return {}
    return await store.teams_of(platform.db, actor.member_id)


async def _artifacts(platform: Platform, release_ids: Sequence[int]) -> dict[int, list[ReleaseArtifact]]:
    files: dict[int, list[ReleaseArtifact]] = {}
    if not release_ids:
        return files
    for row in await store.artifacts_of_releases(platform.db, release_ids):
        files.setdefault(row["release_id"], []).append(as_artifact(row))
    return files


def _cursor_text(value: object) -> object:
    return value.isoformat() if hasattr(value, "isoformat") else value


def _cursor_value(order: Order, value: object) -> object:
    import datetime as dt

    return dt.datetime.fromisoformat(str(value)) if order in {"new", "updated"} else value


def as_game(row: Row) -> Game:
    return Game(
        id=encode("game", row["id"]), slug=row["slug"], name=row["name"], summary=row["summary"],
        version_scheme=row["version_scheme"], created_at=row["created_at"],
    )  # fmt: skip


def as_summary(row: Row) -> ModSummary:
    return ModSummary(**_summary_fields(row))  # type: ignore[arg-type]


def as_mod(row: Row) -> Mod:
    return Mod(
        **_summary_fields(row),  # type: ignore[arg-type]
        description=row["description"],
        licence=row["licence"],
        links=row["links"],
        team=encode("team", row["team_id"]) if row["team_id"] else None,
        visibility_reason=row["visibility_reason"],
        source=row["source"],
        created_at=row["created_at"],
        version=row["version"],
    )


def _summary_fields(row: Row) -> dict[str, object]:
    return {
        "id": encode("mod", row["id"]), "game": row["game_slug"], "number": row["number"],
        "slug": row["slug"], "name": row["name"], "summary": row["summary"], "authors": list(row["authors"]),
        "category": row["category"], "tags": list(row["tags"]), "visibility": row["visibility"],
        "downloads": row["downloads"], "published_at": row["published_at"], "updated_at": row["updated_at"],
    }  # fmt: skip


def as_chain(row: Row) -> Chain:
    return Chain(
        id=encode("chain", row["id"]), mod=encode("mod", row["mod_id"]), package=row["package"],
        slug=row["slug"], name=row["name"], category=row["category"], is_default=row["is_default"],
    )  # fmt: skip


def as_release(row: Row, artifacts: list[ReleaseArtifact]) -> Release:
    return Release(
        id=encode("release", row["id"]), mod=encode("mod", row["mod_id"]), chain=encode("chain", row["chain_id"]),
        package=row["package"], version=row["version"], channel=row["channel"], line=row["line"],
        place=row["place"], state=row["state"], state_reason=row["state_reason"], changelog=row["changelog"],
        created_at=row["created_at"], published_at=row["published_at"], downloads=row["downloads"],
        artifacts=artifacts,
    )  # fmt: skip


def as_artifact(row: Row) -> ReleaseArtifact:
    def hexed(column: str) -> str | None:
        return row[column].hex() if row[column] is not None else None

    return ReleaseArtifact(
        artifact=encode("artifact", row["artifact_id"]) if row["artifact_id"] is not None else None,
        file_name=row["file_name"], role=row["role"], loaders=list(row["loaders"]), os=list(row["os"]),
        side=row["side"], size=row["size"], sha256=hexed("sha256"), url=row["url"],
        md5=hexed("md5"), sha1=hexed("sha1"), sha512=hexed("sha512"),
    )  # fmt: skip


def as_image(row: Row) -> Image:
    id_ = encode("image", row["id"])
    return Image(id_, f"/media/{id_}.webp", row["width"], row["height"], row["caption"])


def as_claim(row: Row) -> Claim:
    return Claim(
        id=encode("claim", row["id"]), package=row["package"],
        release=encode("release", row["release_id"]) if row["release_id"] is not None else None,
        kind=row["kind"], body=row["body"], source=row["source"], at=row["at"], by=row["by"],
    )  # fmt: skip
