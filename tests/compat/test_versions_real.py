"""The hybrid order on the releases that mod authors really made."""

import io
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import zstandard

from loadstone.compat.versions import scheme


class Released(NamedTuple):
    released: datetime
    indexed: datetime
    version: str
    epoch: str
    newest_build: tuple[int, ...]


Pairs = list[tuple[Released, Released]]


@pytest.fixture(scope="session")
def pairs(data_sets: Path) -> Pairs:
    """Each two consecutive releases of a mod.

    The author's date is the truth. The date of indexing is not: years of old releases were indexed in bulk, newest
    first; it only settles ties. So a release without an author's date takes no part.
    """
    by_mod: dict[str, list[Released]] = defaultdict(list)
    with (data_sets / "ckan.jsonl.zst").open("rb") as packed:
        for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(packed), encoding="utf-8"):
            row = json.loads(line)
            if "released" in row and row.get("kind") != "dlc":
                by_mod[row["id"]].append(released(row))
    return [pair for releases in by_mod.values() for pair in consecutive(releases)]


def released(row: dict[str, Any]) -> Released:
    head, colon, tail = row["version"].partition(":")
    epoch, version = (head, tail) if colon and head.isdigit() else ("0", row["version"])
    moment = datetime.fromisoformat(row["released"])
    newest = tuple(int(n) for n in re.findall("[0-9]+", row.get("game_max", "")))
    indexed = datetime.fromisoformat(row.get("indexed", row["released"]))
    return Released(moment, indexed, version, epoch, newest or (99,))


def consecutive(releases: list[Released]) -> Iterator[tuple[Released, Released]]:
    ordered = sorted(releases, key=lambda release: release[:2])
    return pairwise(ordered)


def share_reversed(pairs: Pairs, counts: Callable[[Released, Released], bool] = lambda a, b: True) -> float:
    key = scheme("hybrid").key
    counted = [(a, b) for a, b in pairs if counts(a, b)]
    return sum(key(a.version) > key(b.version) for a, b in counted) / len(counted)


def is_back_port(a: Released, b: Released) -> bool:
    """The later release is for an older build of the game: the earlier one is rightly the newer version."""
    shared = min(len(a.newest_build), len(b.newest_build))
    return b.newest_build[:shared] < a.newest_build[:shared]


def test_at_most_13_in_1000_real_pairs_are_reversed_without_epochs(
    pairs: Pairs, capsys: pytest.CaptureFixture[str]
) -> None:
    everything = share_reversed(pairs)
    same_epoch = share_reversed(pairs, lambda a, b: a.epoch == b.epoch)
    forward = share_reversed(pairs, lambda a, b: not is_back_port(a, b))
    with capsys.disabled():
        print(
            f"\nhybrid, {len(pairs)} consecutive releases: {everything:.2%} reversed; "
            f"{forward:.2%} without back-ports to older game builds; {same_epoch:.2%} within curated epochs"
        )
    assert forward <= 0.013
    assert same_epoch <= 0.013
    assert everything <= 0.018


def test_every_real_version_and_its_key_survive_storage(pairs: Pairs) -> None:
    versions = {release.version for pair in pairs for release in pair}
    order = scheme("hybrid")
    stored = {version: bytes(order.sort_bytes(version)) for version in versions}
    by_key = sorted(versions, key=order.key)
    assert [stored[version] for version in by_key] == sorted(stored.values())
    assert max(map(len, stored.values())) < 200
