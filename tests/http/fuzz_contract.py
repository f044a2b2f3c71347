"""The long run of the contract: ``python -m tests.http.fuzz_contract --examples 100 [--seed 7]``."""

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path

import structlog

from loadstone.kernel.config import Config
from loadstone.kernel.migrate import migrate
from loadstone.kernel.postgres import EmbeddedPostgres
from tests.http import contract


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100, help="per operation, kind of request and caller")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print(f"seed {given.seed}, {given.examples} examples", flush=True)
    with tempfile.TemporaryDirectory(prefix="loadstone-fuzz-") as folder:
        server = EmbeddedPostgres(Path(folder) / "postgres", durable=False)
        dsn = server.start()
        try:
            asyncio.run(migrate(dsn))
            config = Config(data=Path(folder) / "data", database_url=dsn, secret_key="k" * 32, log_level="error")
            found = contract.check(config, examples=given.examples, seed=given.seed)
        finally:
            server.stop("immediate")
    print("\n".join(found) or "nothing contradicts the document")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
