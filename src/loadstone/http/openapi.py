"""The OpenAPI 3.1 document: what Litestar derives from the routes, and what the platform adds to each.

Added from the routes' own declarations, never by hand: the permission and the token scope that it needs,
the headers that it honours, and the problems (RFC 9457) that it answers with.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig

from loadstone import __version__
from loadstone.http.problems import MEDIA_TYPE
from loadstone.kernel.permissions import Permission, Rank

_METHODS: Final = ("get", "post", "put", "patch", "delete")
_PROBLEM: Final = {
    "type": "object",
    "title": "Problem",
    "description": "What went wrong (RFC 9457) and what to do next.",
    "required": ["type", "code", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "code": {"type": "string", "description": "Stable; switch on this."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON Pointer into the body, or ?name of the query."},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}


def config() -> OpenAPIConfig:
    """What Litestar needs to derive its part; it serves nothing itself."""
    return OpenAPIConfig(
        title="Loadstone",
        version=__version__,
        description="Publish, find, install and keep mods working.",
        path="/unserved-openapi",
        use_handler_docstrings=True,
        render_plugins=[],
    )


def document(app: Litestar) -> dict[str, Any]:
    """The document that ``/openapi.json`` serves and CI compares with the committed one."""
    schema: dict[str, Any] = app.openapi_schema.to_schema()
    handlers = dict(_by_operation(app))
    components = schema.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = _PROBLEM
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "A personal token, lds_…"},
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": "loadstone_session",
            "description": "A browser session; changes send X-CSRF-Token as well.",
        },
    }
    for path, item in schema["paths"].items():
        for method in _METHODS:
            if method in item:
                _enrich(item[method], method, handlers[(method, path)])
    return schema


def _by_operation(app: Litestar) -> Iterator[tuple[tuple[str, str], HTTPRouteHandler]]:
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if not isinstance(handler, HTTPRouteHandler) or not handler.include_in_schema:
                continue
            for method in handler.http_methods:
                yield (method.lower(), route.path_format), handler


def _enrich(operation: dict[str, Any], method: str, handler: HTTPRouteHandler) -> None:
    declared: Permission = handler.opt["permission"]
    operation["operationId"] = handler.handler_name
    operation["x-permission"] = declared.name
    if declared.rank > Rank.EVERYONE:
        scopes = [declared.scope] if declared.scope and declared.scope != "session-only" else []
        operation["security"] = [{"session": []}]
        if declared.scope != "session-only":
            operation["security"].insert(0, {"token": scopes})
    else:
        operation["security"] = [{}, {"token": []}, {"session": []}]
    parameters: list[dict[str, Any]] = operation.setdefault("parameters", [])
    if handler.opt.get("keyed"):
        parameters.append(_header("Idempotency-Key", "The same key and body give the same answer and happen once."))
    if method == "patch" and not handler.opt.get("streams"):
        parameters.append(_header("If-Match", "The ETag that you read; without it the answer is 428."))
    for status, meaning in _problems(method, declared, handler).items():
        operation["responses"].setdefault(str(status), {"description": meaning})
        operation["responses"][str(status)] = {
            "description": meaning,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }


def _problems(method: str, declared: Permission, handler: HTTPRouteHandler) -> Mapping[int, str]:
    found = {400: "A part of the request cannot be used.", 401: "The token or session is not good."}
    if declared.rank > Rank.EVERYONE or declared.changes:
        found[403] = "This is not yours to do."
    if any("{" in path for path in handler.paths) or declared.rank > Rank.EVERYONE:
        found[404] = "There is nothing here under that name, or you may not see it."
        found[410] = "It was here once and was removed."
    if method != "get":
        found |= {409: "It does not fit what is there.", 413: "The body is too large.", 415: "The type is not taken."}
    if method == "patch":
        found |= {412: "Somebody else changed it in between.", 428: "If-Match is missing."}
    if handler.opt.get("keyed"):
        found[422] = "The Idempotency-Key was used for another request."
    return found | {429: "Too many requests.", 503: "Not available at the moment; see Retry-After."}


def _header(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", "maxLength": 200},
    }
