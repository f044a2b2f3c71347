"""REST of installations."""

from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody

from loadstone.installs import checking, service, updates
from loadstone.installs.models import Check, CheckRequest, Resolution, ResolveRequest, Updates, UpdatesRequest
from loadstone.kernel.permissions import READ_PUBLIC
from loadstone.kernel.rest import NO_STORE, Here, act


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


ROUTES: list[HTTPRouteHandler] = [resolve, check_updates, check_installed]
