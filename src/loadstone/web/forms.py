"""HTML forms: read one into a struct, or say beside each field what is wrong with it."""

from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from litestar import Request

from loadstone.kernel.errors import FieldError, InvalidInputError, Problem, UnsupportedMediaTypeError

T = TypeVar("T")
_FORM: Final = "application/x-www-form-urlencoded"
_MOST_FIELDS: Final = 200


async def read_form(request: Request[Any, Any, Any]) -> dict[str, str]:
    """The fields of a plain form, the CSRF value left out; the last of a doubled name counts.

    Raises :class:`InvalidInputError`, :class:`UnsupportedMediaTypeError`.
    """
    if not request.headers.get("content-type", "").startswith(_FORM):
        raise UnsupportedMediaTypeError(f"This page takes forms ({_FORM}).")
    try:
        text = (await request.body()).decode("utf-8")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError:
        raise InvalidInputError("The form cannot be read; it is not UTF-8 or has too many fields.") from None
    if "\0" in text or any("\0" in value for _, value in pairs):
        raise InvalidInputError("The form has a NUL character in it.")
    return {name: value.replace("\r\n", "\n") for name, value in pairs if name != "csrf"}


def fill(shape: type[T], fields: dict[str, Any]) -> T:
    """The struct of a form's fields. Raises :class:`InvalidInputError` that points at the wrong field."""
    try:
        return msgspec.convert(fields, shape, strict=False)
    except msgspec.ValidationError as error:
        detail, _, path = str(error).partition(" - at `$.")
        raise InvalidInputError(detail, errors=[FieldError("/" + path.rstrip("`"), detail)]) from None


def field_errors(problem: Problem) -> dict[str, str]:
    """What is wrong, by field's name; the template shows it beside the field."""
    return {e.pointer.strip("/?").split("/")[0]: e.detail for e in problem.errors}
