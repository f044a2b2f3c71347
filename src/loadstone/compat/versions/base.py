"""What every version scheme has in common: errors, the parsed version, caching, bounds on input."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import msgspec

from loadstone.compat.ranges import InvalidRange, Range, SortKey
from loadstone.compat.ranges.errors import shown

Channel = Literal["release", "beta", "alpha"]

CACHED_LENGTH = 128
"""Longer texts are not remembered, so that a flood of huge strings cannot fill the caches."""

MAX_RANGE_LENGTH = 2048
"""Characters that a range may have; a longer one is a mistake or an attack."""


class InvalidVersion(ValueError):  # noqa: N818 - the name says what is wrong, as in packaging.version
    """The text is not a version of its scheme."""

    code = "invalid_version"
    status = 422

    def __init__(self, raw: str, scheme: str, reason: str) -> None:
        super().__init__(f"{shown(raw)} is not a {scheme} version: {reason}")
        self.raw = raw
        self.scheme = scheme
        self.reason = reason


class UnknownScheme(ValueError):  # noqa: N818
    """There is no version scheme of that name."""

    code = "unknown_version_scheme"
    status = 422

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"There is no version scheme {shown(name)}. Choose one of: {', '.join(known)}.")
        self.name = name


class Version(msgspec.Struct, frozen=True):
    """A version as its author wrote it, and its place in the order of its scheme.

    `epoch`, `channel` and `line` are what the text itself suggests; a publisher may state others beside it.
    `line` names the branch that a back-port would belong to ("1.8" for 1.8.1.52), "" without any number.
    """

    raw: str
    scheme: str
    key: SortKey
    epoch: int = 0
    channel: Channel = "release"
    line: str = ""

    def __lt__(self, other: "Version") -> bool:
        return self.key < self._comparable(other)

    def __le__(self, other: "Version") -> bool:
        return self.key <= self._comparable(other)

    def __gt__(self, other: "Version") -> bool:
        return self.key > self._comparable(other)

    def __ge__(self, other: "Version") -> bool:
        return self.key >= self._comparable(other)

    def same_place_as(self, other: "Version") -> bool:
        """Whether neither is newer; `==` asks for the same text as well."""
        return self.key == self._comparable(other)

    def _comparable(self, other: "Version") -> SortKey:
        if self.scheme != other.scheme:
            msg = f"a {self.scheme} version and a {other.scheme} version have no common order"
            raise TypeError(msg)
        return other.key


class BaseScheme(ABC):
    """One way to read and order version texts.

    The order is total over all texts that `key` accepts; texts with equal keys are one version to the scheme.
    """

    name: str

    def __init__(self) -> None:
        self._cached_key = lru_cache(maxsize=65_536)(self._key)
        self._cached_version = lru_cache(maxsize=16_384)(self._version)
        self._cached_range = lru_cache(maxsize=16_384)(self._range)

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        """A scheme is pickled by its name: snapshots and other processes get the one of theirs."""
        from loadstone.compat.versions import scheme

        return scheme, (self.name,)

    def parse(self, raw: str) -> Version:
        """The version that `raw` names. Raises InvalidVersion."""
        return self._cached_version(raw) if len(raw) <= CACHED_LENGTH else self._version(raw)

    def key(self, raw: str) -> SortKey:
        """The place of `raw` in the order. Raises InvalidVersion where the text cannot be ordered."""
        return self._cached_key(raw) if len(raw) <= CACHED_LENGTH else self._key(raw)

    def sort_bytes(self, raw: str) -> bytes:
        """The key as stored in a database column or snapshot: byte order is version order."""
        return self.key(raw)

    def compare(self, a: str, b: str) -> int:
        """-1, 0 or 1: whether `a` is older than, the same as or newer than `b`."""
        left, right = self.key(a), self.key(b)
        return (left > right) - (left < right)

    def parse_range(self, text: str) -> Range:
        """The set of versions that `text` describes in this scheme's own syntax.

        `*` is any version and `none` is no version in every scheme. Raises InvalidRange.
        """
        if len(text) > MAX_RANGE_LENGTH:
            reason = f"it has {len(text)} characters, at most {MAX_RANGE_LENGTH} are allowed"
            raise InvalidRange(text, self.name, reason)
        return self._cached_range(text) if len(text) <= CACHED_LENGTH else self._range(text)

    @abstractmethod
    def format_range(self, r: Range) -> str:
        """`r` in this scheme's own syntax, such that parse_range gives the same set back."""

    @abstractmethod
    def _key(self, raw: str) -> SortKey: ...

    @abstractmethod
    def _version(self, raw: str) -> Version: ...

    @abstractmethod
    def _parse_range(self, text: str) -> Range: ...

    def _range(self, text: str) -> Range:
        stripped = text.strip()
        if stripped == "*":
            return Range.any()
        if stripped == "none":
            return Range.none()
        try:
            return self._parse_range(stripped)
        except InvalidVersion as error:
            raise InvalidRange(text, self.name, str(error)) from error

    def _invalid(self, raw: str, reason: str) -> InvalidVersion:
        return InvalidVersion(raw, self.name, reason)

    def _invalid_range(self, text: str, reason: str) -> InvalidRange:
        return InvalidRange(text, self.name, reason)
