"""How fast the mind is, beside libsolv: `python -m bench.compat [--requests 1000]`.

On the real CKAN index (`LOADSTONE_TEST_DATA`): satisfiable sets drawn by download weight, warm and cold;
the sweep of a whole game build, and after one changed claim. CPU time of this process; every row prints
its ratio to its limit (below 1 is good). libsolv answers the same requests in the same run.
"""

from __future__ import annotations

import argparse
import gc
import pickle
import random
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from tests.compat.fuzz_requests import Arena, RealIndex, data_folder

from loadstone.compat.changes import with_changes
from loadstone.compat.solver import Solved, solve
from loadstone.compat.sweep import Sweep
from loadstone.compat.universe import Claim, Target

T = TypeVar("T")

GAME = "1.12.5"


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Milliseconds of CPU time, and the result."""
    started = time.process_time()
    result = work()
    return (time.process_time() - started) * 1000, result


def milliseconds(work: Callable[[], object]) -> float:
    return timed(work)[0]


def percentile(figures: list[float], share: float) -> float:
    ranked = sorted(figures)
    return ranked[min(len(ranked) - 1, int(len(ranked) * share))]


def row(what: str, figure: float, limit: float) -> None:
    print(f"{what:<58}{figure:>9.2f} ms   limit {limit:>7.1f}   ratio {figure / limit:>5.2f}")


def bench_solving(arena: Arena, size: int, count: int, limits: dict[float, float]) -> None:
    rng = random.Random(size)
    ours, theirs, behind, behind_theirs, proven = [], [], 0, 0, 0
    for _ in range(count):
        ids = arena.draw(rng, size, popular=True, grown=True)
        request = arena.request(ids)
        spent, solved = timed(lambda request=request: solve(arena.index.universe, request))
        ours.append(spent)
        spent, rival = timed(lambda ids=ids: arena.solv.plan(ids))
        theirs.append(spent)
        assert isinstance(solved, Solved)
        behind += solved.behind
        behind_theirs += arena.behind(rival)
        proven += solved.proven
    for share, limit in limits.items():
        row(f"solve {size} mods, {count} sets, warm, p{share * 100:g}", percentile(ours, share), limit)
    row(f"solve {size} mods, p50 beside libsolv's", percentile(ours, 0.5), percentile(theirs, 0.5))
    print(f"    versions behind newest: {behind}, libsolv {behind_theirs}; proven least: {proven} of {count}")


def bench_cold(arena: Arena, count: int) -> None:
    rng = random.Random(5)
    snapshot = pickle.dumps(arena.index.universe)
    figures = []
    for _ in range(count):
        universe = pickle.loads(snapshot)
        request = arena.request(arena.draw(rng, 60, popular=True, grown=True))
        figures.append(milliseconds(lambda u=universe, r=request: solve(u, r)))
    row(f"solve 60 mods, first after loading a snapshot, worst of {count}", max(figures), 80)
    print(f"    snapshot: {len(snapshot) / 1e6:.1f} MB")


def bench_sweep(arena: Arena) -> None:
    universe = arena.index.universe
    here = arena.request([]).surroundings
    first = Sweep(universe, here)
    row("sweep of the whole index", milliseconds(lambda: Sweep(universe, here)), 500)
    fitting = len(first.verdicts())
    print(f"    {fitting} mods fit, {len(first.bitmap())} can be installed")
    figures = []
    popular = sorted(arena.ids, key=lambda i: -arena.index.downloads.get(i, 0))[:20]
    for number, subject in enumerate(popular):
        claim = Claim(
            id=f"bench-{number}", kind="conflicts", subject=subject, targets=(Target("CommunityResourcePack"),)
        )
        figures.append(milliseconds(lambda claim=claim: first.after(with_changes(universe, add=[claim]))))
    row("after one new claim on one of the 20 most popular, median", percentile(figures, 0.5), 50)
    row("after one new claim on one of the 20 most popular, worst", max(figures), 50)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000)
    options = parser.parse_args()
    index = RealIndex(data_folder())
    index.universe.claim_index  # noqa: B018 - a look-up table that the first change would build
    arena = Arena(index, GAME)
    solve(index.universe, arena.request(["ModuleManager"]))
    gc.freeze()
    bench_solving(arena, 60, options.requests, {0.5: 6, 0.99: 40})
    bench_solving(arena, 300, max(20, options.requests // 20), {0.99: 120})
    bench_cold(arena, 5)
    bench_sweep(arena)
    arena.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
