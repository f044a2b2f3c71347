"""Every error as an RFC 9457 problem (law 8): ours, the framework's, and the ones nobody foresaw."""

import re
from typing import Any, Final

import asyncpg
import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    SerializationException,
    ValidationException,
)

from loadstone.kernel.errors import (
    ConflictError,
    FieldError,
    InvalidInputError,
    NotFoundError,
    Problem,
    TooLargeError,
    UnavailableError,
    UnsupportedMediaTypeError,
)

_log = structlog.get_logger()
MEDIA_TYPE: Final = "application/problem+json"
_AT: Final = re.compile(r"^(?P<detail>.*?)(?: - at `(?P<path>\$.*)`)?$", re.DOTALL)


class MethodNotAllowedError(Problem):
    code = "method-not-allowed"
    status = 405
    title = "This address does not take that method"


class MalformedError(InvalidInputError):
    code = "malformed"
    title = "The body cannot be read"


def pointer(path: str | None) -> str:
    """Msgspec's ``$.a[0].b`` as the JSON Pointer ``/a/0/b``."""
    if not path:
        return ""
    return re.sub(r"\[(\d+|\.\.\.)\]", r"/\1", path.removeprefix("$")).replace(".", "/").replace("///", "...")


def invalid(message: str, source: str = "body") -> InvalidInputError:
    """A msgspec message as a problem that points at the wrong member."""
    match = _AT.match(message)
    detail, path = (match["detail"], match["path"]) if match else (message, None)
    where = pointer(path) if source == "body" else f"?{(path or '').removeprefix('$.')}"
    return InvalidInputError(f"{detail}{f' at {where}' if where else ''}.", errors=[FieldError(where, detail)])


def as_problem(error: BaseException) -> Problem:  # noqa: C901, PLR0911 - one row for each kind
    """The problem that a client sees for an error; unforeseen ones say nothing of the inside."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ValidationException):
        return _validation(error)
    if isinstance(error, SerializationException):
        return _unreadable(error)
    if isinstance(error, msgspec.ValidationError):
        return invalid(str(error))
    if isinstance(error, RecursionError):
        return MalformedError("The body is nested too deeply.")
    if isinstance(error, UnicodeDecodeError):
        return MalformedError("The body is not valid UTF-8.")
    if isinstance(error, NotFoundException):
        return NotFoundError("There is nothing at this address.")
    if isinstance(error, MethodNotAllowedException):
        return MethodNotAllowedError(headers=dict(error.headers or {}))
    if isinstance(error, HTTPException):
        return _framework(error)
    if isinstance(error, asyncpg.CharacterNotInRepertoireError):
        return InvalidInputError("A text has a NUL character in it; nothing here takes one.")
    if isinstance(error, asyncpg.QueryCanceledError | asyncpg.LockNotAvailableError | TimeoutError):
        return UnavailableError("This took too long and was given up; try again shortly.")
    if isinstance(error, asyncpg.DeadlockDetectedError | asyncpg.SerializationError):
        return ConflictError("This met another change at the same moment; send it again.")
    if isinstance(error, asyncpg.InterfaceError | asyncpg.PostgresConnectionError | ConnectionError):
        return UnavailableError("The database is not reachable at the moment; try again shortly.")
    return Problem()


def _validation(error: ValidationException) -> Problem:
    extra = error.extra if isinstance(error.extra, list) else []
    fields = []
    for item in extra:
        if not isinstance(item, dict):
            continue
        key = str(item.get("key", ""))
        at = f"?{key}" if item.get("source") in {"query", "header", "path"} else pointer(f"$.{key}")
        fields.append(FieldError(at, str(item.get("message", ""))))
    if not fields:
        return invalid(str(error.detail))
    return InvalidInputError("; ".join(f"{f.pointer}: {f.detail}" for f in fields), errors=fields)


def _unreadable(error: SerializationException) -> Problem:
    cause = error.__cause__ or error.__context__
    if isinstance(cause, msgspec.ValidationError | UnicodeDecodeError):
        return as_problem(cause)
    return MalformedError(f"The body is not valid JSON: {cause or error.detail}.")


def _framework(error: HTTPException) -> Problem:
    cause = error.__cause__
    if isinstance(cause, SerializationException | msgspec.MsgspecError):
        return as_problem(cause)
    if error.status_code == 413:
        return TooLargeError()
    if error.status_code == 415:
        return UnsupportedMediaTypeError()
    if 400 <= error.status_code < 500:
        return MalformedError(str(error.detail))
    return Problem()


def problem_response(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Litestar's exception handler for everything."""
    problem = as_problem(error)
    if problem.status >= 500 and not isinstance(problem, UnavailableError):
        _log.error("request_failed", path=request.url.path, exc_info=error)
    wants_page = not request.url.path.startswith(("/api/", "/graphql", "/files/")) and "text/html" in (
        request.headers.get("accept", "")
    )
    if wants_page:
        from loadstone.web.errors import error_page

        return error_page(request, problem)
    return Response(
        content=msgspec.json.encode(problem.body(request.url.path)),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=problem.headers | {"Cache-Control": "no-store"},
    )
