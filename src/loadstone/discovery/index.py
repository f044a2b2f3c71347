"""The index by tantivy: its writer and its reader, behind two small interfaces.

Traps, each met here or in ``schema`` and ``asking``: a document is made by ``from_dict`` with the schema;
after an error the writer is thrown away, because later commits succeed and lose documents; the bookmark is a
document of the same commit, so that what is indexed and how far it is true cannot part; some mistakes are
panics in Rust, which are no ``Exception`` in Python.
"""

import math
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import tantivy
from tantivy import Order

from loadstone.discovery.asking import as_query, behind
from loadstone.discovery.models import (
    After,
    Bookmark,
    Document,
    FacetCount,
    Facets,
    Found,
    IndexMissingError,
    Sort,
    Wanted,
)
from loadstone.discovery.schema import ANY, BOOKMARK, SCHEMA, SORT_FIELDS, as_document

Q: Final = tantivy.Query
DEEPEST: Final = 10_000
"""Hits that can be paged through where there is no key to start behind."""
RERANKED: Final = 200
"""Best hits by text that are put into order again by how much they are used."""
MOST_COUNTED: Final = 256
_FACET_SIZES: Final = {"category": 100, "tag": 100, "loader": 50, "build": 200}
_HEAP: Final = 32 << 20


class IndexWriter(Protocol):
    """Changes an index; nothing is seen by readers before :meth:`commit`. One writer at a time."""

    @property
    def bookmark(self) -> Bookmark:
        """How far the last commit is true."""
        ...

    def put(self, documents: Iterable[Document], gone: Iterable[int] = ()) -> None:
        """Add or replace mods, and take out those in ``gone``."""
        ...

    def commit(self, bookmark: Bookmark) -> None:
        """Make all of it durable and visible, together with how far it is true."""
        ...

    def close(self) -> None:
        """Give the index back; what was not committed is lost."""
        ...


class SearchIndex(Protocol):
    """Answers searches; what it answers is a derived view, to be checked against the tables (law 6)."""

    def find(self, wanted: Wanted, sort: Sort, after: After, limit: int) -> Found: ...

    def refresh(self) -> None:
        """See what was committed since."""
        ...


def open_writer(folder: Path, *, fresh: bool = False) -> "TantivyWriter":
    """The writer of the index in a folder; ``fresh`` makes the index. Raises :class:`IndexMissingError`."""
    if fresh:
        folder.mkdir(parents=True)
        return TantivyWriter(tantivy.Index(SCHEMA, path=str(folder)))
    return TantivyWriter(_open(folder))


def open_index(folder: Path) -> "TantivyIndex":
    """The reader of the index in a folder. Raises :class:`IndexMissingError`."""
    return TantivyIndex(_open(folder))


def _open(folder: Path) -> tantivy.Index:
    try:
        return tantivy.Index.open(str(folder))
    except BaseException as error:
        reraise_if_ours(error)
        raise IndexMissingError(f"{folder.name} cannot be opened: {str(error)[:200]}") from error


def reraise_if_ours(error: BaseException) -> None:
    """Let through what is no failure of the index. A panic in Rust is neither an Exception nor importable."""
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error


class TantivyWriter:
    """:class:`IndexWriter` by tantivy. After any error it must be closed and opened again."""

    def __init__(self, index: tantivy.Index) -> None:
        self._index = index
        self._bookmark = _read_bookmark(index)
        self._writer = index.writer(heap_size=_HEAP, num_threads=1)

    @property
    def bookmark(self) -> Bookmark:
        return self._bookmark

    def put(self, documents: Iterable[Document], gone: Iterable[int] = ()) -> None:
        for mod_id in gone:
            self._writer.delete_documents_by_term("id", mod_id)
        for document in documents:
            self._writer.delete_documents_by_term("id", document.id)
            self._writer.add_document(as_document(document))

    def commit(self, bookmark: Bookmark) -> None:
        self._writer.delete_documents_by_term("kind", BOOKMARK)
        text = msgspec.json.encode(bookmark).decode()
        self._writer.add_document(tantivy.Document.from_dict({"kind": BOOKMARK, "bookmark": text}, SCHEMA))
        self._writer.commit()
        self._bookmark = bookmark

    def close(self) -> None:
        self._writer.rollback()
        self._writer.wait_merging_threads()


class TantivyIndex:
    """:class:`SearchIndex` by tantivy, over memory-mapped files; safe between threads."""

    def __init__(self, index: tantivy.Index) -> None:
        self._index = index
        self._lock = threading.Lock()
        self._counted: dict[Wanted, tuple[int, Facets]] = {}
        index.config_reader("manual", 0)
        index.reload()

    def refresh(self) -> None:
        with self._lock:
            self._index.reload()
            self._counted = {}

    def check(self) -> None:
        """Raises when the index cannot be read through."""
        _read_bookmark(self._index)
        self._index.searcher().search(Q.all_query(), 1, order_by_field="by_updated")

    def find(self, wanted: Wanted, sort: Sort, after: After, limit: int) -> Found:
        with self._lock:
            searcher, counted = self._index.searcher(), self._counted
        query = as_query(wanted)
        known = counted.get(wanted)
        if known is None:
            known = _count(searcher, query)
            if len(counted) < MOST_COUNTED:
                counted[wanted] = known
        total, facets = known
        if sort in SORT_FIELDS:
            ids, following = _by_key(searcher, query, SORT_FIELDS[sort], after, limit)
        elif sort == "name":
            ids, following = _by_name(searcher, query, after, limit)
        else:
            ids, following = _by_relevance(searcher, query, after, limit)
        return Found(ids, following, total, facets)


def _by_key(
    searcher: tantivy.Searcher, query: tantivy.Query, field: str, after: After, limit: int
) -> tuple[list[int], After | None]:
    """By keyset: what appears or goes meanwhile neither repeats nor skips a mod."""
    hits = searcher.search(behind(query, field, after), limit + 1, count=False, order_by_field=field).hits
    ids = _ids(searcher, hits)
    if len(hits) <= limit:
        return ids, None
    last: int = hits[limit - 1][0]
    there = tuple(id_ for id_, (value, _) in zip(ids[:limit], hits[:limit], strict=True) if value == last)
    seen = (*after.seen, *there) if last == after.key else there
    return ids[:limit], After(key=last, seen=seen)


def _by_name(
    searcher: tantivy.Searcher, query: tantivy.Query, after: After, limit: int
) -> tuple[list[int], After | None]:
    hits = searcher.search(
        query, limit + 1, count=False, order_by_field="by_name", order=Order.Asc, offset=after.offset
    ).hits
    return _ids(searcher, hits[:limit]), _next(after, len(hits), limit)


def _by_relevance(
    searcher: tantivy.Searcher, query: tantivy.Query, after: After, limit: int
) -> tuple[list[int], After | None]:
    """By text; among the best few hundred what is used more stands higher."""
    if after.offset >= RERANKED:
        hits = searcher.search(query, limit + 1, count=False, offset=after.offset).hits
        return _ids(searcher, hits[:limit]), _next(after, len(hits), limit)
    hits = searcher.search(query, max(RERANKED, after.offset + limit + 1), count=False).hits
    downloads = searcher.fast_field_values("downloads", [address for _, address in hits])
    used = [score * (1 + 0.05 * math.log2(1 + (count or 0))) for (score, _), count in zip(hits, downloads, strict=True)]
    best = sorted(range(min(RERANKED, len(hits))), key=lambda n: -used[n])
    order = [*best, *range(RERANKED, len(hits))]
    shown = [hits[n] for n in order[after.offset : after.offset + limit + 1]]
    return _ids(searcher, shown[:limit]), _next(after, len(shown), limit)


def _next(after: After, got: int, limit: int) -> After | None:
    return After(offset=after.offset + limit) if got > limit else None


def _ids(searcher: tantivy.Searcher, hits: Sequence[tuple[Any, tantivy.DocAddress]]) -> list[int]:
    values = searcher.fast_field_values("id", [address for _, address in hits])
    return [int(value) for value in values if value is not None]


def _count(searcher: tantivy.Searcher, query: tantivy.Query) -> tuple[int, Facets]:
    """How many there are, and the counts of each facet's values."""
    asked: dict[str, Any] = {"total": {"value_count": {"field": "id"}}}
    asked |= {name: {"terms": {"field": name, "size": size + 1}} for name, size in _FACET_SIZES.items()}
    counts = searcher.aggregate(query, asked)
    return int(counts["total"]["value"]), Facets(
        **{name: _facet(name, counts[name]["buckets"]) for name in _FACET_SIZES}
    )


def _facet(name: str, buckets: Iterable[dict[str, Any]]) -> list[FacetCount]:
    found = {str(bucket["key"]): int(bucket["doc_count"]) for bucket in buckets}
    everywhere = found.pop(ANY, 0)
    ordered = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[: _FACET_SIZES[name]]
    return [FacetCount(value, count + everywhere) for value, count in ordered]


def _read_bookmark(index: tantivy.Index) -> Bookmark:
    index.reload()
    searcher = index.searcher()
    hits = searcher.search(Q.term_query(SCHEMA, "kind", BOOKMARK), 1).hits
    if not hits:
        return Bookmark()
    text = searcher.doc(hits[0][1]).get_first("bookmark")
    return msgspec.json.decode(str(text), type=Bookmark)
