"""The gate behind routing: who asks, may they, is it really them, and has it happened before.

Runs as middleware after the route is known, because the route carries the permission (law 5).
"""

import hashlib
import ipaddress
from collections.abc import Callable, Coroutine
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import parse_qs, unquote_to_bytes, urlsplit

from litestar.enums import RequestEncodingType
from litestar.handlers import BaseRouteHandler
from litestar.params import BodyKwarg

from loadstone.http import idempotency
from loadstone.identity import service as identity
from loadstone.identity.models import ANONYMOUS, Actor, CrossSiteError, check, fits_csrf
from loadstone.identity.routes import cookie_name
from loadstone.kernel.config import Config
from loadstone.kernel.errors import (
    InvalidInputError,
    TooLargeError,
    UnauthenticatedError,
    UnsupportedMediaTypeError,
)
from loadstone.kernel.permissions import Permission, Rank
from loadstone.kernel.platform import Platform

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_ONCE: Final = frozenset(
    {b"authorization", b"content-length", b"content-type", b"host", b"idempotency-key", b"if-match", b"origin"}
)
_MOST_DIGITS: Final = 18
_FORM: Final = b"application/x-www-form-urlencoded"
Headers = dict[bytes, bytes]
Receive = Callable[[], Coroutine[Any, Any, Any]]


class Gate:
    """ASGI middleware: authentication, CSRF, permission, body bound, idempotency."""

    def __init__(self, app: Any, platform: Callable[[], Platform]) -> None:
        self._app = app
        self._platform = platform

    async def __call__(self, scope: Any, receive: Receive, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        options = scope["route_handler"].opt
        if scope["method"] == "OPTIONS" and "permission" not in options:
            await _tell_methods(scope, send)
            return
        platform = self._platform()
        headers = _headers(scope)
        actor = await authenticate(platform, headers)
        scope["state"]["actor"] = actor
        permission: Permission = options["permission"]
        body: bytes | None = None
        if scope["method"] not in _SAFE and not options.get("streams"):
            body = await _read_body(receive, headers, platform.config.max_body_bytes)
            _check_type(scope["route_handler"], headers, body)
            receive = _replaying(body, receive)
        if scope["method"] not in _SAFE:
            check_same_site(platform.config, headers)
            if permission.rank > Rank.EVERYONE and not options.get("csrf_in_stream"):
                _check_csrf(actor, headers, body)
        check(actor, permission)
        key = headers.get(b"idempotency-key")
        if key is not None and options.get("keyed") and body is not None:
            digest = hashlib.sha256(
                scope["method"].encode() + scope["path"].encode() + scope["query_string"] + b"\0" + body
            ).digest()
            await idempotency.once(platform, actor, key, digest, self._app, scope, receive, send)
            return
        await self._app(scope, receive, send)


async def _tell_methods(scope: Any, send: Any) -> None:
    """Which methods the address takes (RFC 9110 §9.3.7). The framework's own answer forgets some of them."""
    template = scope["path_template"]
    methods = {m for route in scope["litestar_app"].routes if route.path_format == template for m in route.methods}
    allowed = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
    headers = [(b"allow", allowed.encode()), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def authenticate(platform: Platform, headers: Headers) -> Actor:
    """Who asks: a bearer token first, else the session cookie, else nobody.

    A token that is sent and not good is refused, never treated as anonymous; a dead cookie is anonymous.
    Raises :class:`UnauthenticatedError`.
    """
    authorization = headers.get(b"authorization")
    if authorization is not None:
        kind, _, secret = authorization.decode("latin-1").partition(" ")
        if kind.lower() != "bearer":
            raise UnauthenticatedError("Send a token as “Authorization: Bearer lds_…”.")
        actor = await identity.actor_by_token(platform, secret.strip())
        if actor is None:
            raise UnauthenticatedError("This token is not known, has expired or was revoked; make a new one.")
        return actor
    secret = _cookie(headers, cookie_name(platform.config))
    if not secret:
        return ANONYMOUS
    return await identity.actor_by_session(platform, secret) or ANONYMOUS


def check_same_site(config: Config, headers: Headers) -> None:
    """Refuse what a browser sends from another site (Fetch Metadata, then Origin).

    Neither header means that no browser sent it. Raises :class:`CrossSiteError`.
    """
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        if site not in {b"same-origin", b"none"}:
            raise CrossSiteError()
        return
    origin = headers.get(b"origin")
    if origin is None:
        return
    host = headers.get(b"host", b"").decode("latin-1")
    netloc = urlsplit(origin.decode("latin-1")).netloc
    if netloc not in {host, urlsplit(config.address).netloc}:
        raise CrossSiteError()


def _check_csrf(actor: Actor, headers: Headers, body: bytes | None) -> None:
    if not actor.csrf:  # not by cookie
        return
    given = headers.get(b"x-csrf-token", b"").decode("latin-1")
    if not given and body is not None and headers.get(b"content-type", b"").startswith(_FORM):
        given = parse_qs(body.decode("utf-8", "replace"), max_num_fields=1000).get("csrf", [""])[0]
    if not fits_csrf(actor, given):
        raise CrossSiteError


def _cookie(headers: Headers, name: str) -> str:
    raw = headers.get(b"cookie")
    if raw is None:
        return ""
    try:
        morsel = SimpleCookie(raw.decode("latin-1")).get(name)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _headers(scope: Any) -> Headers:
    """The headers by name. Raises :class:`InvalidInputError` for NUL, and for two where two readers of the
    request (a proxy and this) could each believe another one.
    """
    found: Headers = {}
    for name, value in scope["headers"]:
        if b"\0" in value:
            raise InvalidInputError(f"The header {name.decode('latin-1')} has a NUL character in it.")
        if name in _ONCE and name in found:
            raise InvalidInputError(f"The header {name.decode('latin-1')} is there twice; send one.")
        found[name] = value
    return found


def check_address(scope: Any) -> None:
    """Refuse text that no handler and no database can take: NUL anywhere, broken UTF-8 in path and query.

    Raises :class:`InvalidInputError`.
    """
    query = scope["query_string"]
    if "\0" in scope["path"] or b"%00" in query or b"\0" in query:
        raise InvalidInputError("The address has a NUL character in it.")
    try:
        scope["path"].encode("utf-8")
        for part in (scope.get("raw_path") or b"", query):
            if b"%" in part or not part.isascii():
                unquote_to_bytes(part).decode("utf-8")
    except UnicodeError:
        raise InvalidInputError("The address is not valid UTF-8.") from None


async def _read_body(receive: Receive, headers: Headers, most: int) -> bytes:
    announced = _announced(headers)
    if announced is not None and announced > most:
        raise TooLargeError(f"A body here may have {most} bytes.")
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidInputError("The connection ended before the body did.")
        size += len(message.get("body", b""))
        if size > most:
            raise TooLargeError(f"A body here may have {most} bytes.")
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    if announced is not None and size != announced:
        raise InvalidInputError(f"Content-Length says {announced} bytes, but {size} arrived.")
    return b"".join(chunks)


def _check_type(handler: BaseRouteHandler, headers: Headers, body: bytes) -> None:
    """Refuse a body that says it is no JSON where JSON is taken; without a type it is read as JSON."""
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    field = handler.parsed_data_field
    if not body or not kind or field is None or not isinstance(field.kwarg_definition, BodyKwarg):
        return
    if field.kwarg_definition.media_type is not RequestEncodingType.JSON:
        return
    if kind != b"application/json" and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
        raise UnsupportedMediaTypeError("Send the body as Content-Type: application/json.")


def _announced(headers: Headers) -> int | None:
    length = headers.get(b"content-length")
    if length is None:
        return None
    if not length.isdigit() or len(length) > _MOST_DIGITS:
        raise InvalidInputError("Content-Length is not a number of bytes.")
    return int(length)


def _replaying(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Any:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def client_address(config: Config, peer: str, forwarded: str | None) -> str:
    """The address that limits and logs use; ``X-Forwarded-For`` counts only behind trusted proxies.

    Walks the list from the right and stops at the first address that is no trusted proxy, so a forged
    header changes nothing.
    """
    networks = [ipaddress.ip_network(p, strict=False) for p in config.trusted_proxies]
    address = peer
    for hop in reversed([peer_.strip() for peer_ in (forwarded or "").split(",") if peer_.strip()]):
        try:
            trusted = any(ipaddress.ip_address(address) in n for n in networks)
            ipaddress.ip_address(hop)
        except ValueError:
            break
        if not trusted:
            break
        address = hop
    return address
