"""What the gate says about an archive: limits, profile, entries, reasons and facts.

Everything here crosses the border between the jail and its parent as MessagePack, so every field is bounded
or checked again on the trusted side.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

MIB = 1024 * 1024
GIB = 1024 * MIB

Nesting = Literal["list", "refuse", "inspect"]
Executables = Literal["allow", "warn", "refuse"]
DependencyKind = Literal[
    "requires", "recommends", "conflicts", "discouraged", "after", "before", "embeds", "works_with"
]
Side = Literal["", "client", "server", "both"]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Caps on what one archive may cost. Sizes in bytes, times in seconds.

    The CPU and wall allowances grow with the packed size, so that a 10 GiB upload can be read at all while a
    small hostile file never gets more than the base.
    """

    max_entries: int = 150_000
    max_total_bytes: int = 64 * GIB
    max_entry_bytes: int = 32 * GIB
    max_ratio: int = 200
    """Unpacked bytes allowed for one packed byte, once more than `ratio_floor_bytes` come out."""
    ratio_floor_bytes: int = 32 * MIB
    max_depth: int = 3
    """How many archives deep the gate looks: 1 is the upload alone."""
    max_path_bytes: int = 512
    max_path_depth: int = 32
    max_nested_bytes: int = 64 * MIB
    """A packed archive inside an archive is unpacked in memory to be read; above this it is refused."""
    cpu_seconds: int = 8
    cpu_seconds_per_gib: int = 60
    wall_seconds: int = 30
    wall_seconds_per_gib: int = 240
    memory_bytes: int = 256 * MIB

    def cpu_allowance(self, packed: int) -> int:
        """CPU seconds for a file of this many bytes."""
        return self.cpu_seconds + packed * self.cpu_seconds_per_gib // GIB

    def wall_allowance(self, packed: int) -> int:
        """Seconds on the clock for a file of this many bytes."""
        return self.wall_seconds + packed * self.wall_seconds_per_gib // GIB


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one game expects of an archive. Globs are matched without regard to case; `*` crosses no slash,
    `**` does.
    """

    name: str = "any"
    nested: Nesting = "inspect"
    executables: Executables = "warn"
    executables_expected: tuple[str, ...] = ()
    """Where programs and libraries are normal (`BepInEx/plugins/**`, `SKSE/Plugins/*.dll`)."""
    expected_paths: tuple[str, ...] = ()
    """Paths of which at least one is normally there; their absence is a warning, never a refusal."""
    refused_paths: tuple[str, ...] = ()
    """Paths that no mod of this game may carry (the game's own files, for example)."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One file inside an archive."""

    path: str
    """Canonical: NFC, forward slashes, relative, no `.` or `..`."""
    size: Annotated[int, msgspec.Meta(ge=0)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    type: str
    """By content, never by name: `text`, `png`, `pe`, `plugin`, `zip` …; `data` when unknown, `empty` for 0
    bytes.
    """
    executable: bool = False
    """Whether the archive carries the Unix execute bit for it."""


class Reason(msgspec.Struct, frozen=True):
    """Why an archive was refused, or what deserves a look in one that was not."""

    code: str
    """Stable kebab-case, listed in docs/safety.md."""
    detail: str
    """One sentence for the person who made the archive."""


class Dependency(msgspec.Struct, frozen=True, omit_defaults=True):
    """A relation that a manifest inside the archive declares to another mod."""

    id: str
    kind: DependencyKind = "requires"
    versions: str = ""
    """As written, in the ecosystem's own syntax; empty means any."""
    side: Side = ""


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one manifest (or one game plugin) inside the archive says."""

    extractor: str
    path: str
    id: str = ""
    name: str = ""
    version: str = ""
    authors: tuple[str, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    provides: tuple[str, ...] = ()
    """Ids that others may depend on: plugin file names, mod ids, assemblies."""
    loaders: tuple[str, ...] = ()
    game_builds: tuple[str, ...] = ()
    """Game versions or ranges, as written."""
    side: Side = ""
    warnings: tuple[str, ...] = ()
    data: dict[str, object] = {}
    """What only this ecosystem has (flags of a plugin, the FOMOD installer tree)."""


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that the archive tells about itself."""

    manifests: tuple[Manifest, ...] = ()
    executables: tuple[str, ...] = ()
    nested: tuple[str, ...] = ()
    types: dict[str, int] = {}
    """How many entries of each type."""
    entries: int = 0
    directories: int = 0
    packed_bytes: int = 0
    unpacked_bytes: int = 0
    comment: str = ""


class Inspection(msgspec.Struct, frozen=True):
    """The gate's answer. Only `accept` opens it."""

    verdict: Literal["accept", "refuse"]
    reasons: tuple[Reason, ...] = ()
    format: str = ""
    """`zip`, `7z`, `rar`, `tar`, `tar.gz`, `tar.bz2`, `tar.xz`, `tar.zst`; empty when unknown."""
    entries: tuple[Entry, ...] = ()
    """Files only, sorted by path; empty when refused."""
    facts: Facts = Facts()
    warnings: tuple[Reason, ...] = ()
    cpu_ms: int = 0
    peak_mb: float = 0.0

    @property
    def accepted(self) -> bool:
        return self.verdict == "accept"


class RefusedError(Exception):
    """The archive breaks a law of the gate. Carries the stable code and the sentence for its maker."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail

    @property
    def reason(self) -> Reason:
        return Reason(self.code, self.detail)
