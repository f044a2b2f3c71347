"""Pins all dependencies anew, with hashes, for every platform."""

import subprocess
import sys

COMPILE = [
    "uv",
    "pip",
    "compile",
    "pyproject.toml",
    "--generate-hashes",
    "--universal",
    "--python-version",
    "3.11",
    "-q",
]


def main() -> int:
    dev = [*COMPILE, "--no-header", "--extra", "dev", "-o", "requirements/dev.lock"]
    runtime = [*COMPILE, "--no-header", "-c", "requirements/dev.lock", "-o", "requirements/runtime.lock"]
    for command in (dev, runtime):
        done = subprocess.run([sys.executable, "-m", *command], check=False)
        if done.returncode != 0:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
