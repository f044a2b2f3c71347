"""kill -9 at any step leaves the old or the new state: ``crash_install`` in a short form."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.crash_install import Scene, kill_once, make_scenes
from tests.client.shop import Shop, open_shop

Stage = tuple[Shop, Path, list[Scene]]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    work = tmp_path_factory.mktemp("crash")
    with open_shop() as shop:
        yield shop, work, make_scenes(shop, work)


@pytest.mark.parametrize("number", range(36))
def test_a_killed_client_leaves_the_old_or_the_new_state(stage: Stage, number: int) -> None:
    shop, work, scenes = stage
    death = kill_once(shop, work, scenes[number % len(scenes)], random.Random(1000 + number), number)
    assert death.left in {"old", "new"}, death
