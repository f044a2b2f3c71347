"""SMAPI's SemanticVersion for Stardew Valley (github.com/Pathoschild/SMAPI, StardewModdingAPI.Toolkit)."""

import re

from loadstone.compat.ranges import SortKey
from loadstone.compat.versions.base import Version
from loadstone.compat.versions.comparing import ComparatorScheme
from loadstone.compat.versions.encoding import number, text
from loadstone.compat.versions.guess import line, prerelease_channel

_NUMBER = r"(0|[1-9][0-9]*+)"
_TAG = r"((?:[0-9A-Za-z]++[-.]?+)++)"
_VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}(?:\.{_NUMBER}(?:\.{_NUMBER})?)?(?:-{_TAG})?(?:\+{_TAG})?")
_LARGEST = "2147483647"
_RELEASE = b"\xff"
_PRERELEASE = b"\x01"
_END, _UNOFFICIAL, _EMPTY, _NUMERIC, _TEXT = (bytes((n,)) for n in range(5))


class SmapiScheme(ComparatorScheme):
    """SemVer with two or three numbers, hyphens that mean dots, "unofficial" before any other pre-release.

    A mod's version has no fourth number; the game's own on ported platforms may. So `parse` refuses it unless
    the scheme was made with `platform_release`, while `key` and ranges order it, as SMAPI's comparisons do.

    SMAPI compares two pre-release parts that differ in case only as equal and then stops, and a number with a
    text as texts, which is no order ("2" < "10" < "1a" < "2"). Here parts that differ in case only are the
    same, and numbers come before texts, as in SemVer.
    """

    name = "smapi"
    bare_operator = ">="  # a manifest's MinimumVersion

    def __init__(self, *, platform_release: bool = False) -> None:
        super().__init__()
        self._platform_release = platform_release

    def _key(self, raw: str) -> SortKey:
        numbers, pre = self._parts(raw)
        return _encode(numbers, pre)

    def _version(self, raw: str) -> Version:
        numbers, pre = self._parts(raw)
        if numbers[3] and not self._platform_release:
            raise self._invalid(raw, "a fourth number is only for the game's own versions; use up to three")
        return Version(raw, self.name, _encode(numbers, pre), 0, prerelease_channel(pre), line(*numbers[:2]))

    def normalized(self, raw: str) -> str:
        """`raw` as SMAPI prints it: three numbers, a fourth where it is not zero. Raises InvalidVersion."""
        version = self.parse(raw)
        found = self._match(version.raw)
        numbers = ".".join((found[1], found[2], found[3] or "0"))
        fourth = f".{found[4]}" if found[4] and found[4] != "0" else ""
        tags = (f"-{found[5]}" if found[5] else "") + (f"+{found[6]}" if found[6] else "")
        return numbers + fourth + tags

    def _match(self, raw: str) -> re.Match[str]:
        found = _VERSION.fullmatch(raw.strip())
        if found is None:
            raise self._invalid(raw, _reason(raw.strip()))
        return found

    def _parts(self, raw: str) -> tuple[tuple[str, str, str, str], str | None]:
        found = self._match(raw)
        numbers = (found[1], found[2], found[3] or "0", found[4] or "")
        if any(len(n) > len(_LARGEST) or (len(n) == len(_LARGEST) and n > _LARGEST) for n in numbers):
            raise self._invalid(raw, f"a number is larger than {_LARGEST}")
        if numbers[:3] == ("0", "0", "0"):
            raise self._invalid(raw, "at least one of the first three numbers must be more than zero")
        return numbers, found[5]


def _encode(numbers: tuple[str, str, str, str], pre: str | None) -> SortKey:
    release = b"".join(number(digits) for digits in numbers)
    if pre is None:
        return SortKey(release + _RELEASE)
    parts = re.split(r"[-.]", pre.upper())
    return SortKey(release + _PRERELEASE + b"".join(_encode_part(part) for part in parts) + _END)


def _encode_part(part: str) -> bytes:
    if not part:
        return _EMPTY
    if part == "UNOFFICIAL":
        return _UNOFFICIAL
    return _NUMERIC + number(part) if part.isdigit() else _TEXT + text(part)


def _reason(raw: str) -> str:
    if not raw:
        return "it is empty; write two or three numbers such as 1.0.0"
    if re.match(r"(?:[0-9]++\.){0,3}0[0-9]", raw):
        return "a number has a leading zero"
    if not re.match(r"[0-9]++\.[0-9]++(?:\.[0-9]++){0,2}(?![0-9.])", raw):
        return "it must start with two or three numbers such as 1.0.0"
    return "after the numbers only -tag and +build may follow: letters and digits between single dots or hyphens"
