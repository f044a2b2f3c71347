"""The OpenAPI 3.1 document: what Litestar derives from the routes, and what the platform adds to each.

Added from the routes' own declarations, never by hand: the permission and the token scope that it needs,
the headers that it honours, and the problems (RFC 9457) that it answers with. What cannot be derived, a route
says in its ``opt``: ``answers`` (status → meaning of more problems), ``takes`` (request header → its parameter
object), ``gives`` (header of the answer → meaning) and ``body`` (media type → meaning, for what is not JSON).
The examples come from :mod:`loadstone.http.examples`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig

from loadstone import __version__
from loadstone.http.examples import PATHS, Example, examples
from loadstone.http.problems import MEDIA_TYPE
from loadstone.kernel.permissions import Permission, Rank

_METHODS: Final = ("get", "head", "post", "put", "patch", "delete")
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
    _add_parameters(operation, method, handler)
    _add_bodies(operation, method, handler)
    for status, meaning in _problems(method, declared, handler).items():
        problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        answer: dict[str, Any] = {"description": meaning}
        operation["responses"][str(status)] = answer if method == "head" else answer | {"content": problem}
    _add_examples(operation, examples().get(operation["operationId"], Example()))


def _add_parameters(operation: dict[str, Any], method: str, handler: HTTPRouteHandler) -> None:
    parameters: list[dict[str, Any]] = operation.setdefault("parameters", [])
    for parameter in parameters:
        if parameter["in"] == "path" and parameter["name"] in PATHS:
            parameter["example"] = PATHS[parameter["name"]]
    if handler.opt.get("keyed"):
        parameters.append(_header("Idempotency-Key", "The same key and body give the same answer and happen once."))
    if method == "patch" and not handler.opt.get("streams"):
        parameters.append(_header("If-Match", "The ETag that you read; without it the answer is 428."))
    for name, described in handler.opt.get("takes", {}).items():
        parameters.append({"name": name, "in": "header", "required": False} | described)


def _add_bodies(operation: dict[str, Any], method: str, handler: HTTPRouteHandler) -> None:
    """The bodies that are not JSON, the headers of the answer, and no body where there is none."""
    binary: Mapping[str, str] = handler.opt.get("body", {})
    if binary:
        content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in binary}
        description = next(iter(binary.values()))
        required = "gives" not in handler.opt or method == "patch"
        operation["requestBody"] = {"description": description, "required": required, "content": content}
    for status, answer in operation["responses"].items():
        if not status.startswith("2"):
            continue
        content = answer.get("content", {})
        if any(kind.get("schema", {}).get("type") == "null" for kind in content.values()):
            del answer["content"]
        given: dict[str, str] = dict(handler.opt.get("gives", {}))
        if method == "get" and handler.opt["permission"].rank == Rank.EVERYONE and "application/json" in content:
            given.setdefault("ETag", "Send it as If-None-Match: an unchanged answer is 304 without a body.")
            operation["responses"] = operation["responses"] | {"304": {"description": "Unchanged since that ETag."}}
        if handler.opt.get("keyed"):
            given["Idempotency-Replayed"] = "“true” on the answer of the first time, sent again."
        answer["headers"] = {n: {"description": d, "schema": {"type": "string"}} for n, d in given.items()}


def _add_examples(operation: dict[str, Any], shown: Example) -> None:
    request = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if request is not None and shown.request is not None:
        request["example"] = msgspec.to_builtins(shown.request)
    for status, answer in operation["responses"].items():
        if status.startswith("2") and shown.answer is not None:
            for kind in answer.get("content", {}).values():
                kind["example"] = msgspec.to_builtins(shown.answer)


def _problems(method: str, declared: Permission, handler: HTTPRouteHandler) -> Mapping[int, str]:
    found = {400: "A part of the request cannot be used.", 401: "The token or session is not good."}
    if declared.rank > Rank.EVERYONE or declared.changes:
        found[403] = "This is not yours to do."
    if any("{" in path for path in handler.paths) or declared.rank > Rank.EVERYONE:
        found[404] = "There is nothing here under that name, or you may not see it."
        found[410] = "It was here once and was removed."
    if method not in {"get", "head"}:
        found |= {409: "It does not fit what is there.", 413: "The body is too large.", 415: "The type is not taken."}
    if method == "patch" and not handler.opt.get("streams"):
        found |= {412: "Somebody else changed it in between.", 428: "If-Match is missing."}
    if handler.opt.get("keyed"):
        found[422] = "The Idempotency-Key was used for another request."
    found |= handler.opt.get("answers", {})
    return found | {429: "Too many requests.", 503: "Not available at the moment; see Retry-After."}


def _header(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", "maxLength": 200},
    }
