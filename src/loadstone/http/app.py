"""The application, assembled in one place: what it serves, in which order a request passes through."""

import contextlib
from collections.abc import AsyncIterator, Callable
from functools import cache
from typing import Any, cast

import msgspec
from litestar import Litestar, Request
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.middleware import DefineMiddleware

from loadstone.catalog.routes import ROUTES as CATALOG
from loadstone.delivery.routes import ROUTES as DELIVERY
from loadstone.delivery.serving import FileServer
from loadstone.discovery.routes import ROUTES as DISCOVERY
from loadstone.http import openapi
from loadstone.http.edge import Edge
from loadstone.http.gate import Gate
from loadstone.http.graphql import ROUTES as GRAPHQL
from loadstone.http.problems import problem_response
from loadstone.identity.models import Actor
from loadstone.identity.routes import ROUTES as IDENTITY
from loadstone.installs.routes import ROUTES as INSTALLS
from loadstone.kernel.config import Config
from loadstone.kernel.errors import UnavailableError
from loadstone.kernel.permissions import Permission
from loadstone.kernel.platform import Platform, open_platform
from loadstone.publishing.routes import ROUTES as PUBLISHING
from loadstone.web import documentation
from loadstone.web.account import ROUTES as ACCOUNT_PAGES
from loadstone.web.admin import ROUTES as ADMIN_PAGES
from loadstone.web.compat import ROUTES as COMPAT_PAGES
from loadstone.web.creating import ROUTES as CREATOR_PAGES
from loadstone.web.home import ROUTES as HOME_PAGES
from loadstone.web.mods import ROUTES as MOD_PAGES
from loadstone.web.searching import ROUTES as SEARCH_PAGES

ROUTES: list[HTTPRouteHandler] = [*IDENTITY, *CATALOG, *PUBLISHING, *DELIVERY, *DISCOVERY, *INSTALLS, *GRAPHQL]
PAGES: list[HTTPRouteHandler] = [
    *HOME_PAGES,
    *ACCOUNT_PAGES,
    *MOD_PAGES,
    *CREATOR_PAGES,
    *ADMIN_PAGES,
    *SEARCH_PAGES,
    *COMPAT_PAGES,
]
_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def all_routes() -> list[HTTPRouteHandler]:
    """Every route that is served: the API, the pages, and the documentation made of the API."""
    return [*ROUTES, *PAGES, *documentation.routes(openapi_document)]


class UndeclaredPermissionError(RuntimeError):
    """A route has no permission, or changes something under a permission to read (law 5)."""


def check_routes(routes: list[HTTPRouteHandler]) -> None:
    """Refuse to start with a route that does not declare who may use it."""
    for route in routes:
        declared = route.opt.get("permission")
        name = f"{'/'.join(sorted(route.http_methods))} {', '.join(sorted(route.paths))}"
        if not isinstance(declared, Permission):
            raise UndeclaredPermissionError(f"{name} declares no permission")
        asks_only = route.opt.get("asks_only", False)
        if route.http_methods & _CHANGING and not declared.changes and not asks_only:
            raise UndeclaredPermissionError(f"{name} changes something under {declared.name}, a permission to read")


class _Holder:
    """The opened platform of a running application."""

    platform: Platform | None = None

    def current(self) -> Platform:
        if self.platform is None:
            raise UnavailableError("Starting or stopping.")
        return self.platform


def create_app(config: Config, *, platform: Platform | None = None) -> Edge:
    """The ASGI application. ``platform`` hands in an opened one; else it opens with the server's lifespan."""
    check_routes(all_routes())
    holder = _Holder()

    @contextlib.asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            holder.platform = platform or await stack.enter_async_context(open_platform(config))
            edge.attach(holder.platform)
            try:
                yield
            finally:
                edge.attach(None)

    app = _assemble(holder.current, lifespan)
    edge = Edge(app, FileServer(), cache(lambda: msgspec.json.encode(openapi.document(app))))
    return edge


def _assemble(current: Callable[[], Platform], *lifespan: Any) -> Litestar:
    return Litestar(
        route_handlers=all_routes(),
        middleware=[DefineMiddleware(cast("Any", Gate), platform=current)],
        exception_handlers={Exception: problem_response},
        dependencies={
            "platform": Provide(current, sync_to_thread=False),
            "actor": Provide(_actor, sync_to_thread=False),
        },
        lifespan=list(lifespan),
        openapi_config=openapi.config(),
        request_max_body_size=None,
        debug=False,
    )


def openapi_document() -> dict[str, Any]:
    """The OpenAPI document without a running platform; ``loadstone openapi`` prints it."""
    return openapi.document(_assemble(_Holder().current))


def _actor(request: Request[Any, Any, Any]) -> Actor:
    actor: Actor = request.scope["state"]["actor"]
    return actor
