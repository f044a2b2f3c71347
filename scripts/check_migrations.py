"""Lints the migrations for what locks a table under load (squawk)."""

import subprocess
import sys
from pathlib import Path

MIGRATIONS = Path(__file__).parents[1] / "src" / "loadstone" / "kernel" / "migrations"
# Each exclusion with its reason:
EXCLUDED = {
    "require-lock-timeout": "the runner sets lock_timeout for each migration",
    "require-statement-timeout": "the runner sets statement_timeout for each migration",
    "prefer-identity": "PgQueuer's own schema (0002) uses bigserial",
    "prefer-bigint-over-int": "places and edit counters are small by nature",
}


def main() -> int:
    files = sorted(map(str, MIGRATIONS.glob("*.sql")))
    command = ["squawk", "--assume-in-transaction", f"--exclude={','.join(EXCLUDED)}", *files]
    program = Path(sys.executable).with_name("squawk")
    done = subprocess.run([str(program), *command[1:]], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stdout, done.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
