"""Checking version vectors: pairs, predicates and texts of which another program has said what is right."""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from loadstone.compat.ranges import InvalidRange
from loadstone.compat.versions import SCHEMES, InvalidVersion, Scheme, scheme
from loadstone.compat.versions.fabric import FabricScheme
from loadstone.compat.versions.smapi import SmapiScheme


class MalformedVectors(ValueError):  # noqa: N818
    """The document does not have the shape of a vectors file."""

    code = "malformed_vectors"
    status = 422


class Pair(msgspec.Struct, frozen=True):
    """`cmp` is the sign of a against b, "!=" says only that they differ; null is older than any version."""

    scheme: str
    a: str | None
    b: str | None
    cmp: Literal[-1, 0, 1, "!="]


class Predicate(msgspec.Struct, frozen=True):
    scheme: str
    predicate: str
    version: str
    match: bool


class ParseCase(msgspec.Struct, frozen=True):
    """Whether a text is a version, and how the ecosystem prints it; the flags are options of two schemes."""

    scheme: str
    version: str | None
    valid: bool
    normalized: str | None = None
    wildcards_allowed: bool = False
    non_standard_4_part_allowed: bool = False


class Vectors(msgspec.Struct, frozen=True):
    """The document. Real pairs of releases, whose truth by time is not always right, are not checked."""

    pairs: tuple[Pair, ...] = ()
    predicates: tuple[Predicate, ...] = ()
    parse: tuple[ParseCase, ...] = ()


class Failure(msgspec.Struct, frozen=True):
    """One vector that does not hold: where it stands in the document, what it says, what came out."""

    section: str
    index: int
    vector: dict[str, Any]
    expected: Any
    got: Any


class VectorReport(msgspec.Struct, frozen=True):
    """`skipped` counts vectors of schemes that are not known here."""

    passed: int
    failed: int
    failures: tuple[Failure, ...]
    skipped: int = 0


def check_vectors(document: Any) -> VectorReport:
    """Check every vector of a decoded JSON document. Raises MalformedVectors."""
    vectors = _converted(document)
    passed, skipped = 0, 0
    failures: list[Failure] = []
    for section, index, vector in _every(vectors):
        if vector.scheme not in SCHEMES:
            skipped += 1
            continue
        expected, got = _outcome(vector)
        if got == expected:
            passed += 1
        else:
            failures.append(Failure(section, index, msgspec.to_builtins(vector), expected, got))
    return VectorReport(passed, len(failures), tuple(failures), skipped)


def _converted(document: Any) -> Vectors:
    if not isinstance(document, dict) or not document.keys() & {"pairs", "predicates", "parse"}:
        msg = "a vectors file is a JSON object with one of the lists pairs, predicates and parse"
        raise MalformedVectors(msg)
    try:
        return msgspec.convert(document, Vectors)
    except msgspec.ValidationError as error:
        msg = f"a vector does not have the expected shape: {error}"
        raise MalformedVectors(msg) from error


def _every(vectors: Vectors) -> Iterator[tuple[str, int, Pair | Predicate | ParseCase]]:
    for index, pair in enumerate(vectors.pairs):
        yield "pairs", index, pair
    for index, predicate in enumerate(vectors.predicates):
        yield "predicates", index, predicate
    for index, case in enumerate(vectors.parse):
        yield "parse", index, case


def _outcome(vector: Pair | Predicate | ParseCase) -> tuple[Any, Any]:
    """What the vector expects and what happens."""
    try:
        if isinstance(vector, Pair):
            return _pair(vector)
        if isinstance(vector, Predicate):
            found = scheme(vector.scheme)
            return vector.match, found.parse_range(vector.predicate).contains(found.key(vector.version))
        return _parse_case(vector)
    except (InvalidVersion, InvalidRange) as error:
        return "an answer", str(error)


def _pair(pair: Pair) -> tuple[Any, Any]:
    if pair.a is None or pair.b is None:
        compared = (pair.a is not None) - (pair.b is not None)
    else:
        compared = scheme(pair.scheme).compare(pair.a, pair.b)
    if pair.cmp == "!=":
        return "!=", "!=" if compared else 0
    return pair.cmp, compared


def _parse_case(case: ParseCase) -> tuple[Any, Any]:
    reader = _reader(case)
    if case.version is None:
        return case.valid, False
    if case.wildcards_allowed and isinstance(reader, FabricScheme):
        return case.valid, reader.accepts_pattern(case.version)
    try:
        parsed = reader.parse(case.version)
    except InvalidVersion:
        return case.valid, False
    if case.valid and case.normalized is not None and isinstance(reader, SmapiScheme):
        return case.normalized, reader.normalized(parsed.raw)
    return case.valid, True


def _reader(case: ParseCase) -> Scheme:
    if case.scheme == SmapiScheme.name and case.non_standard_4_part_allowed:
        return SmapiScheme(platform_release=True)
    return scheme(case.scheme)
