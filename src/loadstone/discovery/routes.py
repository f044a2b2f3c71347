"""REST of discovery."""

from typing import Annotated

from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery, QueryParameter

from loadstone.discovery import service
from loadstone.discovery.models import Query, SearchPage, Sort
from loadstone.identity.models import Who
from loadstone.kernel.permissions import READ_PUBLIC
from loadstone.kernel.rest import Here, read

Text = Annotated[
    str,
    QueryParameter(description='Words; "a phrase"; -without. The last word may be unfinished, typos are forgiven.'),
]
Tags = Annotated[list[str] | None, QueryParameter(description="Repeat it to ask for all of several.")]
Cursor = Annotated[str | None, QueryParameter(max_length=2000, description="next_cursor of the page before.")]
Narrow = Annotated[str | None, QueryParameter(max_length=200)]


@read(
    "/api/v1/search",
    READ_PUBLIC,
    summary="Search mods",
    tags=["discovery"],
    opt={"answers": {404: "There is no such game."}},
)
async def search(
    platform: Here,
    actor: Who,
    q: Text = "",
    game: Narrow = None,
    category: Narrow = None,
    tag: Tags = None,
    loader: Narrow = None,
    build: Narrow = None,
    author: Narrow = None,
    sort: FromQuery[Sort] = "relevance",
    cursor: Annotated[
        str | None, QueryParameter(max_length=2000, description="next_cursor of the page before.")
    ] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=100, description="Mods on a page.")] = 20,
) -> SearchPage:
    """Published mods with counts by category, tag, loader and build.

    Filters narrow together. `build` takes a build or the beginning of several (`1.12`); a category takes what
    lies below it as well. Without `q`, `relevance` means lately updated. Answers 503 with `Retry-After` while
    the index is being built.
    """
    query = Query(
        q=q, game=game, category=category, tags=tuple(tag or ()), loader=loader, build=build, author=author,
        sort=sort, cursor=cursor, limit=limit,
    )  # fmt: skip
    return await service.search(platform, actor, query)


ROUTES: list[HTTPRouteHandler] = [search]
