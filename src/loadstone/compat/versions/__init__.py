"""Version schemes: how each ecosystem reads and orders version texts.

A game chooses one scheme by name. Whoever stores or compares versions uses `Scheme.key`; whoever accepts one
from a person uses `Scheme.parse`, which also says why a text is refused.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from loadstone.compat.ranges import InvalidRange, Range, SortKey
from loadstone.compat.versions.base import Channel, InvalidVersion, UnknownScheme, Version
from loadstone.compat.versions.ckan import CkanScheme
from loadstone.compat.versions.fabric import FabricScheme
from loadstone.compat.versions.factorio import FactorioScheme
from loadstone.compat.versions.hybrid import HybridScheme
from loadstone.compat.versions.int64 import Int64Scheme
from loadstone.compat.versions.loot import LootScheme
from loadstone.compat.versions.maven import MavenScheme
from loadstone.compat.versions.semver import SemverScheme
from loadstone.compat.versions.smapi import SmapiScheme


class Scheme(Protocol):
    """What every scheme offers; `BaseScheme` documents each method."""

    name: str

    def parse(self, raw: str) -> Version: ...

    def key(self, raw: str) -> SortKey: ...

    def sort_bytes(self, raw: str) -> bytes: ...

    def compare(self, a: str, b: str) -> int: ...

    def parse_range(self, text: str) -> Range: ...

    def format_range(self, r: Range) -> str: ...


SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        found.name: found
        for found in (
            HybridScheme(),
            SemverScheme(),
            MavenScheme(),
            FabricScheme(),
            SmapiScheme(),
            FactorioScheme(),
            CkanScheme(),
            LootScheme(),
            Int64Scheme(),
        )
    }
)


def scheme(name: str) -> Scheme:
    """The scheme called `name`. Raises UnknownScheme."""
    found = SCHEMES.get(name)
    if found is None:
        raise UnknownScheme(name, tuple(SCHEMES))
    return found


__all__ = [
    "SCHEMES",
    "Channel",
    "InvalidRange",
    "InvalidVersion",
    "Range",
    "Scheme",
    "SortKey",
    "UnknownScheme",
    "Version",
    "scheme",
]
