"""Keeps the documents true: tables made of the code, and names in them that must exist.

``python scripts/check_docs.py --write`` fills the tables anew; without it, what is untrue is printed.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclopts import App

from loadstone.cli import worker
from loadstone.cli.main import app
from loadstone.http.app import openapi_document
from loadstone.identity.models import SCOPES
from loadstone.kernel.config import ENVIRONMENT_PREFIX, Config, LoadedConfig
from loadstone.kernel.errors import known_problems

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"<!-- table: ([a-z-]+) -->\n.*?<!-- end -->", re.DOTALL)
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
_SOURCE = re.compile(r"`((?:src|scripts|bench|containers|deploy)/[\w/.-]+|(?!data/)[a-z]+/[a-z_]+\.(?:py|sql|jsonl?))`")
_COMMAND = re.compile(r"(?:^|[`$(]|bin/)loadstone ([a-z]+)(?: ([a-z]+))?", re.MULTILINE)
_TARGET = re.compile(r"(?:^|[`$])\s*make ([a-z-]+)", re.MULTILINE)
_MADE_LATER = frozenset({"docs/images/site.png"})


def documents() -> list[Path]:
    """Everything that a person reads."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def configuration() -> str:
    """Every key, its default and its meaning."""
    settings = LoadedConfig(Config(), {}).settings()
    rows = [
        (f"`{s.key}`", f"`{ENVIRONMENT_PREFIX}{s.key.upper()}`", f"`{s.value}`" if s.value else "", s.meaning)
        for s in settings
    ]
    return _table(("Key", "Variable", "Default", "Meaning"), rows)


def problems() -> str:
    """Every problem that a client may see, by status and code."""
    found = sorted({(cls.status, cls.code, cls.title) for cls in known_problems()})
    return _table(("Status", "Code", "What to do"), [(str(s), f"`{code}`", title) for s, code, title in found])


def scopes() -> str:
    return _table(("Scope", "What a token with it may do"), [(f"`{name}`", text) for name, text in SCOPES.items()])


def operations() -> str:
    """Every operation of the REST interface, by its path."""
    rows: list[tuple[str, str, str]] = []
    for path, item in sorted(openapi_document()["paths"].items()):
        for method in ("get", "head", "post", "put", "patch", "delete"):
            if method in item:
                operation: Any = item[method]
                rows.append(
                    (f"`{method.upper()} {path}`", operation["summary"], f"`{operation.get('x-permission', '')}`")
                )
    return _table(("Operation", "What it does", "Permission"), rows)


def jobs() -> str:
    """Every kind of background work."""
    rows = [(f"`{job.name}`", "job", f"up to {job.attempts} attempts") for job in worker.JOBS]
    rows += [(f"`{timer.name}`", "timer", f"`{timer.cron}`") for timer in worker.TIMERS]
    rows += [(f"`{loop.name}`", "loop", f"every {loop.every_seconds:g} s, sooner when woken") for loop in worker.LOOPS]
    return _table(("Name", "Kind", "When"), sorted(rows))


TABLES = {
    "configuration": configuration,
    "problems": problems,
    "scopes": scopes,
    "operations": operations,
    "jobs": jobs,
}


def filled(text: str) -> str:
    """The text with its tables as the code has them now. Raises :class:`KeyError` for an unknown table."""
    return _BLOCK.sub(lambda found: f"<!-- table: {found[1]} -->\n{TABLES[found[1]]()}\n<!-- end -->", text)


def faults(path: Path, text: str) -> Iterator[str]:
    """What is untrue in a document."""
    if filled(text) != text:
        yield "a table differs from the code; run: python scripts/check_docs.py --write"
    for target in _LINK.findall(text):
        place = (path.parent / target).resolve()
        if "://" not in target and not place.exists() and str(place.relative_to(ROOT)) not in _MADE_LATER:
            yield f"the link {target} leads nowhere"
    for file, name in _TEST.findall(text):
        if not (ROOT / file).is_file():
            yield f"there is no {file}"
        elif name and f"def {name}(" not in (ROOT / file).read_text("utf-8"):
            yield f"{file} has no {name}"
    for source in _SOURCE.findall(text):
        if not (ROOT / source).exists() and not (ROOT / "src" / "loadstone" / source).exists():
            yield f"there is no {source}"
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for target in set(_TARGET.findall(text)) - targets:
        yield f"there is no make {target}"
    for command, sub in set(_COMMAND.findall(text)):
        if not _is_command(app, command, sub):
            yield f"there is no command loadstone {command} {sub}".rstrip()


def _is_command(within: App, command: str, sub: str) -> bool:
    if command not in within:
        return False
    found = within[command]
    names = [name for name in found if not name.startswith("-")]
    return not names or sub in names


def main(*, write: bool) -> int:
    status = 0
    for path in documents():
        text = path.read_text("utf-8")
        if write:
            path.write_text(filled(text), "utf-8")
            continue
        for fault in faults(path, text):
            status = 1
            sys.stdout.write(f"{path.relative_to(ROOT)}: {fault}\n")
    return status


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


if __name__ == "__main__":
    sys.exit(main(write="--write" in sys.argv))
