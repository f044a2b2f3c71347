"""Keyset pagination (law 7): a page and the signed cursor of the next."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from loadstone.kernel.errors import FieldError, InvalidInputError
from loadstone.kernel.signing import BadSignatureError, Signer

MOST: Final = 100
T = TypeVar("T")
R = TypeVar("R")


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Some items of a list and where the next ones start; no cursor means that this was the last page."""

    items: list[T]
    next_cursor: str | None = None


def read_cursor(signer: Signer, name: str, cursor: str | None) -> list[Any] | None:
    """The keys of the last row seen. Raises :class:`InvalidInputError` for a cursor that we did not make."""
    if not cursor:
        return None
    try:
        keys: list[Any] = signer.verify(f"cursor {name}", cursor, list)
    except BadSignatureError:
        raise InvalidInputError(
            "The cursor is not one that this list gave out; start without one.",
            errors=[FieldError("?cursor", "not a cursor of this list with these filters")],
        ) from None
    return keys


def page(
    signer: Signer,
    name: str,
    rows: Sequence[R],
    limit: int,
    key: Callable[[R], list[Any]],
    item: Callable[[R], T],
) -> Page[T]:
    """A page from ``limit + 1`` fetched rows: the one too many tells that there is a next page.

    ``name`` names the list with its filters, so that a cursor fits no other list.
    """
    shown = rows[:limit]
    more = len(rows) > limit
    return Page([item(row) for row in shown], signer.sign(f"cursor {name}", key(shown[-1])) if more else None)
