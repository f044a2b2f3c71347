"""Routes with what the platform wants to know of each: permission, idempotency, streaming, examples.

These wrap Litestar's decorators; the HTTP layer reads the ``opt`` that they set and refuses to start
when a route has none.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from litestar import Request, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import Example

from loadstone.kernel.errors import (
    PreconditionFailedError,
    PreconditionRequiredError,
)
from loadstone.kernel.permissions import Permission
from loadstone.kernel.platform import Platform

Decorated = Callable[[Callable[..., Any]], HTTPRouteHandler]
Here = NamedDependency[Platform]
"""The platform, as a route's parameter ``platform: Here``."""
NO_STORE: Final = {"Cache-Control": "no-store"}


def read(path: str, permission: Permission, **options: Any) -> Decorated:
    """A GET that changes nothing."""
    return get(path, **_options(options, permission))


def create(path: str, permission: Permission, *, keyed: bool = True, **options: Any) -> Decorated:
    """A POST that makes something; ``keyed`` ones honour ``Idempotency-Key``."""
    options.setdefault("status_code", 201)
    return post(path, **_options(options, permission, keyed=keyed))


def act(path: str, permission: Permission, *, keyed: bool = False, **options: Any) -> Decorated:
    """A POST that asks something or does something, and makes nothing with an address."""
    options.setdefault("status_code", 200)
    return post(path, **_options(options, permission, keyed=keyed))


def change(path: str, permission: Permission, **options: Any) -> Decorated:
    """A PATCH with a JSON merge of given fields; takes ``If-Match``."""
    return patch(path, **_options(options, permission))


def replace(path: str, permission: Permission, **options: Any) -> Decorated:
    """A PUT."""
    return put(path, **_options(options, permission))


def remove(path: str, permission: Permission, **options: Any) -> Decorated:
    """A DELETE; answers 204."""
    return delete(path, **_options(options, permission))


def _options(options: dict[str, Any], permission: Permission, *, keyed: bool = False) -> dict[str, Any]:
    opt: Mapping[str, Any] = options.pop("opt", {})
    streams: bool = options.pop("streams", False)
    return options | {"opt": {**opt, "permission": permission, "keyed": keyed, "streams": streams}}


def example(value: Any, summary: str = "") -> Example:
    """An example for OpenAPI from the very struct that the operation takes or gives."""
    return Example(summary=summary or None, value=msgspec.to_builtins(value))


def etag(*parts: object) -> str:
    """A strong ETag of a thing's identity and version."""
    return '"' + "-".join(map(str, parts)) + '"'


def check_if_match(request: Request[Any, Any, Any], current: str) -> None:
    """Refuse a change that was not made on the current version.

    Raises :class:`PreconditionRequiredError` without ``If-Match``, :class:`PreconditionFailedError` on
    another version (RFC 9110 §13.1.1).
    """
    given = request.headers.get("if-match")
    if given is None:
        raise PreconditionRequiredError()
    if given.strip() == "*":
        return
    if current not in (part.strip() for part in given.split(",")):
        raise PreconditionFailedError(headers={"ETag": current})
