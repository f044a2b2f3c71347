"""The start page, games, members, the site's own files."""

from typing import Annotated, Any

from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, QueryParameter

from loadstone.catalog import service as catalog
from loadstone.kernel.errors import NotFoundError
from loadstone.kernel.permissions import READ_PUBLIC
from loadstone.kernel.rest import Here, read
from loadstone.web.render import page, static_address, static_files

AnyRequest = Request[Any, Any, Any]
Cursor = Annotated[str | None, QueryParameter(max_length=500)]
ORDERS: dict[str, str] = {
    "updated": "Recently updated",
    "new": "New",
    "downloads": "Most downloaded",
    "name": "By name",
}


@read("/", READ_PUBLIC, include_in_schema=False)
async def home(request: AnyRequest, platform: Here) -> Response[str]:
    games = await catalog.list_games(platform, None, 12)
    recent = await catalog.recently_updated(platform, 12)
    return page(
        request,
        "home.html",
        games=games.items,
        more_games=games.next_cursor is not None,
        recent=recent,
        pictures=await catalog.first_images(platform, recent),
    )


@read("/games", READ_PUBLIC, include_in_schema=False)
async def games(request: AnyRequest, platform: Here, cursor: Cursor = None) -> Response[str]:
    found = await catalog.list_games(platform, cursor, 48)
    return page(request, "games.html", games=found)


@read("/games/{game:str}", READ_PUBLIC, include_in_schema=False)
async def game_page(
    game: FromPath[str],
    request: AnyRequest,
    platform: Here,
    sort: Annotated[catalog.Order, QueryParameter()] = "updated",
    cursor: Cursor = None,
) -> Response[str]:
    found = await catalog.game(platform, game)
    mods = await catalog.browse(platform, game, sort, cursor, 24)
    pictures = await catalog.first_images(platform, mods.items)
    return page(request, "game.html", game=found, mods=mods, pictures=pictures, sort=sort, orders=ORDERS)


@read("/static/{name:str}", READ_PUBLIC, include_in_schema=False)
async def static(name: FromPath[str], request: AnyRequest) -> Response[bytes]:
    found = static_files().get(name)
    if found is None:
        raise NotFoundError("The site has no such file.")
    content, kind = found
    fresh = request.url.query and static_address(name).endswith(request.url.query)
    cache = "public, max-age=31536000, immutable" if fresh else "public, max-age=300"
    return Response(content, media_type=f"{kind}; charset=utf-8", headers={"Cache-Control": cache})


ROUTES: list[HTTPRouteHandler] = [home, games, game_page, static]
