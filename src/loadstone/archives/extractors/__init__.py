"""Readers of what archives say about themselves. To add one: a new file here, and its name in `ALL`."""

from loadstone.archives.extractors.registry import Extractor

ALL: tuple[Extractor, ...] = ()
