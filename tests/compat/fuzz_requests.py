"""Solver against CaDiCaL and libsolv on requests to a real CKAN index.

`python -m tests.compat.fuzz_requests --count 2000`: on two game builds, sizes 1 to 300, drawn by
popularity, uniformly, and grown one by one so that they stay satisfiable. Checks verdicts and plans and
compares how far each solver's plans stay behind the newest. `LOADSTONE_TEST_DATA` names the data folder.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import zstandard

from loadstone.compat.catalogues.ckan import parse_row, read_catalogue
from loadstone.compat.solver import Request, Solved, Surroundings, Unsatisfiable, Wanted, solve, warm
from loadstone.compat.universe import Universe, build_universe
from loadstone.compat.versions import scheme
from tests.compat.oracles import SatOracle, SolvOracle
from tests.compat.plain_world import PlainWorld, ckan_world

GAMES = ("1.12.5", "1.8.1")
SIZES = (1, 1, 2, 3, 5, 10, 20, 30, 60, 100, 150, 300)


def data_folder() -> Path:
    given = os.environ.get("LOADSTONE_TEST_DATA")
    return Path(given) if given else Path(__file__).parents[3] / "shared" / "data"


@dataclass
class RealIndex:
    """The index as the solver sees it and as plain rows."""

    folder: Path

    @cached_property
    def lines(self) -> list[bytes]:
        with (self.folder / "ckan.jsonl.zst").open("rb") as packed:
            return list(io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(packed)))

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    @cached_property
    def universe(self) -> Universe:
        read = read_catalogue((parse_row(line) for line in self.lines), scheme("ckan"), popularity=self.downloads)
        return warm(build_universe(read.packages, read.claims, builds=read.builds, scheme=scheme("ckan")))

    @cached_property
    def downloads(self) -> dict[str, float]:
        return json.loads((self.folder / "ckan_download_counts.json").read_text(encoding="utf-8"))

    def world(self, game: str, own: Sequence[str] = ()) -> PlainWorld:
        return ckan_world(self.rows, [game], scheme("ckan"), own)


@dataclass
class Arena:
    """One game build with its oracles."""

    index: RealIndex
    game: str

    def __post_init__(self) -> None:
        self.world = self.index.world(self.game)
        self.sat = SatOracle(self.world)
        self.solv = SolvOracle(self.world)
        self.ids = sorted(self.world.by_package)
        self.weights = [self.index.downloads.get(i, 1) + 1 for i in self.ids]

    def close(self) -> None:
        self.sat.close()

    def draw(self, rng: random.Random, size: int, *, popular: bool, grown: bool) -> list[str]:
        """Ids for one request."""
        found: list[str] = []
        for _ in range(4 * size):
            if len(found) == size:
                break
            one = rng.choices(self.ids, self.weights)[0] if popular else rng.choice(self.ids)
            if one not in found and (not grown or self.sat.satisfiable([*found, one])):
                found.append(one)
        return found

    def request(self, ids: Sequence[str]) -> Request:
        here = Surroundings(builds=(self.game,))
        return Request(wanted=tuple(Wanted(i) for i in ids), surroundings=here, repairs=False)

    def examine(self, ids: Sequence[str], counts: Counter[str]) -> Iterator[str]:
        """What is wrong with the answer to one request."""
        outcome = solve(self.index.universe, self.request(ids))
        expected = self.sat.satisfiable(ids)
        rival = self.solv.plan(ids)
        counts["requests"] += 1
        counts["satisfiable"] += expected
        if isinstance(outcome, Solved) != expected or not isinstance(outcome, Solved | Unsatisfiable):
            yield f"{self.game}: {type(outcome).__name__}, CaDiCaL says {expected}: {ids}"
            return
        if (rival is not None) != expected:
            yield f"{self.game}: libsolv disagrees with {expected}: {ids}"
        if isinstance(outcome, Unsatisfiable):
            if not 1 <= len(outcome.facts) <= 8:
                yield f"{len(outcome.facts)} facts: {ids}"
            return
        plan = {chosen.package: chosen.version for chosen in outcome.plan}
        yield from self.world.violations(plan)
        if rival is not None:
            counts["versions behind, ours"] += self.behind(plan)
            counts["versions behind, libsolv"] += self.behind(rival)

    def behind(self, plan: dict[str, str]) -> int:
        """How many newer fitting releases a plan passes over."""
        total = 0
        for package, version in plan.items():
            numbers = self.world.by_package[package]
            total += next(i for i, n in enumerate(numbers) if self.world.releases[n].version == version)
        return total


def run(count: int, seed: int) -> int:
    index = RealIndex(data_folder())
    rng = random.Random(seed)
    arenas = [Arena(index, game) for game in GAMES]
    counts: Counter[str] = Counter()
    problems = 0
    for number in range(count):
        arena = arenas[number % len(arenas)]
        ids = arena.draw(rng, rng.choice(SIZES), popular=rng.random() < 0.5, grown=rng.random() < 0.6)
        for problem in arena.examine(ids, counts):
            problems += 1
            print(problem, flush=True)
        if number % 100 == 99:
            print(f"\r{number + 1} requests, {problems} problems", end="", file=sys.stderr, flush=True)
    for arena in arenas:
        arena.close()
    print(f"{problems} problems; " + ", ".join(f"{n} {what}" for what, n in sorted(counts.items())))
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    return min(1, run(options.count, options.seed))


if __name__ == "__main__":
    sys.exit(main())
