"""Background work of discovery: the one writer of this data folder's index."""

from pathlib import Path
from typing import Final

from loadstone.discovery.following import Follower
from loadstone.kernel.jobs import Loop
from loadstone.kernel.platform import Platform

_FOLLOWERS: Final[dict[Path, Follower]] = {}
"""A follower lives as long as its worker: the lock that makes it the only writer dies with the process."""


async def follow(platform: Platform) -> int:
    """Bring the index up to the event log; the number of events that were applied."""
    data = platform.config.data.absolute()
    follower = _FOLLOWERS.setdefault(data, Follower(data))
    return await follower.step(platform)


LOOPS: list[Loop] = [Loop("discovery.index", follow, every_seconds=2.0)]
