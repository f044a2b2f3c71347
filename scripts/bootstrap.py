"""Makes the virtual environment and installs exactly what the lock file says. Standard library only."""

import os
import subprocess
import sys
from pathlib import Path


def main(venv: Path, lock: Path) -> int:
    if sys.version_info < (3, 11):
        print(f"Loadstone needs Python 3.11 or newer; this is {sys.version.split()[0]}.", file=sys.stderr)
        return 1
    python = venv / "bin" / "python"
    try:
        if not python.exists():
            step(f"making the virtual environment in {venv}")
            run([sys.executable, "-m", "venv", str(venv)])
        step(f"installing the locked dependencies of {lock}")
        install(python, lock)
        step("installing loadstone itself")
        run([str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--editable", "."])
        # Compiled once here: where the environment forbids writing bytecode, each start would compile everything anew.
        run([str(python), "-m", "compileall", "-q", "-j", "0", "src"])
    except subprocess.CalledProcessError as error:
        print(
            f"Set-up stopped at “{' '.join(map(str, error.cmd[:6]))} …”: see the lines above. "
            "It needs Python's venv module and a reachable Python package index.",
            file=sys.stderr,
        )
        return 1
    return 0


def install(python: Path, lock: Path) -> None:
    """Uv installs in seconds; without it pip does the same in a minute."""
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    fast = subprocess.run([*pip, "uv"], check=False, capture_output=True).returncode == 0
    if fast:
        environment = {**os.environ, "UV_LINK_MODE": "copy"}
        synced = subprocess.run(
            [
                *(str(python), "-m", "uv", "pip", "install", "--python", str(python)),
                *("--require-hashes", "--compile-bytecode", "-r", str(lock)),
            ],
            check=False,
            env=environment,
        )
        if synced.returncode == 0:
            return
        step("uv could not; trying pip")
    run([*pip[:-1], "--progress-bar", "on", "--require-hashes", "-r", str(lock)])


def step(text: str) -> None:
    print(f"\033[1m•\033[0m {text}" if sys.stdout.isatty() else f"• {text}", flush=True)


def run(command: list[str]) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
