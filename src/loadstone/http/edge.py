"""The outermost layer, raw ASGI: request ids, health, metrics, security headers, ETags, the access log.

What must be fast or must answer when all else is down is answered here, in front of the framework.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from loadstone.catalog.models import Mod
from loadstone.catalog.service import public_mods
from loadstone.http.gate import check_address
from loadstone.http.problems import MEDIA_TYPE
from loadstone.kernel import metrics
from loadstone.kernel.db import Coalescer
from loadstone.kernel.errors import NotFoundError, Problem, UnavailableError
from loadstone.kernel.flags import QUICK_READS
from loadstone.kernel.migrate import shipped
from loadstone.kernel.platform import Platform
from loadstone.kernel.rest import etag

_log = structlog.get_logger()

# No inline script or style, no foreign origin, no framing; images may come from this site only.
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; manifest-src 'self'"
)
SECURITY_HEADERS: Final = (
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000")
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{8,64}")
_PERSONAL: Final = frozenset({b"authorization", b"cookie"})
_OWN_HEAD: Final = ("/files/", "/api/v1/uploads/")
_ETAG_TYPES: Final = (b"application/json", b"text/html", b"application/atom+xml", b"application/schema+json")


class Edge:
    """Wraps the application; ``files`` serves signed download links, ``openapi`` gives the document."""

    def __init__(self, app: Any, files: Any, openapi: Callable[[], bytes]) -> None:
        self._app = app
        self._files = files
        self._openapi = openapi
        self._platform: Platform | None = None
        self._mods: Coalescer[tuple[str, str], Mod] | None = None
        self._serial = 0
        self._migrations = len(shipped())
        self._prefix = hashlib.blake2b(str(time.time_ns()).encode(), digest_size=5).hexdigest()

    def attach(self, platform: Platform | None) -> None:
        """Called when the platform opens and closes."""
        self._platform = platform
        quick = platform is not None and platform.flags.is_on(QUICK_READS)
        self._mods = Coalescer(partial(public_mods, platform)) if platform and quick else None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        asked, scope = scope["method"], _as_get(scope)
        headers = dict(scope["headers"])
        request_id = self._request_id(headers)
        structlog.contextvars.bind_contextvars(request_id=request_id)
        answer = _Answer(asked, send, request_id, headers, hsts=self._is_https())
        metrics.IN_FLIGHT.inc()
        try:
            await self._route(scope, receive, answer)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            foreseen = isinstance(error, Problem) and not answer.started
            if not foreseen:
                _log.exception("request_broke", path=_shown(scope["path"]))
            if answer.started:
                raise
            await _send_problem(answer, error if isinstance(error, Problem) else Problem())
        finally:
            metrics.IN_FLIGHT.dec()
            seconds = time.perf_counter() - started
            self._record(asked, scope, answer, seconds)
            structlog.contextvars.unbind_contextvars("request_id")

    async def _route(self, scope: Any, receive: Any, answer: "_Answer") -> None:
        check_address(scope)
        path = scope["path"]
        if path == "/livez":
            await _send_text(answer, 200, b"alive\n")
        elif path == "/readyz":
            await self._ready(answer)
        elif path == "/metrics":
            await self._metrics(answer)
        elif path == "/openapi.json":
            await _send_text(answer, 200, self._openapi(), b"application/json", b"public, max-age=300")
        elif await self._answered_quickly(scope, answer):
            return
        elif path.startswith("/files/") and self._platform is not None:
            await self._files(self._platform, scope, receive, answer)
        else:
            await self._app(scope, receive, answer)

    async def _answered_quickly(self, scope: Any, answer: "_Answer") -> bool:
        """The hottest read, a mod by its slug for anyone, is answered here: no routing, no session, one statement
        for all that are pending in the same tick. What is not found this way takes the whole way.
        """
        key = quick_key(scope)
        if key is None or self._mods is None:
            return False
        mod = await self._mods.get(key)
        if mod is None:
            return False
        answer.operation = "read_mod_by_name"
        await _send(
            answer,
            200,
            msgspec.json.encode(mod),
            [
                (b"content-type", b"application/json"),
                (b"etag", etag(mod.id, mod.version).encode()),
                (b"cache-control", b"private, no-cache"),
            ],
        )
        return True

    async def _ready(self, answer: "_Answer") -> None:
        if self._platform is None:
            await _send_problem(answer, UnavailableError("Starting or stopping."))
            return
        try:
            done = await asyncio.wait_for(self._platform.db.fetchval("select count(*) from schema_migrations"), 2)
        except Exception:  # noqa: BLE001 - whatever it is, this process cannot serve now
            await _send_problem(answer, UnavailableError("The database is not reachable or has no tables of ours."))
            return
        if done < self._migrations:
            await _send_problem(answer, UnavailableError("The database waits for migrations; run `loadstone migrate`."))
            return
        await _send_text(answer, 200, b"ready\n")

    async def _metrics(self, answer: "_Answer") -> None:
        if self._platform is None or not self._platform.config.metrics:
            await _send_problem(answer, NotFoundError("Metrics are switched off."))
            return
        await _send_text(answer, 200, metrics.exposition(), b"text/plain; version=0.0.4; charset=utf-8")

    def _is_https(self) -> bool:
        return self._platform is not None and self._platform.config.address.startswith("https:")

    def _request_id(self, headers: dict[bytes, bytes]) -> str:
        given = headers.get(b"x-request-id")
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given.decode()
        self._serial += 1
        return f"{self._prefix}-{self._serial:x}"

    @staticmethod
    def _record(asked: str, scope: Any, answer: "_Answer", seconds: float) -> None:
        handler = scope.get("route_handler")
        operation = handler.handler_name if handler is not None else answer.operation or _operation(scope["path"])
        metrics.REQUESTS.labels(operation, str(answer.status)).inc()
        metrics.REQUEST_SECONDS.labels(operation).observe(seconds)
        quiet = scope["path"] in {"/livez", "/readyz", "/metrics"}
        (_log.debug if quiet else _log.info)(
            "request",
            method=asked,
            path=_shown(scope["path"]),
            status=answer.status,
            ms=round(seconds * 1000, 2),
        )


def _as_get(scope: Any) -> Any:
    """HEAD as the GET whose headers it asks for (RFC 9110 §9.3.2), except where HEAD has an answer of its own."""
    if scope["method"] != "HEAD" or scope["path"].startswith(_OWN_HEAD):
        return scope
    return scope | {"method": "GET"}


def _bodiless(send: Any) -> Any:
    async def send_headers(message: Any) -> None:
        if message["type"] == "http.response.body":
            message = message | {"body": b""}
        await send(message)

    return send_headers


def _shown(path: str) -> str:
    """The path as logs may have it: a download link would open its file for whoever reads it there."""
    return "/files/…" if path.startswith("/files/") else path.encode("utf-8", "replace").decode()


def quick_key(scope: Any) -> tuple[str, str] | None:
    """(game slug, mod slug) when the request is an anonymous read of a mod by name, and nothing else."""
    parts = scope["path"].split("/")
    if len(parts) != 7 or parts[1:4] != ["api", "v1", "games"] or parts[5] != "mods":
        return None
    if scope["method"] != "GET" or scope["query_string"] or "\0" in scope["path"] or parts[6].isdigit():
        return None
    if any(name in _PERSONAL for name, _ in scope["headers"]):
        return None
    return (parts[4], parts[6])


def _operation(path: str) -> str:
    if path in {"/livez", "/readyz", "/metrics"}:
        return path
    return "files" if path.startswith("/files/") else "none"


class _Answer:
    """Adds the headers that every answer has; gives small cacheable answers an ETag and answers 304."""

    def __init__(self, method: str, send: Any, request_id: str, headers: dict[bytes, bytes], *, hsts: bool) -> None:
        self._send = send if method != "HEAD" else _bodiless(send)
        self._method = method
        self._request_id = request_id
        self._if_none_match = headers.get(b"if-none-match")
        self._held: dict[str, Any] | None = None
        self._hsts = hsts
        self.status = 0
        self.started = False
        self.operation = ""

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            names = {n.lower() for n, _ in message["headers"]}
            message["headers"] = [
                *message["headers"],
                *((n, v) for n, v in SECURITY_HEADERS if n not in names),
                (b"x-request-id", self._request_id.encode()),
            ]
            if self._hsts:
                message["headers"].append(_HSTS)
            if self._wants_etag(message, names):
                self._held = message
                return
            if self.status == 200 and b"etag" in names and self._matches_given(message):
                self._held = message
                return
            await self._send(message)
            return
        if self._held is not None:
            start, self._held = self._held, None
            if message.get("more_body") and not any(n.lower() == b"etag" for n, _ in start["headers"]):
                await self._send(start)
                await self._send(message)
                return
            await self._conditional(start, message)
            return
        if self.status == 304:
            if not message.get("more_body"):
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        await self._send(message)

    def _wants_etag(self, message: Any, names: set[bytes]) -> bool:
        if self.status != 200 or self._method not in {"GET", "HEAD"} or b"etag" in names:
            return False
        fields = {n.lower(): v for n, v in message["headers"]}
        if b"no-store" in fields.get(b"cache-control", b"") or b"set-cookie" in fields:
            return False
        return bool(fields.get(b"content-type", b"").startswith(_ETAG_TYPES))

    def _matches_given(self, message: Any) -> bool:
        if self._method not in {"GET", "HEAD"} or self._if_none_match is None:
            return False
        tag: bytes = next(v for n, v in message["headers"] if n.lower() == b"etag")
        return bool(_matches(self._if_none_match, tag))

    async def _conditional(self, start: Any, message: Any) -> None:
        tag = next((v for n, v in start["headers"] if n.lower() == b"etag"), None)
        if tag is None:
            tag = b'"' + hashlib.blake2b(message.get("body", b""), digest_size=12).hexdigest().encode() + b'"'
            start["headers"].append((b"etag", tag))
            if not any(n.lower() == b"cache-control" for n, _ in start["headers"]):
                start["headers"].append((b"cache-control", b"private, no-cache"))
        if tag is not None and self._if_none_match is not None and _matches(self._if_none_match, tag):
            self.status = start["status"] = 304
            dropped = {b"content-length", b"content-type", b"content-encoding"}
            start["headers"] = [(n, v) for n, v in start["headers"] if n.lower() not in dropped]
            await self._send(start)
            if not message.get("more_body"):
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        await self._send(start)
        await self._send(message)


def _matches(if_none_match: bytes, tag: bytes) -> bool:
    """Weak comparison (RFC 9110 §13.1.2)."""
    if if_none_match.strip() == b"*":
        return True
    bare = tag.removeprefix(b"W/")
    return any(part.strip().removeprefix(b"W/") == bare for part in if_none_match.split(b","))


async def _send_text(
    send: Any,
    status: int,
    body: bytes,
    kind: bytes = b"text/plain; charset=utf-8",
    cache: bytes = b"no-store",
) -> None:
    await _send(send, status, body, [(b"content-type", kind), (b"cache-control", cache)])


async def _send(send: Any, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _send_problem(send: Any, problem: Problem) -> None:
    headers = [(n.lower().encode(), v.encode()) for n, v in problem.headers.items()]
    headers += [(b"content-type", MEDIA_TYPE.encode()), (b"cache-control", b"no-store")]
    await _send(send, problem.status, msgspec.json.encode(problem.body()), headers)
