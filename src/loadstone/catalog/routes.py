"""REST of the catalogue."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from loadstone.catalog import authoring, pictures, service
from loadstone.catalog.models import (
    ADMINISTER_GAMES,
    MODERATE,
    WRITE_MODS,
    Chain,
    Claim,
    Entry,
    Game,
    GameDetail,
    Image,
    Mod,
    ModChange,
    ModSummary,
    NewChain,
    NewClaim,
    NewGame,
    NewMod,
    Release,
)
from loadstone.identity.models import Actor, Who
from loadstone.kernel.errors import TooLargeError
from loadstone.kernel.ids import decode
from loadstone.kernel.pages import Page
from loadstone.kernel.permissions import READ_PUBLIC
from loadstone.kernel.platform import Platform
from loadstone.kernel.rest import NO_STORE, Here, act, change, check_if_match, create, etag, read, remove

Limit = Annotated[int, QueryParameter(ge=1, le=100, description="Items on a page.")]
Cursor = Annotated[str | None, QueryParameter(max_length=500, description="next_cursor of the page before.")]
Reason = Annotated[str, msgspec.Meta(min_length=3, max_length=500)]


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a moderator decides of a mod."""

    visibility: Literal["published", "hidden", "quarantined", "removed"]
    reason: Reason


class ReleaseChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is done to a release; ``quarantine`` and ``release`` are the moderators'."""

    action: Literal["yank", "archive", "restore", "quarantine", "release"]
    reason: Reason


@read("/api/v1/games", READ_PUBLIC, summary="List games", tags=["catalogue"])
async def list_games(platform: Here, cursor: Cursor = None, limit: Limit = 50) -> Page[Game]:
    """All games, by slug."""
    return await service.list_games(platform, cursor, limit)


@read("/api/v1/games/{game:str}", READ_PUBLIC, summary="Read a game", tags=["catalogue"])
async def read_game(game: FromPath[str], platform: Here) -> GameDetail:
    """A game with its builds (oldest first), loaders and categories, by slug or id."""
    return await service.game(platform, game)


@create(
    "/api/v1/games",
    ADMINISTER_GAMES,
    summary="Add a game",
    tags=["catalogue"],
    opt={"gives": {"Location": "Where the game is."}},
)
async def add_game(data: JSONBody[NewGame], actor: Who, platform: Here) -> Response[GameDetail]:
    """Add a game with its builds, loaders and categories."""
    made = await authoring.add_game(platform, actor, data)
    return Response(made, headers={"Location": f"/api/v1/games/{made.slug}"})


@read("/api/v1/games/{game:str}/mods", READ_PUBLIC, summary="Browse mods", tags=["catalogue"])
async def browse(
    game: FromPath[str],
    platform: Here,
    sort: FromQuery[service.Order] = "updated",
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[ModSummary]:
    """Published mods of a game: ``new``, ``updated``, ``name`` or ``downloads`` first."""
    return await service.browse(platform, game, sort, cursor, limit)


@create(
    "/api/v1/games/{game:str}/mods",
    WRITE_MODS,
    summary="Make a mod",
    tags=["catalogue"],
    opt={"gives": {"Location": "Where the mod is.", "ETag": "For If-Match of the next change."}},
)
async def make_mod(game: FromPath[str], data: JSONBody[NewMod], actor: Who, platform: Here) -> Response[Mod]:
    """Make a mod with a team of its own, you as owner, and a default chain."""
    made = await authoring.make_mod(platform, actor, game, data)
    headers = {"Location": f"/api/v1/mods/{made.id}", "ETag": etag(made.id, made.version)}
    return Response(made, headers=headers)


@read("/api/v1/games/{game:str}/mods/{mod:str}", READ_PUBLIC, summary="Read a mod by name", tags=["catalogue"])
async def read_mod_by_name(game: FromPath[str], mod: FromPath[str], actor: Who, platform: Here) -> Response[Mod]:
    """A mod by its slug (old ones too), its number in the game, or its id."""
    return await _mod_response(platform, actor, await service.resolve_mod(platform, game, mod))


@read("/api/v1/mods/{mod:str}", READ_PUBLIC, summary="Read a mod", tags=["catalogue"])
async def read_mod(mod: FromPath[str], actor: Who, platform: Here) -> Response[Mod]:
    """A mod by its id."""
    return await _mod_response(platform, actor, await _mod_id(platform, mod))


@change(
    "/api/v1/mods/{mod:str}",
    WRITE_MODS,
    summary="Change a mod",
    tags=["catalogue"],
    opt={"gives": {"ETag": "For If-Match of the next change."}},
)
async def change_mod(
    mod: FromPath[str], data: JSONBody[ModChange], actor: Who, platform: Here, request: Request[Any, Any, Any]
) -> Response[Mod]:
    """Change the given fields. Needs ``If-Match`` with the ETag that you read."""
    mod_id = await _mod_id(platform, mod)
    row = await service.edit_mod(platform, actor, mod_id)
    current = etag(row.mod.id, row.mod.version)
    check_if_match(request, current)
    changed = await authoring.change_mod(platform, actor, mod_id, data, current)
    return Response(changed, headers={"ETag": etag(changed.id, changed.version)})


@act(
    "/api/v1/mods/{mod:str}/moderation",
    MODERATE,
    summary="Hide, quarantine or restore a mod",
    tags=["moderation"],
)
async def moderate_mod(mod: FromPath[str], data: JSONBody[Verdict], actor: Who, platform: Here) -> Response[Mod]:
    """Takes effect on every surface with the commit; the reason is shown to the team."""
    moderated = await authoring.moderate_mod(
        platform, actor, await _mod_id(platform, mod), data.visibility, data.reason
    )
    return Response(moderated, headers=NO_STORE)


@read("/api/v1/mods/{mod:str}/chains", READ_PUBLIC, summary="List a mod's chains", tags=["catalogue"])
async def list_chains(mod: FromPath[str], actor: Who, platform: Here) -> list[Chain]:
    """The lines of updates of a mod, the default one among them."""
    row = await service.see_mod(platform, actor, await _mod_id(platform, mod))
    return await service.chains(platform, row.id)


@create("/api/v1/mods/{mod:str}/chains", WRITE_MODS, summary="Add a chain", tags=["catalogue"])
async def add_chain(mod: FromPath[str], data: JSONBody[NewChain], actor: Who, platform: Here) -> Chain:
    """Add an optional line of updates: other textures, a patch for another mod."""
    return await authoring.add_chain(platform, actor, await _mod_id(platform, mod), data)


@read("/api/v1/mods/{mod:str}/releases", READ_PUBLIC, summary="List a mod's releases", tags=["catalogue"])
async def list_releases(
    mod: FromPath[str],
    actor: Who,
    platform: Here,
    chain: FromQuery[str | None] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[Release]:
    """Releases with their files, newest first; of one chain by its slug or id."""
    row = await service.see_mod(platform, actor, await _mod_id(platform, mod))
    chain_id = None
    if chain is not None:
        chain_id = decode("chain", (await authoring.pick_chain(platform, row.id, chain)).id)
    return await service.releases(platform, row, actor, chain_id=chain_id, cursor=cursor, limit=limit)


@read("/api/v1/releases/{release:str}", READ_PUBLIC, summary="Read a release", tags=["catalogue"])
async def read_release(release: FromPath[str], actor: Who, platform: Here) -> Release:
    """A release with its files and digests."""
    return (await service.see_release(platform, actor, release))[1]


@act("/api/v1/releases/{release:str}/state", WRITE_MODS, summary="Yank, archive or restore", tags=["catalogue"])
async def act_on_release(release: FromPath[str], data: JSONBody[ReleaseChange], actor: Who, platform: Here) -> Release:
    """Recorded for ever with who did it and why. Yanked: still fetched by those who have it, never newly chosen."""
    await authoring.act_on_release(platform, actor, release, data.action, data.reason)
    return (await service.see_release(platform, actor, release))[1]


@read("/api/v1/releases/{release:str}/entries", READ_PUBLIC, summary="List a file's entries", tags=["catalogue"])
async def list_entries(
    release: FromPath[str], actor: Who, platform: Here, file: Annotated[int, QueryParameter(ge=0, le=1000)] = 0,
    cursor: Cursor = None, limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 100,
) -> Page[Entry]:  # fmt: skip
    """The files inside the release's archive, with sizes and SHA-256."""
    return await service.entries(platform, actor, release, file, cursor, limit)


@read("/api/v1/mods/{mod:str}/claims", READ_PUBLIC, summary="List a mod's claims", tags=["catalogue"])
async def list_claims(mod: FromPath[str], actor: Who, platform: Here) -> list[Claim]:
    """What is known of a mod: what it requires, provides, conflicts with; who said it, when."""
    row = await service.see_mod(platform, actor, await _mod_id(platform, mod))
    return await service.claims(platform, row.id)


@create("/api/v1/mods/{mod:str}/claims", WRITE_MODS, summary="Claim something of your mod", tags=["catalogue"])
async def add_claim(
    mod: FromPath[str],
    data: JSONBody[NewClaim],
    actor: Who,
    platform: Here,
    chain: FromQuery[str | None] = None,
) -> list[Claim]:
    """Append a fact about a chain (the default one without ``chain``); answers with all that stand."""
    return await authoring.claim(platform, actor, await _mod_id(platform, mod), chain, data)


@remove("/api/v1/mods/{mod:str}/claims/{claim:str}", WRITE_MODS, summary="Withdraw a claim", tags=["catalogue"])
async def withdraw_claim(mod: FromPath[str], claim: FromPath[str], actor: Who, platform: Here) -> None:
    """The claim stays in the history; it stands no more."""
    authoring.claim_id(claim)
    await authoring.withdraw_claim(platform, actor, await _mod_id(platform, mod), claim)


@read("/api/v1/mods/{mod:str}/dependents", READ_PUBLIC, summary="Which mods need this one", tags=["catalogue"])
async def dependents(
    mod: FromPath[str], actor: Who, platform: Here, cursor: Cursor = None, limit: Limit = 50
) -> Page[ModSummary]:
    """Published mods that require it."""
    row = await service.see_mod(platform, actor, await _mod_id(platform, mod))
    return await service.dependents(platform, row, cursor, limit)


@read("/api/v1/me/mods", WRITE_MODS, summary="My mods", tags=["catalogue"])
async def my_mods(actor: Who, platform: Here, cursor: Cursor = None, limit: Limit = 50) -> Response[Page[ModSummary]]:
    """The mods of your teams, newest first, drafts included."""
    found = await service.mods_of_member(platform, actor.member, cursor, limit)
    return Response(found, headers=NO_STORE)


@read("/api/v1/mods/{mod:str}/images", READ_PUBLIC, summary="A mod's gallery", tags=["catalogue"])
async def list_images(mod: FromPath[str], actor: Who, platform: Here) -> list[Image]:
    """The pictures of a mod, in order."""
    row = await service.see_mod(platform, actor, await _mod_id(platform, mod))
    return await service.images(platform, row.id)


@create(
    "/api/v1/mods/{mod:str}/images",
    WRITE_MODS,
    keyed=False,
    streams=True,
    summary="Add a picture",
    tags=["catalogue"],
    opt={"body": dict.fromkeys(("image/png", "image/jpeg", "image/webp", "image/gif"), "The picture's file.")},
)
async def add_image(
    mod: FromPath[str],
    request: Request[Any, Any, Any],
    actor: Who,
    platform: Here,
    caption: Annotated[str, QueryParameter(max_length=200)] = "",
) -> Image:
    """Send a PNG, JPEG, WebP or GIF as the body. It is made anew as WebP, without its metadata."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > pictures.MOST_BYTES:
            raise TooLargeError(f"A picture may have {pictures.MOST_BYTES} bytes.")
    return await pictures.add(platform, actor, await _mod_id(platform, mod), bytes(data), caption)


@remove("/api/v1/mods/{mod:str}/images/{image:str}", WRITE_MODS, summary="Remove a picture", tags=["catalogue"])
async def remove_image(mod: FromPath[str], image: FromPath[str], actor: Who, platform: Here) -> None:
    """Take a picture out of the gallery."""
    await pictures.remove(platform, actor, await _mod_id(platform, mod), image)


@read("/media/{name:str}", READ_PUBLIC, include_in_schema=False)
async def picture(name: FromPath[str], actor: Who, platform: Here) -> Response[bytes]:
    data, sha256, public = await pictures.read(platform, actor, name)
    cache = "public, max-age=3600" if public else "private, no-store"
    return Response(data, media_type="image/webp", headers={"ETag": f'"{sha256[:32]}"', "Cache-Control": cache})


async def _mod_id(platform: Platform, name: str) -> int:
    return await service.resolve_mod(platform, "", name)


async def _mod_response(platform: Platform, actor: Actor, mod_id: int) -> Response[Mod]:
    row = await service.see_mod(platform, actor, mod_id)
    headers = {"ETag": etag(row.mod.id, row.mod.version), "Cache-Control": "private, no-cache"}
    return Response(row.mod, headers=headers)


ROUTES: list[HTTPRouteHandler] = [
    list_games, read_game, add_game, browse, make_mod, read_mod_by_name, read_mod, change_mod, moderate_mod,
    list_chains, add_chain, list_releases, read_release, act_on_release, list_entries, list_claims, add_claim,
    withdraw_claim, dependents, my_mods, list_images, add_image, remove_image, picture,
]  # fmt: skip
