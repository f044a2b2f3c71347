"""Factorio's mod versions (lua-api.factorio.com, "Mod structure"): three numbers from 0 to 65535."""

import re

from loadstone.compat.ranges import SortKey
from loadstone.compat.versions.base import Version
from loadstone.compat.versions.comparing import ComparatorScheme
from loadstone.compat.versions.guess import line

_VERSION = re.compile(r"([0-9]+)\.([0-9]+)(?:\.([0-9]+))?")
_LARGEST = 65_535


class FactorioScheme(ComparatorScheme):
    """Three numbers, compared in turn; leading zeros mean nothing.

    Two numbers ("1.1") name a game line and stand for the first of it: in game versions and in dependencies.
    """

    name = "factorio"

    def _key(self, raw: str) -> SortKey:
        return SortKey(b"".join(n.to_bytes(2, "big") for n in self._numbers(raw)))

    def _version(self, raw: str) -> Version:
        major, minor, _ = self._numbers(raw)
        return Version(raw, self.name, self._key(raw), 0, "release", line(str(major), str(minor)))

    def _numbers(self, raw: str) -> tuple[int, int, int]:
        found = _VERSION.fullmatch(raw)
        if found is None:
            raise self._invalid(raw, "it must be three numbers between dots such as 1.0.0")
        major, minor, patch = (self._number(raw, digits or "0") for digits in found.groups())
        return major, minor, patch

    def _number(self, raw: str, digits: str) -> int:
        significant = digits.lstrip("0") or "0"
        if len(significant) > len(str(_LARGEST)) or int(significant) > _LARGEST:
            raise self._invalid(raw, f"each number must be at most {_LARGEST}")
        return int(significant)
