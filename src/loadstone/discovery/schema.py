"""What the index holds of a mod. A change here needs a new :data:`VERSION`, which makes a new index."""

from typing import Any, Final

import tantivy

from loadstone.discovery.models import Document
from loadstone.discovery.words import key, words

VERSION: Final = 1
BOOKMARK: Final = "bookmark"
ANY: Final = "*"
"""Stands for every loader or build, in mods that name none."""
MOST_DESCRIPTION: Final = 20_000
"""Letters of a description that are searched."""
SORT_FIELDS: Final = {"downloads": "by_downloads", "updated": "by_updated", "new": "by_new"}
_LOW_BITS: Final = (1 << 22) - 1
_MOST: Final = (1 << 41) - 1


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    # Signed: deleting by a term of an unsigned field finds nothing, and says nothing.
    builder.add_integer_field("id", stored=True, indexed=True, fast=True)
    builder.add_unsigned_field("game", indexed=True, fast=True)
    for name in ("title", "names", "summary", "description", "tag_words", "author_words"):
        builder.add_text_field(name, tokenizer_name="whitespace", index_option="position")
    for name in ("whole", "author", "kind"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    for name in ("category", "tag", "loader", "build"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic", fast=True)
    builder.add_text_field("build_prefix", tokenizer_name="raw", index_option="basic")
    builder.add_text_field("by_name", tokenizer_name="raw", index_option="basic", fast=True)
    builder.add_unsigned_field("downloads", fast=True)
    for name in SORT_FIELDS.values():
        builder.add_unsigned_field(name, indexed=True, fast=True)
    builder.add_text_field("bookmark", stored=True, tokenizer_name="raw", index_option="basic")
    return builder.build()


SCHEMA: Final = _schema()


def as_document(mod: Document) -> tantivy.Document:
    """The index's form of a mod; only ``from_dict`` with the schema keeps unsigned numbers unsigned."""
    whole = {key(mod.title), *(key(name) for name in mod.names)} - {""}
    fields: dict[str, Any] = {
        "id": mod.id,
        "game": mod.game_id,
        "kind": "mod",
        "title": _cut(mod.title),
        "names": " ".join(_cut(name) for name in mod.names),
        "summary": _cut(mod.summary),
        "description": _cut(mod.description[:MOST_DESCRIPTION]),
        "tag_words": _cut(" ".join(mod.tags)),
        "author_words": _cut(" ".join(mod.authors)),
        "whole": sorted(whole),
        "author": sorted({key(author) for author in mod.authors} - {""}),
        "category": _above(mod.category, "/"),
        "tag": list(mod.tags),
        "loader": [ANY] if mod.fits_any_loader else list(mod.loaders),
        "build": [ANY] if mod.fits_any_build else list(mod.builds),
        "build_prefix": [ANY] if mod.fits_any_build else sorted({p for b in mod.builds for p in _above(b, ".")}),
        "by_name": key(mod.title),
        "downloads": mod.downloads,
        "by_downloads": sort_key(mod.downloads, mod.id),
        "by_updated": sort_key(mod.updated_ms, mod.id),
        "by_new": sort_key(mod.published_ms, mod.id),
    }
    return tantivy.Document.from_dict({k: v for k, v in fields.items() if v != []}, SCHEMA)


def sort_key(value: int, mod_id: int) -> int:
    """A value to sort by that is all but unique, so that a page can start exactly behind another."""
    return min(max(value, 0), _MOST) << 22 | mod_id & _LOW_BITS


def _cut(text: str) -> str:
    return " ".join(words(text))


def _above(path: str | None, separator: str) -> list[str]:
    """A path and all that it lies below: ``weapons/swords`` → weapons, weapons/swords."""
    if not path:
        return []
    parts = path.split(separator)
    return [separator.join(parts[:n]) for n in range(1, len(parts) + 1)]
