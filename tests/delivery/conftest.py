"""What the tests of delivery share."""

from typing import Any

import msgspec
import pytest_asyncio

from loadstone.catalog import authoring
from loadstone.catalog.models import NewGame, NewMod
from loadstone.identity.models import Actor
from loadstone.kernel.platform import Platform
from tests.delivery.releases import Published, publish
from tests.s3 import s3_config, s3_server

__all__ = ["s3_config", "s3_server"]


@pytest_asyncio.fixture
async def author(platform: Platform) -> Actor:
    """A member who never logs in: hashing a password would take longer than the test."""
    id_ = platform.ids.new()
    async with platform.transaction() as tx:
        await tx.execute(
            "insert into members (id, name, name_key, email, email_key, password)"
            " values ($1, 'author', 'author', 'a@example.org', 'a@example.org', '')",
            id_,
        )
    return Actor(id_, "author", frozenset({"admin"}))


@pytest_asyncio.fixture
async def mod(platform: Platform, author: Actor) -> dict[str, Any]:
    """A published mod of the author."""
    await authoring.add_game(platform, author, NewGame(slug="starfall", name="Starfall"))
    made = await authoring.make_mod(platform, author, "starfall", NewMod(name="Sharper Swords", visibility="published"))
    return dict(msgspec.to_builtins(made))


@pytest_asyncio.fixture
async def release(platform: Platform, mod: dict[str, Any]) -> Published:
    """Its first release, with a file in the local store."""
    return await publish(platform, mod)
