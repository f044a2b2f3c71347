"""Runs one extractor as the gate does: by path, with its cap on bytes and its clock."""

from __future__ import annotations

from loadstone.archives.extractors.registry import default_registry
from loadstone.archives.gate import run_extractor
from loadstone.archives.model import Manifest


def read(path: str, data: bytes | str) -> list[Manifest]:
    """All that the registry finds in a file of this path."""
    raw = data.encode() if isinstance(data, str) else data
    found: list[Manifest] = []
    for extractor in default_registry().wanting(path):
        found += run_extractor(extractor, path, raw[: extractor.bytes_needed])
    return found


def relations(manifest: Manifest) -> set[tuple[str, str, str]]:
    return {(item.kind, item.id, item.versions) for item in manifest.dependencies}
