"""Readers of what archives say about themselves. To add one: a new file here, and its name in `ALL`."""

from loadstone.archives.extractors import (
    bethesda,
    dotnet,
    fabric,
    factorio,
    fomod,
    forge,
    ksp,
    quilt,
    rimworld,
    smapi,
    thunderstore,
)
from loadstone.archives.extractors.registry import Extractor

ALL: tuple[Extractor, ...] = (
    bethesda.EXTRACTOR,
    smapi.EXTRACTOR,
    thunderstore.EXTRACTOR,
    fabric.EXTRACTOR,
    quilt.EXTRACTOR,
    *forge.EXTRACTORS,
    factorio.EXTRACTOR,
    rimworld.EXTRACTOR,
    *ksp.EXTRACTORS,
    *fomod.EXTRACTORS,
    dotnet.EXTRACTOR,
)
