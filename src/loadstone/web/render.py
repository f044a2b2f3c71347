"""Pages from templates: what every page knows, and how values are written for people."""

import datetime as dt
import hashlib
from functools import cache
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from litestar import Request, Response
from markupsafe import Markup

from loadstone import __version__
from loadstone.identity.models import ANONYMOUS, Actor
from loadstone.web.markdown import to_html

HTML: Final = "text/html; charset=utf-8"
STATIC_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def actor_of(request: Request[Any, Any, Any]) -> Actor:
    """Who looks at the page; anonymous where the request broke before that was known."""
    state: dict[str, Any] = request.scope.get("state", {})
    actor: Actor = state.get("actor", ANONYMOUS)
    return actor


def page(
    request: Request[Any, Any, Any],
    template: str,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    **context: Any,
) -> Response[str]:
    """A page. Every template has ``actor``, ``path`` and what is given here."""
    actor = actor_of(request)
    html = (
        environment()
        .get_template(template)
        .render(actor=actor, path=request.url.path, query=dict(request.query_params), **context)
    )
    fields = {"Cache-Control": "private, no-cache", "Vary": "Cookie"} | (headers or {})
    return Response(html, status_code=status, media_type=HTML, headers=fields)


def go(location: str, *, cookies: list[Any] | None = None) -> Response[None]:
    """See the result elsewhere, after a form was taken (303)."""
    return Response(None, status_code=303, headers={"Location": location}, cookies=cookies or [])


@cache
def environment() -> Environment:
    env = Environment(
        loader=PackageLoader("loadstone.web", "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.globals |= {"static": static_address, "version": __version__}
    env.filters |= {
        "day": day,
        "short_day": short_day,
        "stamp": stamp,
        "size": size,
        "number": number,
        "markdown": lambda text: Markup(to_html(text)),  # noqa: S704 - nh3 has cleaned it
    }
    return env


@cache
def static_files() -> dict[str, tuple[bytes, str]]:
    """The site's own files by name: bytes and media type."""
    folder = resources.files("loadstone.web").joinpath("static")
    return {
        entry.name: (entry.read_bytes(), STATIC_TYPES["." + entry.name.rsplit(".", 1)[-1]])
        for entry in folder.iterdir()
        if "." + entry.name.rsplit(".", 1)[-1] in STATIC_TYPES
    }


@cache
def static_address(name: str) -> str:
    """The address of a file, with its content's digest, so that browsers keep it for ever."""
    digest = hashlib.blake2b(static_files()[name][0], digest_size=6).hexdigest()
    return f"/static/{name}?v={digest}"


def day(value: dt.datetime | None) -> str:
    return f"{value.day} {value:%B %Y}" if value else "—"


def short_day(value: dt.datetime | None) -> str:
    return f"{value.day} {value:%b %Y}" if value else "—"


def stamp(value: dt.datetime | None) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if value else ""


def size(octets: int | None) -> str:
    """Bytes as people write them: ``1.4 MB``."""
    if octets is None:
        return "unknown size"
    value = float(octets)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


def number(value: int) -> str:
    """A count with thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u202f")
