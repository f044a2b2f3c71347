"""Law 8: bad input gets a precise RFC 9457 problem.

An error is a class with a stable code, a status and a sentence that tells the user what to do next.
Each room derives its own from :class:`Problem`; the HTTP layer and the CLI both know how to show one.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import msgspec


class FieldError(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is wrong with one part of the input."""

    pointer: str
    """JSON Pointer (RFC 6901) into the body, or ``?name`` for a query parameter."""
    detail: str


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """The base of every error that a client may see (RFC 9457)."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong on our side"

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.extra = extra

    def body(self, instance: str | None = None) -> dict[str, Any]:
        """The members of the ``application/problem+json`` answer."""
        body: dict[str, Any] = {
            "type": f"/docs#{self.code}",
            "code": self.code,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [{"pointer": e.pointer, "detail": e.detail} for e in self.errors]
        if instance:
            body["instance"] = instance
        return body | self.extra


class InvalidInputError(Problem):
    code = "invalid-input"
    status = 400
    title = "The request has a part that we cannot use"


class UnauthenticatedError(Problem):
    code = "unauthenticated"
    status = 401
    title = "Log in or send a token first"

    def __init__(self, detail: str | None = None, **extra: Any) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="loadstone"'}, **extra)


class ForbiddenError(Problem):
    code = "forbidden"
    status = 403
    title = "This is not yours to do"


class NotFoundError(Problem):
    code = "not-found"
    status = 404
    title = "There is nothing here under that name"


class GoneError(Problem):
    code = "gone"
    status = 410
    title = "This was here once and is not any more"


class ConflictError(Problem):
    code = "conflict"
    status = 409
    title = "This does not fit what is already there"


class PreconditionFailedError(Problem):
    code = "precondition-failed"
    status = 412
    title = "Somebody else changed this in the meantime; read it again and repeat your change"


class PreconditionRequiredError(Problem):
    code = "precondition-required"
    status = 428
    title = "Send If-Match with the ETag that you read, so that nobody's change is overwritten"


class TooLargeError(Problem):
    code = "too-large"
    status = 413
    title = "This is larger than this server takes"


class UnsupportedMediaTypeError(Problem):
    code = "unsupported-media-type"
    status = 415
    title = "This content type is not taken here"


class TooManyRequestsError(Problem):
    code = "too-many-requests"
    status = 429
    title = "Too many requests; wait before the next"


class UnavailableError(Problem):
    code = "unavailable"
    status = 503
    title = "This is not available at the moment; try again shortly"

    def __init__(self, detail: str | None = None, *, retry_after: int = 2, **extra: Any) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)}, **extra)


def known_problems() -> Iterator[type[Problem]]:
    """Every problem class that is loaded, base first; the documentation lists them.

    Raises :class:`RuntimeError` when two classes claim one code.
    """
    seen: dict[str, type[Problem]] = {}
    pending: list[type[Problem]] = [Problem]
    while pending:
        cls = pending.pop(0)
        if "code" in vars(cls):
            other = seen.setdefault(cls.code, cls)
            if other is not cls:
                raise RuntimeError(f"{cls.__name__} and {other.__name__} both use the code {cls.code!r}")
            yield cls
        pending.extend(cls.__subclasses__())
