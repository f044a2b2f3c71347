"""REST of installations."""

from typing import Annotated

from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter

from loadstone.installs import checking, installability, locking, service, updates
from loadstone.installs.models import (
    Check,
    CheckRequest,
    LockfileChanges,
    LockfilesRequest,
    Resolution,
    ResolveRequest,
    Standings,
    Updates,
    UpdatesRequest,
)
from loadstone.kernel.permissions import READ_PUBLIC
from loadstone.kernel.rest import NO_STORE, Here, act, read


@act(
    "/api/v1/resolve",
    READ_PUBLIC,
    summary="Plan an installation",
    tags=["installs"],
    opt={"asks_only": True, "answers": {404: "There is no such game."}},
    response_headers=NO_STORE,
)
async def resolve(data: JSONBody[ResolveRequest], platform: Here) -> Resolution:
    """Which releases to install so that everything asked for works together, or why there is no such set.

    Every release of a plan may be fetched at this moment. Without a plan, ``facts`` say in sentences what
    contradicts what and who said so, and ``repairs`` are ways out that were tried.
    """
    return await service.resolve(platform, data)


@act(
    "/api/v1/updates",
    READ_PUBLIC,
    summary="Check for updates",
    tags=["installs"],
    opt={"asks_only": True},
    response_headers=NO_STORE,
)
async def check_updates(data: JSONBody[UpdatesRequest], platform: Here) -> Updates:
    """The newest fitting release of each of up to 4,000 installed ones, each looked at by itself.

    Whether the new ones go together is for ``/api/v1/resolve`` to say.
    """
    return await updates.check(platform, data)


@act(
    "/api/v1/check",
    READ_PUBLIC,
    summary="Check an installed set",
    tags=["installs"],
    opt={"asks_only": True, "answers": {404: "There is no such game."}},
    response_headers=NO_STORE,
)
async def check_installed(data: JSONBody[CheckRequest], platform: Here) -> Check:
    """Whether up to 2,000 installed releases go together on a build, and what is wrong if they do not.

    With ``going_to``, also what would break (and what would be mended) if the game went to that build.
    """
    return await checking.check(platform, data)


@read(
    "/api/v1/games/{game:str}/installability",
    READ_PUBLIC,
    summary="What can be installed",
    tags=["installs"],
    response_headers=NO_STORE,
)
async def list_installability(
    game: FromPath[str],
    platform: Here,
    build: Annotated[
        str | None, QueryParameter(min_length=1, max_length=100, description="A build of the game.")
    ] = None,
    mods: Annotated[
        str | None,
        QueryParameter(max_length=50_000, description="Up to 1,000 slugs, numbers or ids, separated by commas."),
    ] = None,
    cursor: Annotated[
        str | None, QueryParameter(max_length=2000, description="next_cursor of the page before.")
    ] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=100, description="Packages on a page.")] = 100,
) -> Standings:
    """Which mods can be installed on a build together with all that they need, and why the others cannot.

    Without ``build``, on any build. Reasons are looked for during a bounded time; where ``reason`` is null for a
    mod that cannot be installed, ask again.
    """
    return await installability.standings(platform, game, build, mods, cursor, limit)


@act(
    "/api/v1/lockfiles/diff",
    READ_PUBLIC,
    summary="Compare two lockfiles",
    tags=["installs"],
    opt={"asks_only": True},
    response_headers=NO_STORE,
)
async def diff_lockfiles(data: JSONBody[LockfilesRequest], platform: Here) -> LockfileChanges:
    """What was added, removed and changed from one lockfile to another of the same game, and which way."""
    return await locking.diff(platform, data)


ROUTES: list[HTTPRouteHandler] = [resolve, check_updates, check_installed, list_installability, diff_lockfiles]
