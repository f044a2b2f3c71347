r"""The comparator syntax that most schemes share: `>=1.2 <2.0 || 3.0`, in quotes where a text has spaces.

range        := conjunction ("||" conjunction)*
conjunction  := comparator (whitespace comparator)*         all must hold
comparator   := [operator] version                          `>= 1.2`, `!=1.3`, `1.2.*` where the scheme has it
version      := bare text | "text with \" and \\ escaped"
"""

import re
from collections.abc import Callable, Iterator

from loadstone.compat.ranges.intervals import Interval, Range, SortKey

Comparator = Callable[[str, str, bool], Range]
"""(operator or "", version text, whether it was quoted) to the versions it allows."""

_TOKEN = re.compile(
    r"""[\s,]*+(?:
        (?P<or>\|\|)
      | (?P<op>>=|<=|!=|==|=|>|<|~|\^)?\s*+
        (?: "(?P<quoted>(?:[^"\\]|\\.)*+)" | (?P<bare>[^\s",|<>=!~^](?:[^\s",|]|,(?![\s",|<>=!~^]|\Z))*+) )
    )""",
    re.VERBOSE | re.DOTALL,
)
_BARE = re.compile(r"[^\s\",|<>=!~^*\\][^\s\",|*\\]*")
_RESERVED = frozenset({"none", "any"})


class MalformedComparators(ValueError):  # noqa: N818
    """The text does not follow the grammar; the message is the reason."""


def parse_comparators(text: str, comparator: Comparator) -> Range:
    """The range that `text` describes. Raises MalformedComparators, and whatever `comparator` raises."""
    alternatives: list[Interval] = []
    for conjunction in _conjunctions(text):
        allowed = Range.any()
        for operator, version, quoted in conjunction:
            allowed = allowed.intersect(comparator(operator, version, quoted))
        alternatives.extend(allowed.intervals)
    return Range.of(alternatives)


def _conjunctions(text: str) -> Iterator[list[tuple[str, str, bool]]]:
    terms: list[tuple[str, str, bool]] = []
    position, end = 0, len(text.rstrip(" \t\r\n,"))
    while position < end:
        token = _TOKEN.match(text, position)
        if token is None:
            rest = text[position:].strip()
            msg = f"nothing can be read at {rest[:20]!r}; write >=1.0, and put texts with spaces in quotes"
            raise MalformedComparators(msg)
        position = token.end()
        if token["or"]:
            yield _complete(terms)
            terms = []
            continue
        terms.append(_term(token))
    yield _complete(terms)


def _complete(terms: list[tuple[str, str, bool]]) -> list[tuple[str, str, bool]]:
    if not terms:
        msg = "an alternative is empty; write * for any version"
        raise MalformedComparators(msg)
    return terms


def _term(token: re.Match[str]) -> tuple[str, str, bool]:
    if token["bare"] is None:
        return (token["op"] or "", re.sub(r"\\(.)", r"\1", token["quoted"], flags=re.DOTALL), True)
    return (token["op"] or "", token["bare"], False)


def compare_with(operator: str, key: SortKey, raw: str) -> Range | None:
    """The range of one plain comparison; None when the operator is not one of = == != < <= > >=."""
    match operator:
        case "=" | "==":
            return Range.exactly(key, raw)
        case "!=":
            return Range.exactly(key, raw).complement()
        case ">=" | ">":
            return Range.at_least(key, raw, inclusive=operator == ">=")
        case "<=" | "<":
            return Range.at_most(key, raw, inclusive=operator == "<=")
    return None


def format_comparators(versions: Range, *, exact: str = "=", spell: Callable[[str], str] | None = None) -> str:
    """`versions` in comparator syntax, `*` for any, `none` for none.

    `exact` stands before a single version; `spell` writes a version text, by default in quotes if need be.
    """
    if versions.is_empty:
        return "none"
    return " || ".join(format_interval(interval, exact, spell) for interval in versions.intervals)


def format_interval(interval: Interval, exact: str, spell: Callable[[str], str] | None = None) -> str:
    """One interval as `format_comparators` writes it."""
    spell = spell or quoted_if_needed
    if interval.is_any:
        return "*"
    if interval.is_single:
        return exact + spell(interval.low_raw or "")
    parts: list[str] = []
    if interval.low_raw is not None:
        parts.append((">=" if interval.low_inclusive else ">") + spell(interval.low_raw))
    if interval.high_raw is not None:
        parts.append(("<=" if interval.high_inclusive else "<") + spell(interval.high_raw))
    return " ".join(parts)


def quoted_if_needed(raw: str) -> str:
    """A version text as it may stand in comparator syntax."""
    if _BARE.fullmatch(raw) and raw not in _RESERVED:
        return raw
    escaped = raw.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
