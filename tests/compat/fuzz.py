"""All comparisons of the solver with its oracles: `python -m tests.compat.fuzz` (`make fuzz-compat`).

Generated universes first, then requests to the real CKAN index where its data is at hand.
"""

from __future__ import annotations

import argparse
import sys

from tests.compat import fuzz_requests, fuzz_universes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--universes", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first universe")
    parser.add_argument("--seconds", type=float, default=7200, help="limit for the generated universes")
    options = parser.parse_args()
    problems = fuzz_universes.run(options.first, options.universes, options.seconds, with_solv=True)
    if not (fuzz_requests.data_folder() / "ckan.jsonl.zst").exists():
        print("The real CKAN index is not here; set LOADSTONE_TEST_DATA to its folder.")
    elif options.requests:
        problems += fuzz_requests.run(options.requests, seed=1)
    return min(1, problems)


if __name__ == "__main__":
    sys.exit(main())
