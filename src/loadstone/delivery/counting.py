"""The public counters: derived from the download log, batch by batch, and rebuilt from it (law 6)."""

from collections import Counter
from typing import Final

from loadstone.delivery import store
from loadstone.kernel.db import Row, Transaction
from loadstone.kernel.platform import Platform

BATCH: Final = 2000
"""Rows of the log in one transaction; keeps it well under the 200 ms that bulk work may take."""
_RECOUNTED: Final = 200


async def roll_up(platform: Platform, *, limit: int = BATCH) -> int:
    """Add the next rows of the log to the counters and move the cursor, in one transaction.

    Killed anywhere, it has either done both or neither. Returns the number of rows; 0 when there are none
    or another process is at it.
    """
    await store.prepare_cursor(platform.db)
    async with platform.transaction() as tx:
        cursor = await store.lock_cursor(tx, wait=False)
        if cursor is None:
            return 0
        rows = await store.grants_after(tx, cursor, limit)
        if not rows:
            return 0
        await _add(tx, rows)
        await store.move_cursor(tx, rows[-1])
        return len(rows)


async def rebuild_counters(platform: Platform) -> int:
    """Set every counter to what the log says up to the cursor, a few hundred mods in a transaction.

    The rollup may go on between the transactions. Returns how many counters were wrong.
    """
    await store.prepare_cursor(platform.db)
    wrong = 0
    after = -1
    while True:
        async with platform.transaction() as tx:
            cursor = await store.lock_cursor(tx, wait=True)
            assert cursor is not None
            mods = await store.mods_after(tx, after, _RECOUNTED)
            if not mods:
                return wrong
            wrong += await store.recount_mods(tx, mods, cursor)
            wrong += await store.recount_releases(tx, mods, cursor)
            after = mods[-1]


def bucket(downloads: int) -> int:
    """The size class of a counter: its three leading binary digits (…, 8, 10, 12, 14, 16, 20, 24, …).

    Search ranks by it, so it need hear of a mod only when this changes: some hundred times on the way
    to a billion downloads.
    """
    spare = max(0, downloads.bit_length() - 3)
    return downloads >> spare << spare


async def _add(tx: Transaction, rows: list[Row]) -> None:
    await store.add_to_releases(tx, Counter(r["release_id"] for r in rows))
    added = Counter(r["mod_id"] for r in rows)
    for row in await store.add_to_mods(tx, added):
        now = row["downloads"]
        if bucket(now) != bucket(now - added[row["mod_id"]]):
            await tx.emit(
                "mod.downloads_counted", subject=row["mod_id"], game=row["game_id"],
                data={"downloads": now}, tags=[f"mod:{row['mod_id']}"],
            )  # fmt: skip
