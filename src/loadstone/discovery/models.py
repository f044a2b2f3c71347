"""What is searched, how it is asked and what comes back."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from loadstone.catalog.models import ModSummary
from loadstone.discovery.typed import Typed
from loadstone.kernel.errors import InvalidInputError, UnavailableError
from loadstone.kernel.events import Position

Sort = Literal["relevance", "downloads", "updated", "new", "name"]
FACETS = ("category", "tag", "loader", "build")


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """A search as a person or a program asks it; empty fields do not narrow."""

    q: str = ""
    game: str | None = None
    category: str | None = None
    tags: tuple[str, ...] = ()
    loader: str | None = None
    build: str | None = None
    author: str | None = None
    sort: Sort = "relevance"
    cursor: str | None = None
    limit: int = 20


class FacetCount(msgspec.Struct, frozen=True):
    """How many of the mods that were found have this value."""

    value: str
    count: int


class Facets(msgspec.Struct, frozen=True):
    """Counts over everything that was found, most first. A category counts what lies below it as well.

    A mod that says nothing of loaders or builds fits all of them, and counts for each.
    """

    category: list[FacetCount] = []
    tag: list[FacetCount] = []
    loader: list[FacetCount] = []
    build: list[FacetCount] = []


class SearchPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of mods that were found."""

    items: list[ModSummary]
    next_cursor: str | None
    total: Annotated[int, Meta(description="Mods that were found in all.")]
    facets: Facets
    hidden: Annotated[int, Meta(description="Mods left out of this page because they are not to be seen any more.")] = 0
    relaxed: Annotated[bool, Meta(description="Nothing had all the words; these have some of them.")] = False


class Wanted(msgspec.Struct, frozen=True):
    """A query in the index's own words: keys instead of texts, ids instead of slugs."""

    typed: Typed = Typed()
    game_id: int | None = None
    category: str | None = None
    tags: tuple[str, ...] = ()
    loader: str | None = None
    build: str | None = None
    author: str | None = None
    any_word: bool = False
    """Find what has at least one of the words, where nothing has all."""


class After(msgspec.Struct, frozen=True, array_like=True):
    """Where a page starts: so many hits behind the first, or at this sort key without these mods."""

    offset: int = 0
    key: int | None = None
    seen: tuple[int, ...] = ()


class Found(msgspec.Struct, frozen=True):
    """The ids of a page, what follows it, and the counts over all hits."""

    ids: list[int]
    after: After | None
    total: int
    facets: Facets


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A mod as the index holds it."""

    id: int
    game_id: int
    title: str
    summary: str
    description: str
    authors: tuple[str, ...]
    tags: tuple[str, ...]
    names: tuple[str, ...]
    """Other names: slug, identifier in the catalogue that it was imported from."""
    category: str | None
    loaders: tuple[str, ...]
    builds: tuple[str, ...]
    fits_any_loader: bool
    fits_any_build: bool
    downloads: int
    published_ms: int
    updated_ms: int


class Bookmark(msgspec.Struct, frozen=True):
    """How far into the event log an index is true, and of which database."""

    position: Position = Position()
    database: str = ""


class IndexMissingError(Exception):
    """There is no index that could be used; the writer will make one."""


class SearchBuildingError(UnavailableError):
    code = "search-building"
    title = "The search index is being built; try again shortly"

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail, retry_after=5)


class TooDeepError(InvalidInputError):
    code = "too-deep"
    title = "A search is read at most 10,000 hits deep; narrow it, or browse the game's list"
