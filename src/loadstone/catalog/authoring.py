"""Changing the catalogue: games, mods, chains, claims, and what moderators do to them."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from loadstone.catalog import service, store, writes
from loadstone.catalog.models import (
    Chain,
    Claim,
    GameDetail,
    GameExistsError,
    Mod,
    ModChange,
    NewChain,
    NewClaim,
    NewGame,
    NewMod,
    NotPublishableError,
    SlugTakenError,
    UnknownCategoryError,
    UnknownPackageError,
)
from loadstone.identity.models import Actor
from loadstone.kernel.db import Transaction
from loadstone.kernel.errors import (
    ConflictError,
    FieldError,
    InvalidInputError,
    NotFoundError,
    PreconditionFailedError,
)
from loadstone.kernel.ids import InvalidIdError, decode, encode
from loadstone.kernel.platform import Platform
from loadstone.kernel.rest import etag

_NAMES_A_PACKAGE = frozenset(
    {
        "requires", "conflicts", "discouraged", "recommends", "patches", "replaces", "order_after",
        "order_before", "provides",
    }
)  # fmt: skip


def slugify(name: str) -> str:
    """A slug of a name: ``Über Mod! 2`` → ``uber-mod-2``; ``mod`` when nothing is left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:64].strip("-") or "mod"


def mod_etag(mod: Mod) -> str:
    """The ETag of a mod's current version."""
    return etag(mod.id, mod.version)


def mod_tags(mod_id: int, game_slug: str) -> list[str]:
    """The cache tags that a change of a mod makes stale."""
    return [f"mod:{mod_id}", f"game:{game_slug}"]


async def add_game(platform: Platform, actor: Actor, new: NewGame) -> GameDetail:
    """Raises :class:`GameExistsError`; an unknown version scheme is an invalid input."""
    check_scheme(new.version_scheme)
    for path in new.categories:
        if not re.fullmatch(r"[a-z0-9-]+(/[a-z0-9-]+){0,5}", path):
            raise InvalidInputError(
                f"“{path[:80]}” is not a category path; use slugs with slashes, like weapons/swords.",
                errors=[FieldError("/categories", "not a path")],
            )
    id_ = platform.ids.new()
    async with platform.transaction() as tx:
        if not await writes.insert_game(
            tx, id_=id_, slug=new.slug, name=new.name, summary=new.summary, scheme=new.version_scheme
        ):
            raise GameExistsError()
        await writes.add_builds(tx, id_, new.builds)
        await writes.add_loaders(tx, id_, new.loaders)
        await writes.add_categories(tx, id_, [(platform.ids.new(), p, n) for p, n in new.categories.items()])
        await tx.emit(
            "game.added", subject=id_, game=id_, actor=actor.member_id, data={"slug": new.slug},
            tags=["games", f"game:{new.slug}"],
        )  # fmt: skip
    return await service.game(platform, new.slug)


def check_scheme(name: str) -> None:
    """Raises :class:`InvalidInputError` for a version scheme that does not exist."""
    from loadstone.compat.versions import SCHEMES

    if name not in SCHEMES:
        raise InvalidInputError(
            f"There is no version scheme “{name[:40]}”; there are {', '.join(sorted(SCHEMES))}.",
            errors=[FieldError("/version_scheme", "unknown scheme")],
        )


async def make_mod(platform: Platform, actor: Actor, game_name: str, new: NewMod) -> Mod:
    """Make a mod with a team of its own and a default chain. Raises :class:`SlugTakenError`,
    :class:`UnknownCategoryError`.
    """
    game = await service.find_game(platform, game_name)
    id_, team_id, chain_id = platform.ids.new(), platform.ids.new(), platform.ids.new()
    now = platform.clock.now()
    async with platform.transaction() as tx:
        number = await writes.next_mod_number(tx, game["id"])
        slug = await _take_slug(tx, game["id"], id_, new.slug, slugify(new.name), number)
        await writes.insert_team(tx, team_id, new.name, actor.member)
        await writes.insert_mod(
            tx,
            {
                "id": id_, "game_id": game["id"], "number": number, "slug": slug, "name": new.name,
                "summary": new.summary, "description": new.description, "authors": [actor.name],
                "category_id": await _category(tx, game["id"], new.category), "tags": sorted(set(new.tags)),
                "licence": new.licence, "team_id": team_id, "visibility": new.visibility,
                "published_at": now if new.visibility == "published" else None,
            },
        )  # fmt: skip
        await _insert_default_chain(tx, chain_id, id_, game["id"], slug, new.name)
        await tx.emit(
            "mod.made", subject=id_, game=game["id"], actor=actor.member,
            data={"visibility": new.visibility, "slug": slug}, tags=mod_tags(id_, game["slug"]),
        )  # fmt: skip
    return (await service.see_mod(platform, actor, id_)).mod


async def change_mod(platform: Platform, actor: Actor, mod_id: int, given: ModChange, if_match: str | None) -> Mod:
    """Change the given fields. ``if_match`` is the ETag that the caller read, or None for any.

    Raises :class:`PreconditionFailedError` when somebody else changed the mod in between.
    """
    row = await service.edit_mod(platform, actor, mod_id)
    values = {k: v for k, v in msgspec.structs.asdict(given).items() if v is not msgspec.UNSET}
    async with platform.transaction() as tx:
        locked = await writes.lock_mod(tx, mod_id)
        if locked is None:
            raise NotFoundError("There is no such mod.")
        if if_match is not None and if_match != etag(row.mod.id, locked["version"]):
            raise PreconditionFailedError(headers={"ETag": etag(row.mod.id, locked["version"])})
        if "category" in values:
            values["category_id"] = await _category(tx, row.game_id, values.pop("category"))
        if "tags" in values:
            values["tags"] = sorted(set(values["tags"]))
        if "slug" in values and not await writes.claim_slug(tx, row.game_id, values["slug"], mod_id):
            raise SlugTakenError(errors=[FieldError("/slug", "taken")])
        _check_visibility(locked["visibility"], values)
        if values.get("visibility") == "published" and locked["published_at"] is None:
            values["published_at"] = platform.clock.now()
        await writes.update_mod(tx, mod_id, values, platform.clock.now())
        await tx.emit(
            "mod.changed", subject=mod_id, game=row.game_id, actor=actor.member,
            data={"fields": sorted(values)}, tags=mod_tags(mod_id, row.game_slug),
        )  # fmt: skip
    rows = await store.mods_by_id(platform.db, [mod_id])
    return service.as_mod(rows[0])


async def moderate_mod(
    platform: Platform,
    actor: Actor,
    mod_id: int,
    visibility: Literal["published", "hidden", "quarantined", "removed"],
    reason: str,
) -> Mod:
    """Hide, quarantine, remove or restore a mod, with the reason; takes effect with the commit."""
    row = await service.see_mod(platform, actor, mod_id)
    values: dict[str, Any] = {"visibility": visibility, "visibility_reason": reason}
    async with platform.transaction() as tx:
        locked = await writes.lock_mod(tx, mod_id)
        if locked is None:
            raise NotFoundError("There is no such mod.")
        if visibility == "published" and locked["published_at"] is None:
            values["published_at"] = platform.clock.now()
        await writes.update_mod(tx, mod_id, values, platform.clock.now())
        await tx.emit(
            f"mod.{'restored' if visibility == 'published' else visibility}", subject=mod_id,
            game=row.game_id, actor=actor.member_id, data={"reason": reason, "before": locked["visibility"]},
            tags=mod_tags(mod_id, row.game_slug),
        )  # fmt: skip
    return service.as_mod((await store.mods_by_id(platform.db, [mod_id]))[0])


ReleaseAction = Literal["yank", "restore", "archive", "quarantine"]
_ACTIONS: dict[str, tuple[str, frozenset[str], bool]] = {
    # action → (state after, states it may start from, whether it is the moderators' alone)
    "yank": ("yanked", frozenset({"published", "archived"}), False),
    "archive": ("archived", frozenset({"published", "yanked"}), False),
    "restore": ("published", frozenset({"yanked", "archived"}), False),
    "quarantine": ("quarantined", frozenset({"published", "yanked", "archived"}), True),
    "release": ("published", frozenset({"quarantined"}), True),
}


async def act_on_release(platform: Platform, actor: Actor, release_name: str, action: str, reason: str) -> None:
    """Yank, archive, restore (the team), quarantine or release from it (moderators), with the reason."""
    mod, release = await service.see_release(platform, actor, release_name)
    after, starts, moderators_only = _ACTIONS[action]
    if not actor.is_moderator and (moderators_only or not mod.in_team):
        raise NotFoundError("There is no such release.")
    id_ = decode("release", release.id)
    async with platform.transaction() as tx:
        locked = await writes.lock_release(tx, id_)
        if locked is None:
            raise NotFoundError("There is no such release.")
        if locked["state"] == after:
            return
        if locked["state"] not in starts:
            raise ConflictError(f"A release that is {locked['state']} cannot be {after}.")
        await writes.set_release_state(tx, id_, after, reason, None)
        await writes.record(
            tx, id_, action, before={"state": locked["state"]}, after={"state": after},
            actor=actor.member_id, reason=reason,
        )  # fmt: skip
        await tx.emit(
            f"release.{after if action != 'restore' else 'restored'}", subject=id_, game=mod.game_id,
            actor=actor.member_id, data={"mod": mod.id, "reason": reason},
            tags=[*mod_tags(mod.id, mod.game_slug), f"release:{id_}"],
        )  # fmt: skip


async def add_chain(platform: Platform, actor: Actor, mod_id: int, new: NewChain) -> Chain:
    """Add an optional line of updates to a mod. Raises :class:`ConflictError` for a slug in use."""
    row = await service.edit_mod(platform, actor, mod_id)
    slug = new.slug or slugify(new.name)
    default = next(c for c in await service.chains(platform, mod_id) if c.is_default)
    values: dict[str, Any] = {
        "id": platform.ids.new(), "mod_id": mod_id, "game_id": row.game_id,
        "package": f"{default.package}/{slug}", "slug": slug, "name": new.name, "category": new.category,
        "is_default": False,
    }  # fmt: skip
    async with platform.transaction() as tx:
        if not await writes.insert_chain(tx, values):
            raise ConflictError("The mod has a chain with this slug; take another.")
        await tx.emit(
            "chain.added", subject=values["id"], game=row.game_id, actor=actor.member,
            data={"mod": mod_id}, tags=mod_tags(mod_id, row.game_slug),
        )  # fmt: skip
    return next(c for c in await service.chains(platform, mod_id) if c.slug == slug)


async def add_claims(
    tx: Transaction,
    platform: Platform,
    *,
    game_id: int,
    chain_id: int,
    release_id: int | None,
    claims: Sequence[NewClaim],
    source: str,
    actor_id: int | None,
) -> list[int]:
    """Append claims inside the caller's transaction. Raises :class:`UnknownPackageError`."""
    made = []
    for nth, new in enumerate(claims):
        check_claim(new, f"/claims/{nth}")
        id_ = platform.ids.new()
        body = {k: v for k, v in msgspec.to_builtins(new).items() if k != "kind" and v not in (None, "")}
        await writes.insert_claim(
            tx,
            {
                "id": id_, "game_id": game_id, "chain_id": chain_id, "release_id": release_id,
                "kind": new.kind, "about": new.target or "", "body": body, "source": source, "actor_id": actor_id,
            },
        )  # fmt: skip
        made.append(id_)
    if made:
        await tx.emit(
            "claims.added", subject=chain_id, game=game_id, actor=actor_id,
            data={"release": release_id, "claims": made}, tags=[f"claims:{game_id}"],
        )  # fmt: skip
    return made


def check_claim(new: NewClaim, at: str) -> None:
    """Refuse a claim that says nothing. Raises :class:`UnknownPackageError`, :class:`InvalidInputError`."""
    if new.kind in _NAMES_A_PACKAGE and not new.target:
        raise UnknownPackageError(errors=[FieldError(f"{at}/target", f"{new.kind} names a package")])
    if new.kind == "any_of" and not new.any_of:
        raise UnknownPackageError(errors=[FieldError(f"{at}/any_of", "names at least one alternative")])
    if new.kind in {"works_with", "broken_in"} and not new.builds:
        raise InvalidInputError(
            f"{new.kind} names builds: [first, last].", errors=[FieldError(f"{at}/builds", "missing")]
        )


def check_ranges(scheme_name: str, new: NewClaim, at: str) -> None:
    """Refuse a claim whose ranges the game's version scheme cannot read; ``provides`` names one version.

    Raises :class:`InvalidInputError`.
    """
    from loadstone.compat.versions import InvalidRange, InvalidVersion, scheme

    read = scheme(scheme_name).key if new.kind == "provides" else scheme(scheme_name).parse_range
    given = [(f"{at}/range", new.range)]
    given += [(f"{at}/any_of/{nth}/range", end.range) for nth, end in enumerate(new.any_of or [])]
    for where, text in given:
        try:
            if text:
                read(text)
        except (InvalidRange, InvalidVersion) as error:
            raise InvalidInputError(f"{error}.", errors=[FieldError(where, error.reason)]) from None


async def claim(platform: Platform, actor: Actor, mod_id: int, chain_name: str | None, new: NewClaim) -> list[Claim]:
    """Say something about a mod's chain as its author. Returns the claims that stand now."""
    row = await service.edit_mod(platform, actor, mod_id)
    chain = await pick_chain(platform, mod_id, chain_name)
    check_ranges((await service.game(platform, row.game_slug)).version_scheme, new, "")
    async with platform.transaction() as tx:
        await add_claims(
            tx, platform, game_id=row.game_id, chain_id=decode("chain", chain.id), release_id=None,
            claims=[new], source="author", actor_id=actor.member,
        )  # fmt: skip
    return await service.claims(platform, mod_id)


async def withdraw_claim(platform: Platform, actor: Actor, mod_id: int, claim_name: str) -> None:
    """Take a claim back, by a row of its own. Raises :class:`NotFoundError`."""
    row = await service.edit_mod(platform, actor, mod_id)
    standing = {c.id: c for c in await service.claims(platform, mod_id)}
    found = standing.get(claim_name)
    if found is None:
        raise NotFoundError("This mod has no such claim that stands.")
    chains = {c.package: decode("chain", c.id) for c in await service.chains(platform, mod_id)}
    async with platform.transaction() as tx:
        await writes.insert_claim(
            tx,
            {
                "id": platform.ids.new(), "game_id": row.game_id, "chain_id": chains[found.package],
                "release_id": None, "kind": found.kind, "about": "", "body": {}, "source": "author",
                "actor_id": actor.member, "withdraws": decode("claim", claim_name),
            },
        )  # fmt: skip
        await tx.emit(
            "claims.withdrawn", subject=chains[found.package], game=row.game_id, actor=actor.member,
            data={"claims": [decode("claim", claim_name)]}, tags=[f"claims:{row.game_id}"],
        )  # fmt: skip


async def pick_chain(platform: Platform, mod_id: int, name: str | None) -> Chain:
    """A mod's chain by slug or id; the default one without a name. Raises :class:`NotFoundError`."""
    chains = await service.chains(platform, mod_id)
    for chain in chains:
        if (name is None and chain.is_default) or name in {chain.slug, chain.id}:
            return chain
    raise NotFoundError(f"The mod has no chain “{(name or '')[:64]}”.")


def claim_id(text: str) -> int:
    """Raises :class:`NotFoundError` for what is no claim's id."""
    try:
        return decode("claim", text)
    except InvalidIdError:
        raise NotFoundError("There is no such claim.") from None


async def _take_slug(
    tx: Transaction, game_id: int, mod_id: int, wanted: str | None, made: str, number: int | None
) -> str:
    # The slug's row names the mod before the mod's own row exists; the key is checked at commit.
    await tx.execute("set constraints all deferred")
    if wanted is not None:
        if not await writes.claim_slug(tx, game_id, wanted, mod_id):
            raise SlugTakenError(errors=[FieldError("/slug", "taken")])
        return wanted
    for slug in (made, f"{made[:54].rstrip('-')}-{number}"):
        if await writes.claim_slug(tx, game_id, slug, mod_id):
            return slug
    raise SlugTakenError(errors=[FieldError("/slug", "taken")])


async def _category(tx: Transaction, game_id: int, path: str | None) -> int | None:
    if path is None:
        return None
    found = await writes.category_id(tx, game_id, path)
    if found is None:
        raise UnknownCategoryError(errors=[FieldError("/category", f"unknown: {path[:80]}")])
    return found


async def _insert_default_chain(
    tx: Transaction, chain_id: int, mod_id: int, game_id: int, slug: str, name: str
) -> None:
    values = {
        "id": chain_id, "mod_id": mod_id, "game_id": game_id, "slug": "main", "name": "Main",
        "category": "main", "is_default": True,
    }  # fmt: skip
    for package in (slug, f"{slug}-{encode('chain', chain_id)}"):  # an import may have the bare name
        if await writes.insert_chain(tx, values | {"package": package}):
            return
    raise ConflictError(f"The package name of {name} is taken.")


def _check_visibility(now: str, values: dict[str, Any]) -> None:
    wanted = values.get("visibility")
    if wanted is None:
        return
    if now in {"hidden", "quarantined"}:
        raise NotPublishableError()
    if now == "removed" and wanted != "removed":
        raise ConflictError("A removed mod is restored by a moderator.")
