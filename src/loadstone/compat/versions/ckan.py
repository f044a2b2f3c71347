"""CKAN's version ordering (github.com/KSP-CKAN/CKAN, Spec.md, "Version ordering")."""

import re

from loadstone.compat.ranges import SortKey
from loadstone.compat.versions.base import Version
from loadstone.compat.versions.comparing import ComparatorScheme
from loadstone.compat.versions.encoding import number, text
from loadstone.compat.versions.guess import channel_of, line_of

_EPOCH = re.compile(r"([0-9]+):(.*)", re.DOTALL)
_TURN = re.compile(r"([^0-9]*+)([0-9]*+)")
_LARGEST_EPOCH_DIGITS = 9

_END, _NO_TEXT, _TEXT, _DOT_TEXT, _DOT = (bytes((n,)) for n in range(5))


class CkanScheme(ComparatorScheme):
    """An epoch; then a text part by code point, a number part by value, and so on; what ends first is older.

    A text that starts with a dot is newer than any other and a lone dot is newest, so that 1.0_beta < 1.0.1
    and 1.0.repackaged < 1.0.1. A missing number is zero. CKAN itself holds any two longer texts that start
    with a dot for equal, and numbers above 2147483647 for zero; here they have their order.
    """

    name = "ckan"

    def _key(self, raw: str) -> SortKey:
        epoch, version = self._epoch(raw)
        return SortKey(number(epoch) + b"".join(_turns(version)) + _END)

    def _version(self, raw: str) -> Version:
        epoch, version = self._epoch(raw)
        return Version(raw, self.name, self.key(raw), int(epoch), channel_of(version), line_of(version))

    def _epoch(self, raw: str) -> tuple[str, str]:
        if not raw:
            raise self._invalid(raw, "it is empty; write any text such as 1.0")
        found = _EPOCH.fullmatch(raw)
        if found is None:
            return "0", raw
        epoch = found[1].lstrip("0") or "0"
        if len(epoch) > _LARGEST_EPOCH_DIGITS:
            raise self._invalid(raw, f"the epoch before the colon has more than {_LARGEST_EPOCH_DIGITS} digits")
        return epoch, found[2]


def _turns(version: str) -> list[bytes]:
    return [_encode_text(turn[1]) + number(turn[2]) for turn in _TURN.finditer(version) if turn.end() > turn.start()]


def _encode_text(part: str) -> bytes:
    if not part:
        return _NO_TEXT
    if part == ".":
        return _DOT
    return (_DOT_TEXT if part[0] == "." else _TEXT) + text(part)
