"""The registry of extractors: path pattern → bounded parser → facts. Each ecosystem is one file beside this
one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache

import msgspec

from loadstone.archives.model import Manifest

MAX_BYTES = 8 * 1024 * 1024
"""The most that any parser is given."""
MAX_MILLISECONDS = 50


class ExtractionError(Exception):
    """The manifest cannot be read. Its sentence becomes a warning for the creator, never a refusal."""


class Extractor(msgspec.Struct, frozen=True):
    """One kind of manifest.

    `pattern` is matched (full match, without regard to case) against the canonical path; `bytes_needed` first
    bytes of the file are given to `read(path, data)`, which returns manifests or raises ExtractionError. With
    `whole`, a longer file is a warning and is not parsed.
    """

    name: str
    pattern: str
    bytes_needed: int
    read: Callable[[str, bytes], Iterable[Manifest]]
    whole: bool = True


class Registry:
    """Extractors by name; a second one of the same name is refused when the program starts."""

    def __init__(self, extractors: Iterable[Extractor]) -> None:
        self.extractors: tuple[Extractor, ...] = tuple(extractors)
        names = [extractor.name for extractor in self.extractors]
        if len(set(names)) != len(names):
            raise ValueError("Two extractors have the same name.")
        if any(extractor.bytes_needed > MAX_BYTES for extractor in self.extractors):
            raise ValueError(f"An extractor wants more than {MAX_BYTES} bytes.")
        self._patterns = [
            (re.compile(f"(?:{extractor.pattern})\\Z", re.IGNORECASE), extractor) for extractor in self.extractors
        ]
        # One search rejects the great majority of paths, which no extractor wants.
        self._any = re.compile("|".join(f"(?:{e.pattern})\\Z" for e in self.extractors) or r"(?!)", re.IGNORECASE)

    def wanting(self, path: str) -> list[Extractor]:
        """The extractors for a canonical path, in the order of registration."""
        if not self._any.match(path):
            return []
        return [extractor for pattern, extractor in self._patterns if pattern.match(path)]


@cache
def default_registry() -> Registry:
    """All extractors that ship."""
    from loadstone.archives import extractors

    return Registry(extractors.ALL)
