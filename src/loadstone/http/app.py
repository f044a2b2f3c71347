"""The application, assembled in one place: what it serves, in which order a request passes through."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from litestar import Litestar, Request
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.middleware import DefineMiddleware
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

from loadstone import __version__
from loadstone.catalog.routes import ROUTES as CATALOG
from loadstone.http.edge import Edge
from loadstone.http.gate import Gate
from loadstone.http.problems import problem_response
from loadstone.identity.models import Actor
from loadstone.identity.routes import ROUTES as IDENTITY
from loadstone.kernel.config import Config
from loadstone.kernel.permissions import Permission
from loadstone.kernel.platform import Platform, open_platform

ROUTES: list[HTTPRouteHandler] = [*IDENTITY, *CATALOG]
_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


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


def create_app(config: Config, *, platform: Platform | None = None) -> Edge:
    """The ASGI application. ``platform`` hands in an opened one; else it opens with the server's lifespan."""
    check_routes(ROUTES)
    holder: dict[str, Platform] = {}

    def current() -> Platform:
        return holder["platform"]

    @contextlib.asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            opened: Platform = platform or await stack.enter_async_context(open_platform(config))
            holder["platform"] = opened
            edge.attach(opened)
            try:
                yield
            finally:
                edge.attach(None)

    app = Litestar(
        route_handlers=list(ROUTES),
        middleware=[DefineMiddleware(Gate, platform=current)],
        exception_handlers={Exception: problem_response},
        dependencies={
            "platform": Provide(_provider(current), sync_to_thread=False),
            "actor": Provide(_actor, sync_to_thread=False),
        },
        lifespan=[lifespan],
        openapi_config=openapi_config(),
        request_max_body_size=None,
        debug=False,
    )
    edge = Edge(app, _no_files)
    return edge


def openapi_config() -> OpenAPIConfig:
    """OpenAPI 3.1 of the REST interface."""
    return OpenAPIConfig(
        title="Loadstone",
        version=__version__,
        description="Publish, find, install and keep mods working.",
        path="/",
        use_handler_docstrings=True,
        components=Components(
            security_schemes={
                "token": SecurityScheme(type="http", scheme="bearer", description="A personal token, lds_…"),
                "session": SecurityScheme(type="apiKey", name="loadstone_session", security_scheme_in="cookie"),
            }
        ),
    )


def _provider(current: Callable[[], Platform]) -> Callable[[], Platform]:
    def provide() -> Platform:
        return current()

    return provide


def _actor(request: Request[Any, Any, Any]) -> Actor:
    actor: Actor = request.scope["state"]["actor"]
    return actor


async def _no_files(_platform: Platform, scope: Any, receive: Any, send: Any) -> None:
    raise NotImplementedError
