"""The search page: one box, filters that are links with their counts."""

from typing import Annotated, Any
from urllib.parse import urlencode

from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from loadstone.catalog import service as catalog
from loadstone.discovery import service as discovery
from loadstone.discovery.models import FACETS, Query, Sort
from loadstone.identity.models import Who
from loadstone.kernel.errors import UnavailableError
from loadstone.kernel.permissions import READ_PUBLIC
from loadstone.kernel.rest import Here, read
from loadstone.web.render import page

AnyRequest = Request[Any, Any, Any]
Text = Annotated[str | None, QueryParameter(max_length=300)]
SORTS: dict[Sort, str] = {
    "relevance": "Best match",
    "downloads": "Most downloaded",
    "updated": "Recently updated",
    "new": "New",
    "name": "By name",
}
NAMES = {"category": "Category", "tag": "Tag", "loader": "Loader", "build": "Game build"}


@read("/search", READ_PUBLIC, include_in_schema=False)
async def search_page(
    request: AnyRequest,
    actor: Who,
    platform: Here,
    q: Annotated[str, QueryParameter(max_length=100_000)] = "",
    game: Text = None,
    category: Text = None,
    tag: Text = None,
    loader: Text = None,
    build: Text = None,
    author: Text = None,
    sort: Annotated[Sort, QueryParameter()] = "relevance",
    cursor: Annotated[str | None, QueryParameter(max_length=500)] = None,
) -> Response[str]:
    chosen = {"game": game, "category": category, "tag": tag, "loader": loader, "build": build, "author": author}
    kept = {name: value for name, value in chosen.items() if value}
    query = Query(
        q=q, game=game or None, category=category or None, tags=(tag,) if tag else (), loader=loader or None,
        build=build or None, author=author or None, sort=sort, cursor=cursor or None, limit=24,
    )  # fmt: skip
    found, starting = None, False
    try:
        found = await discovery.search(platform, actor, query)
    except UnavailableError:
        starting = True

    def address(**changes: str | None) -> str:
        values = {"q": q, "sort": sort} | kept | changes
        return "/search?" + urlencode({k: v for k, v in values.items() if v and (k, v) != ("sort", "relevance")})

    return page(
        request,
        "search.html",
        status=503 if starting else 200,
        found=found,
        pictures=await catalog.first_images(platform, found.items) if found else {},
        chosen=kept,
        sort=sort,
        sorts=SORTS,
        facets=[(name, NAMES[name], getattr(found.facets, name)[:12]) for name in FACETS] if found else [],
        games=(await catalog.list_games(platform, None, 50)).items,
        address=address,
    )


ROUTES: list[HTTPRouteHandler] = [search_page]
