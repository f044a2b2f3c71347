"""LOOT's version comparison (github.com/loot/loot-condition-interpreter): SemVer made lenient."""

import re

from loadstone.compat.ranges import SortKey
from loadstone.compat.versions.base import Version
from loadstone.compat.versions.comparing import ComparatorScheme
from loadstone.compat.versions.encoding import number, text
from loadstone.compat.versions.guess import channel_of, line_of

_COMMA_LIST = re.compile(r"(?<![0-9])[0-9]++, [0-9]++, [0-9]++, [0-9]")
_SEPARATOR = re.compile(r"[- :_]")
_RELEASE_SPLIT = re.compile(r"[.,]")
_PRERELEASE_SPLIT = re.compile(r"[-. :_]")
_LEADING_DIGITS = re.compile(r"([0-9]*+)(.*)", re.DOTALL)

_END, _NUMBER, _TEXT = (bytes((n,)) for n in range(3))
_RELEASE = b"\xff"
_PRERELEASE = b"\x01"


class LootScheme(ComparatorScheme):
    """Release identifiers padded with zeros, then pre-release identifiers; case and `+metadata` mean nothing.

    A release identifier that starts with digits orders by them and then by its rest, and before any other text.
    LOOT compares two texts as texts but either with a number by its digits, which is no order (10 > 9a > 10a > 10).
    """

    name = "loot"

    def _key(self, raw: str) -> SortKey:
        release, pre = _split(raw)
        identifiers = [_encode_release(part) for part in _RELEASE_SPLIT.split(release.lower())]
        while identifiers and identifiers[-1] == _ZERO:
            identifiers.pop()
        key = b"".join(identifiers) + _END
        if not pre:
            return SortKey(key + _RELEASE)
        parts = _PRERELEASE_SPLIT.split(pre.lower())
        if not parts[-1]:
            parts.pop()
        return SortKey(key + _PRERELEASE + b"".join(_encode_prerelease(part) for part in parts) + _END)

    def _version(self, raw: str) -> Version:
        return Version(raw, self.name, self.key(raw), 0, channel_of(raw), line_of(raw))


def _split(raw: str) -> tuple[str, str]:
    version = raw.partition("+")[0] if raw else "0"
    if _COMMA_LIST.search(version):  # "0, 2, 0, 12", as OBSE and SKSE write it
        return version, ""
    separator = _SEPARATOR.search(version)
    if separator is None or separator.end() == len(version):
        return version, ""
    return version[: separator.start()], version[separator.end() :]


def _is_number(part: str) -> bool:
    return part.isascii() and part.isdigit()


def _encode_release(part: str) -> bytes:
    trimmed = part.strip()
    digits, rest = _LEADING_DIGITS.fullmatch(trimmed if _is_number(trimmed) else part).groups()  # type: ignore[union-attr]
    if digits:
        return _NUMBER + number(digits) + text(rest)
    return _TEXT + text(rest)


def _encode_prerelease(part: str) -> bytes:
    trimmed = part.strip()
    return _NUMBER + number(trimmed) if _is_number(trimmed) else _TEXT + text(part)


_ZERO = _encode_release("0")
