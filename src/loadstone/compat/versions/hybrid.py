"""The default scheme for free text: the order that people mean when they write versions by hand."""

import re

from loadstone.compat.ranges import Interval, Range, SortKey
from loadstone.compat.ranges.comparators import format_interval, quoted_if_needed
from loadstone.compat.versions.base import Version
from loadstone.compat.versions.comparing import ComparatorScheme
from loadstone.compat.versions.encoding import number, text
from loadstone.compat.versions.guess import channel_of, line_of
from loadstone.compat.versions.semver import increment

_EPOCH = re.compile(r"([0-9]{1,9}):(?=.)(.*)", re.DOTALL)
_NUMBERS = re.compile(r"[0-9]++(?:[.,][0-9]++)*+")
_WORD = re.compile(r"[^\W0-9_]++")
_TOKEN = re.compile(r"(?P<word>[^\W0-9_]++)(?:[-_. ]?(?P<count>[0-9]++))?|(?P<number>[0-9]++)")
_PRE_ALPHA = re.compile(r"pre[-_. ]alpha")
_DATE = re.compile(r"(?:19|20)[0-9]{2}[01][0-9][0-3][0-9]")
_STARTS_WITH = re.compile(r"(?P<numbers>(?:[0-9]{1,9}:)?[0-9]++(?:\.[0-9]++)*+)\.[*xX]")
_FIRST_OF = re.compile(r"v?(?P<numbers>[0-9]++(?:\.[0-9]++)*+)\.\*")

_BEFORE = {
    word: bytes((rank,))
    for rank, words in enumerate(
        (
            "dev indev nightly snapshot canary",
            "wip draft test testing experimental prealpha",
            "unofficial",
            "alpha",
            "beta",
            "milestone",
            "pre preview prerelease",
            "rc candidate",
        ),
        start=1,
    )
    for word in words.split()
}
_FINAL, _FIX = 0x81, 0x84
_AFTER = {
    word: bytes((rank,))
    for rank, words in ((_FINAL, "final release stable gold"), (_FIX, "fix hotfix bugfix patch update"))
    for word in words.split()
}
_LEADING = (range(1, 0x80), range(_FINAL, _FINAL + 1), range(_FIX, _FIX + 1))
_LETTER_STAGES = {"a": "alpha", "b": "beta"}

_END, _OTHER_WORD, _LETTER, _COUNT, _NUMBER = b"\x80", b"\x82", b"\x83", b"\xa0", b"\xf9"
_ZERO = number("0")


class HybridScheme(ComparatorScheme):
    """Any text is a version: numbers, padded with zeros, then words that say "before" or "after" them.

    A name or v in front means nothing, unless it is a word like alpha. A zero in front of a later number makes it
    a fraction (1.05 < 1.1), and a date in the last place only tells two builds apart (1.20.20240716 < 1.20.1).
    Then come words that make it older (dev, wip, unofficial, alpha, beta, pre, rc), the end, and what makes it
    newer: final, any other word, a letter at the number, fix or patch, and further numbers. `N:` is an epoch.

    `1.12.*` is a place before every version that starts with these numbers; as a range it is all of them.
    """

    name = "hybrid"

    def _key(self, raw: str) -> SortKey:
        epoch, version = self._epoch(raw)
        return SortKey(number(epoch) + _encode(version.lower()))

    def _version(self, raw: str) -> Version:
        epoch, version = self._epoch(raw)
        return Version(raw, self.name, self.key(raw), int(epoch), channel_of(version), line_of(version))

    def _epoch(self, raw: str) -> tuple[str, str]:
        if not raw:
            raise self._invalid(raw, "it is empty; write any text such as 1.0")
        found = _EPOCH.fullmatch(raw)
        return (found[1], found[2]) if found else ("0", raw)

    def format_range(self, r: Range) -> str:
        return " || ".join(_format(interval) for interval in r.intervals) or "none"

    def _comparator(self, operator: str, text: str, quoted: bool) -> Range:
        found = None if quoted else _STARTS_WITH.fullmatch(text)
        if found is None:
            return super()._comparator(operator, text, quoted)
        low, high = found["numbers"] + ".*", _beyond(found["numbers"]) + ".*"
        at_low = Range.at_least(self.key(low), low)
        below_high = Range.at_most(self.key(high), high, inclusive=False)
        match operator:
            case ">=":
                return at_low
            case "<":
                return at_low.complement()
            case ">":
                return below_high.complement()
            case "<=":
                return below_high
            case "!=":
                return at_low.intersect(below_high).complement()
        return at_low.intersect(below_high)


def _format(interval: Interval) -> str:
    low, high = interval.low_raw or "", interval.high_raw or ""
    found = _STARTS_WITH.fullmatch(low)
    if found and interval.low_inclusive and not interval.high_inclusive and high == _beyond(found[1]) + ".*":
        return low
    return format_interval(interval, "", None if interval.is_single else _spell)


def _spell(raw: str) -> str:
    return raw if _STARTS_WITH.fullmatch(raw) else quoted_if_needed(raw)


def _beyond(numbers: str) -> str:
    """The next text of as many numbers: "1.13" beyond "1.12"."""
    last = re.search(r"[0-9]++$", numbers)
    return numbers if last is None else numbers[: last.start()] + increment(last[0])


def _encode(version: str) -> bytes:
    first = _FIRST_OF.fullmatch(version)
    if first is not None:
        return _encode_numbers(_numbers(first["numbers"].split("."))[0])
    found = _NUMBERS.search(version)
    if found is None:
        return _encode_words(_tokens(version))
    numbers, date = _numbers(re.split("[.,]", found[0]))
    stages = [_BEFORE[word] + _ZERO for word in _WORD.findall(version, 0, found.start()) if word in _BEFORE]
    words = _encode_words(date + _tokens(version[found.end() :]))
    return _encode_numbers(numbers) + b"".join(stages) + words


def _encode_numbers(numbers: list[bytes]) -> bytes:
    return b"".join(_NUMBER + piece for piece in numbers)


def _numbers(digits: list[str]) -> tuple[list[bytes], list[bytes]]:
    """The numbers without the zeros that end them, and the token of a date in the last place, if there is one."""
    date = [_COUNT + number(digits.pop())] if len(digits) > 1 and _DATE.fullmatch(digits[-1]) else []
    numbers = [number(digits[0])]
    for part in digits[1:]:
        if part[0] == "0" and part.strip("0"):
            numbers.append(_ZERO)
        numbers.append(number(part))
    while numbers and numbers[-1] == _ZERO:
        numbers.pop()
    return numbers, date


def _tokens(suffix: str) -> list[bytes]:
    return [_encode_token(token) for token in _TOKEN.finditer(_PRE_ALPHA.sub("prealpha", suffix))]


def _encode_words(tokens: list[bytes]) -> bytes:
    """What follows the numbers. The word that says before, final or fix stands ahead: "public beta", "hot fix"."""
    for ranks in _LEADING:
        leading = next((position for position, token in enumerate(tokens) if token[0] in ranks), None)
        if leading is not None:
            tokens.insert(0, tokens.pop(leading))
            break
    return b"".join(tokens) + _END


def _encode_token(token: re.Match[str]) -> bytes:
    if token["number"] is not None:
        return _COUNT + number(token["number"])
    word: str = token["word"]
    count: str = token["count"] or ""
    if count:
        word = _LETTER_STAGES.get(word, word)
    known = _BEFORE.get(word) or _AFTER.get(word)
    if known is not None:
        return known + number(count)
    is_letter = len(word) == 1 and token.start() == 0
    return (_LETTER if is_letter else _OTHER_WORD) + text(word) + number(count)
