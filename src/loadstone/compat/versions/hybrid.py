"""The default scheme for free text: the order that people mean when they write versions by hand."""

import re

from loadstone.compat.ranges import SortKey
from loadstone.compat.versions.base import Version
from loadstone.compat.versions.comparing import ComparatorScheme
from loadstone.compat.versions.encoding import number, text
from loadstone.compat.versions.guess import channel_of, line_of

_EPOCH = re.compile(r"([0-9]{1,9}):(?=.)(.*)", re.DOTALL)
_NUMBERS = re.compile(r"[0-9]++(?:[.,][0-9]++)*+")
_SUFFIX = re.compile(r"(?P<word>[^\W0-9_]++)(?:[-_. ]?(?P<count>[0-9]++))?|(?P<number>[0-9]++)")

_BEFORE = {
    "dev": 1, "nightly": 1, "snapshot": 1, "wip": 2, "experimental": 2, "test": 2, "prealpha": 2,
    "unofficial": 3, "alpha": 4, "beta": 5, "milestone": 6, "pre": 7, "preview": 7, "prerelease": 7,
    "rc": 8, "candidate": 8,
}  # fmt: skip
_AFTER = frozenset({"final", "release", "stable", "hotfix", "fix", "patch", "update"})
_LETTER_STAGES = {"a": "alpha", "b": "beta"}

_END, _WORD, _COUNT, _NUMBER = b"\x80", b"\x90", b"\xa0", b"\xf9"


class HybridScheme(ComparatorScheme):
    """Any text is a version: numbers, padded with zeros, then words that say "before" or "after" them."""

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


def _encode(version: str) -> bytes:
    found = _NUMBERS.search(version)
    if found is None:
        return _encode_suffix(version)
    numbers = [number(digits) for digits in re.split("[.,]", found[0])]
    while numbers and numbers[-1] == b"\x00":
        numbers.pop()
    body = b"".join(_NUMBER + piece for piece in numbers)
    stages = b"".join(
        bytes((_BEFORE[word],)) + number("0")
        for word in re.findall(r"[^\W0-9_]++", version[: found.start()])
        if word in _BEFORE
    )
    return body + stages + _encode_suffix(version[found.end() :])


def _encode_suffix(suffix: str) -> bytes:
    return b"".join(_encode_token(token) for token in _SUFFIX.finditer(suffix)) + _END


def _encode_token(token: re.Match[str]) -> bytes:
    if token["number"] is not None:
        return _COUNT + number(token["number"])
    word, count = token["word"], token["count"] or ""
    if count:
        word = _LETTER_STAGES.get(word, word)
    if word in _BEFORE:
        return bytes((_BEFORE[word],)) + number(count)
    return _WORD + text(word) + number(count)
