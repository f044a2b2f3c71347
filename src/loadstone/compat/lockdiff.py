"""What changed between two lockfiles, and which changelogs to read."""

from enum import StrEnum

import msgspec

from loadstone.compat.lockfile import LockedEntry, LockedLoader, Lockfile, LockfileError
from loadstone.compat.ranges import NeutralInterval
from loadstone.compat.versions import InvalidVersion, Scheme, scheme


class Direction(StrEnum):
    """Which way a version moved."""

    UP = "up"
    DOWN = "down"
    SAME = "same"
    UNKNOWN = "unknown"


class ChangedEntry(msgspec.Struct, frozen=True):
    """A chain that both lockfiles hold in different ways.

    `changelogs` are the releases whose changelogs, merged, tell the difference: those after the older version up
    to and including the newer, whichever way it went. None when the version did not move or has no order.
    """

    mod: str
    chain: str
    before: LockedEntry
    after: LockedEntry
    direction: Direction
    changelogs: NeutralInterval | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the fields that differ."""
        return tuple(
            name for name in LockedEntry.__struct_fields__ if getattr(self.before, name) != getattr(self.after, name)
        )


class LockfileDiff(msgspec.Struct, frozen=True):
    """Entries are sorted by mod and chain. A pair is (before, after) and None where nothing changed."""

    added: tuple[LockedEntry, ...]
    removed: tuple[LockedEntry, ...]
    changed: tuple[ChangedEntry, ...]
    unchanged: int
    game_build: tuple[str, str] | None = None
    loader: tuple[LockedLoader | None, LockedLoader | None] | None = None
    load_order_changed: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether both lockfiles are the same plan."""
        beside = self.game_build or self.loader or self.load_order_changed
        return not (self.added or self.removed or self.changed or beside)


def diff(before: Lockfile, after: Lockfile) -> LockfileDiff:
    """What changed from `before` to `after`, two lockfiles of one game. Raises LockfileError for two games."""
    if (before.game, before.version_scheme) != (after.game, after.version_scheme):
        msg = f"A lockfile of {before.game} cannot be compared with one of {after.game}; choose two of one game."
        raise LockfileError(msg)
    order = scheme(after.version_scheme)
    old = {entry.chain: entry for entry in before.entries}
    new = {entry.chain: entry for entry in after.entries}
    changed = tuple(
        _changed(order, old[entry.chain], entry)
        for entry in after.entries
        if entry.chain in old and old[entry.chain] != entry
    )
    return LockfileDiff(
        added=tuple(entry for entry in after.entries if entry.chain not in old),
        removed=tuple(entry for entry in before.entries if entry.chain not in new),
        changed=changed,
        unchanged=len(old.keys() & new.keys()) - len(changed),
        game_build=None if before.game_build == after.game_build else (before.game_build, after.game_build),
        loader=None if before.loader == after.loader else (before.loader, after.loader),
        load_order_changed=_moved(before, after),
    )


def _changed(order: Scheme, before: LockedEntry, after: LockedEntry) -> ChangedEntry:
    direction = _direction(order, before.version, after.version)
    older, newer = (after.version, before.version) if direction is Direction.DOWN else (before.version, after.version)
    span = (
        NeutralInterval(low=older, low_inclusive=False, high=newer)
        if direction in {Direction.UP, Direction.DOWN}
        else None
    )
    return ChangedEntry(after.mod, after.chain, before, after, direction, span)


def _direction(order: Scheme, before: str, after: str) -> Direction:
    try:
        compared = order.compare(before, after)
    except InvalidVersion:
        return Direction.SAME if before == after else Direction.UNKNOWN
    return (Direction.DOWN, Direction.SAME, Direction.UP)[1 - compared]


def _moved(before: Lockfile, after: Lockfile) -> bool:
    """Whether the chains that both load come in another order."""
    both = set(before.load_order) & set(after.load_order)
    return [c for c in before.load_order if c in both] != [c for c in after.load_order if c in both]
