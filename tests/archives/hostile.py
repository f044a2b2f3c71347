"""Hostile archives, made and never stored: each a named case with the code by which the gate must refuse it.

Deterministic: the same bytes in every run and on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One archive that must be refused. `codes` are the acceptable reasons; one of them must be the first
    given.
    """

    name: str
    file: str
    make: Callable[[], bytes]
    codes: frozenset[str]


def case(name: str, data: bytes | Callable[[], bytes], *codes: str, file: str = "upload.zip") -> Case:
    """A case from its bytes, or from what makes them where that takes long."""
    make = data if callable(data) else lambda: data
    return Case(name, file, make, frozenset(codes))


def all_cases() -> Iterator[Case]:
    """Every hostile archive of every family, names unique."""
    from tests.archives import hostile_bombs, hostile_formats, hostile_names, hostile_zip

    for family in (hostile_names, hostile_zip, hostile_bombs, hostile_formats):
        yield from family.cases()
