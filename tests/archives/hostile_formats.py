"""Hostile tar, 7z and rar archives."""

from __future__ import annotations

from collections.abc import Iterator

from tests.archives.hostile import Case


def cases() -> Iterator[Case]:
    return iter(())
