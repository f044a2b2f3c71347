"""``/docs``: the API's documentation, made on the server from the OpenAPI document itself."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from loadstone.identity.models import SCOPES
from loadstone.kernel.errors import NotFoundError, known_problems
from loadstone.kernel.permissions import READ_PUBLIC
from loadstone.kernel.rest import read
from loadstone.web.render import page

AnyRequest = Request[Any, Any, Any]


class Operation(msgspec.Struct, frozen=True):
    """An operation as the page shows it."""

    id: str
    method: str
    path: str
    summary: str
    text: str
    permission: str
    scope: str
    parameters: list[dict[str, Any]]
    request: str
    answer: str
    statuses: list[tuple[str, str]]


def groups(document: dict[str, Any]) -> dict[str, list[Operation]]:
    """The document's operations by tag, in its order."""
    found: dict[str, list[Operation]] = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if isinstance(operation, dict) and "operationId" in operation:
                tag = (operation.get("tags") or ["other"])[0]
                found.setdefault(tag, []).append(_operation(method, path, operation))
    return dict(sorted(found.items()))


def _operation(method: str, path: str, operation: dict[str, Any]) -> Operation:
    security = operation.get("security") or []
    scope = next((s["token"][0] for s in security if s.get("token")), "")
    return Operation(
        operation["operationId"],
        method.upper(),
        path,
        operation.get("summary", ""),
        operation.get("description", ""),
        operation.get("x-permission", ""),
        scope,
        operation.get("parameters", []),
        _example(operation.get("requestBody", {})),
        _example(next((r for s, r in operation["responses"].items() if s.startswith("2")), {})),
        [(status, answer.get("description", "")) for status, answer in operation["responses"].items()],
    )


def _example(body: dict[str, Any]) -> str:
    for kind in body.get("content", {}).values():
        if "example" in kind:
            return msgspec.json.format(msgspec.json.encode(kind["example"]), indent=2).decode()
    return ""


def routes(document: Callable[[], dict[str, Any]]) -> list[HTTPRouteHandler]:
    """The pages; ``document`` gives the OpenAPI document, made once when it is first asked for."""

    @lru_cache(maxsize=1)
    def grouped() -> dict[str, list[Operation]]:
        return groups(document())

    @read("/docs", READ_PUBLIC, include_in_schema=False)
    async def overview(request: AnyRequest) -> Response[str]:
        problems = sorted((p.code, p.status, p.title) for p in known_problems())
        return page(request, "docs.html", groups=grouped(), problems=problems, scopes=SCOPES, shown=None)

    @read("/docs/{tag:str}", READ_PUBLIC, include_in_schema=False)
    async def group(tag: FromPath[str], request: AnyRequest) -> Response[str]:
        if tag not in grouped():
            raise NotFoundError("The documentation has no such part.")
        return page(request, "docs.html", groups=grouped(), problems=[], scopes=SCOPES, shown=tag)

    return [overview, group]
