"""An index that is brought up to date when a test says so."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx

from loadstone.discovery.following import Follower
from loadstone.kernel.platform import Platform


@contextlib.asynccontextmanager
async def following(platform: Platform) -> AsyncIterator[Follower]:
    """A follower that gives the index back at the end, whatever happened."""
    follower = Follower(platform.config.data)
    try:
        yield follower
    finally:
        await follower.close()


async def catch_up(platform: Platform, follower: Follower | None = None) -> int:
    """Bring the index up to the event log; the number of events applied."""
    if follower is None:
        async with following(platform) as own:
            return await catch_up(platform, own)
    done = 0
    while applied := await follower.step(platform):
        done += applied
    return done


async def find(client: httpx.AsyncClient, q: str = "", **parameters: Any) -> dict[str, Any]:
    answer = await client.get("/api/v1/search", params={"q": q} | parameters)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def names(client: httpx.AsyncClient, q: str = "", **parameters: Any) -> list[str]:
    return [item["name"] for item in (await find(client, q, **parameters))["items"]]
