"""A short, seeded run of every fuzz target; `make fuzz-archives` runs longer ones."""

from __future__ import annotations

import random

import pytest

from tests.archives.fuzz import inputs, targets

TARGETS = targets()


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_input_never_breaks_a_reader(name: str) -> None:
    target, make_seeds = TARGETS[name]
    random_source = random.Random(f"loadstone-{name}")
    seeds = make_seeds()
    random_source.shuffle(seeds)
    for count, data in enumerate(inputs(seeds[:60], random_source)):
        if count == 300:
            break
        target(data)
