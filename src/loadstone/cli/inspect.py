"""`loadstone inspect`: the gate, offline, for whoever makes or takes archives."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from loadstone.archives import Inspection, Reason, inspect_sync, profile_for

_MAX_TREE = 200


def inspect(files: list[Path], *, json: bool = False, profile: str | None = None) -> int:
    """Say for each archive whether it would be accepted, and what it tells about itself.

    Args:
        files: Archives (zip, 7z, rar, tar).
        json: One JSON object a line instead of text.
        profile: A game's slug or a profile's name; the general profile without.

    Returns: 0 when all are accepted, 1 when any is refused or cannot be read.
    """
    chosen = profile_for(profile or "any")
    refused = False
    for file in files:
        try:
            inspection = inspect_sync(file, profile=chosen)
        except (OSError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or "the path is not valid"
            inspection = Inspection("refuse", (Reason("unreadable", f"The file cannot be read: {why}."),))
        refused = refused or not inspection.accepted
        _print(_as_json(file, inspection) if json else _as_text(file, inspection))
    return 1 if refused else 0


def _print(text: str) -> None:
    sys.stdout.buffer.write(text.encode("utf-8", "replace") + b"\n")
    sys.stdout.flush()


def _as_json(file: Path, inspection: Inspection) -> str:
    row: dict[str, Any] = {
        "file": str(file),
        "verdict": inspection.verdict,
        "reasons": inspection.reasons,
        "format": inspection.format,
        "facts": inspection.facts,
        "warnings": inspection.warnings,
        "entries": [msgspec.structs.asdict(entry) for entry in inspection.entries],
        "cpu_ms": inspection.cpu_ms,
        "peak_mb": inspection.peak_mb,
    }
    return msgspec.json.encode(row).decode()


def _as_text(file: Path, inspection: Inspection) -> str:
    lines = [f"{_clean(str(file))}: {inspection.verdict}{f' ({inspection.format})' if inspection.format else ''}"]
    lines += [f"  ✗ {reason.code}: {reason.detail}" for reason in inspection.reasons]
    lines += [f"  ! {warning.code}: {warning.detail}" for warning in inspection.warnings]
    lines += [f"  {line}" for line in _facts(inspection)]
    lines += [f"  {line}" for line in _tree(inspection)]
    lines.append(f"  {inspection.cpu_ms} ms CPU, {inspection.peak_mb} MiB")
    return "\n".join(lines)


def _facts(inspection: Inspection) -> list[str]:
    facts = inspection.facts
    if not inspection.accepted:
        return []
    lines = [f"{facts.entries} files, {facts.unpacked_bytes:,} bytes unpacked, {facts.packed_bytes:,} packed"]
    for manifest in facts.manifests[:50]:
        about = " ".join(part for part in (manifest.id or manifest.name, manifest.version) if part)
        lines.append(_clean(f"{manifest.extractor}: {about} ({manifest.path})"))
        lines += [
            _clean(f"  {dependency.kind} {dependency.id} {dependency.versions}".rstrip())
            for dependency in manifest.dependencies[:50]
        ]
        lines += [_clean(f"  ! {warning}") for warning in manifest.warnings[:10]]
    return lines


def _tree(inspection: Inspection) -> list[str]:
    """The files as an indented tree, each folder once."""
    lines: list[str] = []
    before: list[str] = []
    for entry in inspection.entries[:_MAX_TREE]:
        *folders, name = entry.path.split("/")
        common = 0
        while common < min(len(folders), len(before)) and folders[common] == before[common]:
            common += 1
        lines += [f"{'  ' * depth}{folders[depth]}/" for depth in range(common, len(folders))]
        lines.append(f"{'  ' * len(folders)}{name}  {entry.size:,} {entry.type}")
        before = folders
    if len(inspection.entries) > _MAX_TREE:
        lines.append(f"… and {len(inspection.entries) - _MAX_TREE} more")
    return [_clean(line) for line in lines]


def _clean(text: str) -> str:
    """What strangers wrote must not steer the terminal."""
    return "".join(char if char.isprintable() else "�" for char in text)
