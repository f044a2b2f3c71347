"""A query in tantivy's terms. Built from words alone, never from a query language, so nothing can be injected."""

from typing import Final

import tantivy
from tantivy import FieldType, Occur

from loadstone.discovery.models import After, Wanted
from loadstone.discovery.schema import ANY, SCHEMA
from loadstone.discovery.typed import Phrase
from loadstone.discovery.words import key

Q: Final = tantivy.Query
_FIELDS: Final = {
    "title": 8.0, "names": 6.0, "tag_words": 4.0, "author_words": 3.0, "summary": 2.0, "description": 1.0,
}  # fmt: skip
_GUESSED: Final = {"title": 0.5, "names": 0.4, "author_words": 0.3}
"""Fields where a typo is forgiven; a guess weighs less than any word that was meant."""
_UNFINISHED: Final = {"title": 2.0, "names": 1.5, "tag_words": 1.0, "author_words": 0.8}
_WHOLE: Final = 1000.0
"""What is named exactly so comes first."""
_TYPO_FROM: Final = 4
_TWO_TYPOS_FROM: Final = 9

Part = tuple[Occur, tantivy.Query]


def as_query(wanted: Wanted) -> tantivy.Query:
    """All that must and must not hold."""
    filters = _filters(wanted)
    must = _texts(wanted)
    if not filters and not must:
        filters = [_term("kind", "mod")]  # the bookmark is a document too
    parts: list[Part] = [(Occur.Must, Q.const_score_query(query, 0.0)) for query in filters]
    if wanted.any_word and must:
        parts.append((Occur.Must, Q.boolean_query([(Occur.Should, query) for query in must])))
    else:
        parts += [(Occur.Must, query) for query in must]
    if wanted.typed.whole:
        parts.append((Occur.Should, Q.const_score_query(_term("whole", wanted.typed.whole), _WHOLE)))
    parts += [(Occur.MustNot, query) for phrase in wanted.typed.excluded for query in _everywhere(phrase)]
    return Q.boolean_query(parts)


def behind(query: tantivy.Query, field: str, after: After) -> tantivy.Query:
    """What of the query comes behind a place in the order of a sort field, highest first."""
    if after.key is None:
        return query
    rest = Q.range_query(SCHEMA, field, FieldType.Unsigned, None, after.key, include_upper=True)
    parts: list[Part] = [(Occur.Must, query), (Occur.Must, rest)]
    if after.seen:
        parts.append((Occur.MustNot, Q.term_set_query(SCHEMA, "id", list(after.seen))))
    return Q.boolean_query(parts)


def _filters(wanted: Wanted) -> list[tantivy.Query]:
    found = []
    if wanted.game_id is not None:
        found.append(_term("game", wanted.game_id))
    if wanted.category:
        found.append(_term("category", wanted.category))
    found += [_term("tag", tag) for tag in wanted.tags]
    if wanted.loader:
        found.append(Q.term_set_query(SCHEMA, "loader", [wanted.loader, ANY]))
    if wanted.build:
        found.append(Q.term_set_query(SCHEMA, "build_prefix", [wanted.build, ANY]))
    if wanted.author:
        found.append(_term("author", key(wanted.author)))
    return found


def _texts(wanted: Wanted) -> list[tantivy.Query]:
    typed = wanted.typed
    found = [_word(word, unfinished=False) for word in typed.words]
    if typed.prefix:
        found.append(_word(typed.prefix, unfinished=True))
    found += [_best([_boosted(q, b) for q, b in _phrases(phrase)]) for phrase in typed.phrases]
    return found


def _word(word: str, *, unfinished: bool) -> tantivy.Query:
    """A word in any field: as it is, with a typo, or unfinished."""
    choices = [_boosted(_term(field, word), boost) for field, boost in _FIELDS.items()]
    if unfinished:
        choices += [
            _boosted(Q.fuzzy_term_query(SCHEMA, field, word, 0, prefix=True), boost)
            for field, boost in _UNFINISHED.items()
        ]
    if len(word) >= _TYPO_FROM and not word.isdigit():
        typos = 2 if len(word) >= _TWO_TYPOS_FROM else 1
        choices += [
            _boosted(Q.fuzzy_term_query(SCHEMA, field, word, typos, prefix=unfinished), boost)
            for field, boost in _GUESSED.items()
        ]
    return _best(choices)


def _phrases(phrase: Phrase) -> list[tuple[tantivy.Query, float]]:
    if len(phrase) == 1:  # tantivy's phrases have two words or more
        return [(_term(field, phrase[0]), boost) for field, boost in _FIELDS.items()]
    return [(Q.phrase_query(SCHEMA, field, list(phrase)), boost) for field, boost in _FIELDS.items()]


def _everywhere(phrase: Phrase) -> list[tantivy.Query]:
    return [query for query, _ in _phrases(phrase)]


def _best(queries: list[tantivy.Query]) -> tantivy.Query:
    return Q.disjunction_max_query(queries, 0.1)


def _boosted(query: tantivy.Query, boost: float) -> tantivy.Query:
    return Q.boost_query(query, boost)


def _term(field: str, value: str | int) -> tantivy.Query:
    return Q.term_query(SCHEMA, field, value)
