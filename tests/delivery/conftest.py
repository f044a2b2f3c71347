"""What the tests of delivery share."""

from typing import Any

import pytest_asyncio

from loadstone.kernel.platform import Platform
from tests.conftest import MakePerson
from tests.delivery.releases import Published, publish
from tests.factories import make_game, make_mod
from tests.s3 import s3_config, s3_server

__all__ = ["s3_config", "s3_server"]


@pytest_asyncio.fixture
async def mod(person: MakePerson) -> dict[str, Any]:
    """A published mod of the member ada, in the game of the admin boss."""
    await make_game(await person("boss", roles=("admin",)))
    return await make_mod(await person("ada"))


@pytest_asyncio.fixture
async def release(platform: Platform, mod: dict[str, Any]) -> Published:
    """Its first release, with a file in the local store."""
    return await publish(platform, mod)
