"""The gate itself: opens an archive, reads every byte of it, and says accept or refuse.

Runs inside the jail. Law: whatever happens here, the outcome is an Inspection; only a complete reading
accepts.
"""

from __future__ import annotations

import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable
from types import FrameType

from loadstone.archives.extractors.registry import (
    MAX_BYTES,
    MAX_MILLISECONDS,
    ExtractionError,
    Extractor,
    Registry,
    default_registry,
)
from loadstone.archives.formats import declared_format, nested_format, open_archive, top_format
from loadstone.archives.model import Entry, Facts, Inspection, Limits, Manifest, Profile, Reason, RefusedError
from loadstone.archives.paths import shown
from loadstone.archives.profiles import Globs
from loadstone.archives.reading import Budget
from loadstone.archives.sniff import EXECUTABLE_TYPES, HEAD, SCRIPT_TYPES, is_script_name
from loadstone.archives.source import BytesSource, Source

MAX_WARNINGS = 200
MAX_MANIFESTS = 5_000
MAX_LISTED = 2_000

# Files that nobody expects to run. A program under such a name is a trap, not a mistake.
_PASSIVE = re.compile(
    r"txt|md|rtf|pdf|ini|cfg|conf|json|xml|toml|ya?ml|csv|html?|css|log|properties|lang"
    r"|png|jpe?g|gif|bmp|tga|dds|webp|svg|psd|ico|ttf|otf|nif|bsa|ba2|es[mpl]|pak"
    r"|wav|mp3|ogg|flac|wma|mp4|avi",
    re.IGNORECASE,
)


class Gate:
    """One inspection: the budget, the laws of the game's profile, and what has been learnt so far."""

    def __init__(
        self,
        limits: Limits,
        profile: Profile,
        registry: Registry | None = None,
        *,
        path: str | None = None,
    ) -> None:
        self.limits = limits
        self.profile = profile
        self.registry = registry or default_registry()
        self._path = path
        self.entries: list[Entry] = []
        self.manifests: list[Manifest] = []
        self.executables: list[str] = []
        self.nested: list[str] = []
        self.warnings: list[Reason] = []
        self.types: Counter[str] = Counter()
        self.unpacked = 0
        self.expected = Globs(profile.expected_paths)
        self.refused = Globs(profile.refused_paths)
        self.programs = Globs(profile.executables_expected)

    def inspect(self, source: Source, name: str) -> Inspection:
        """The verdict on `source`, whose uploaded file name is `name` (may be empty: nothing is declared)."""
        kind = ""
        try:
            kind = top_format(source)
            declared_format(name, kind)
            budget = Budget(self.limits, source.size)
            opened = open_archive(kind, source, self.limits, _Level(self, budget, "", 1), budget, path=self._path)
            self._finish(opened.mixed_case)
        except RefusedError as error:
            return Inspection("refuse", (error.reason,), kind, warnings=tuple(self.warnings))
        except MemoryError:
            reason = Reason("memory-limit", "The archive needs more memory than is allowed to be read.")
            return Inspection("refuse", (reason,), kind)
        except RecursionError:
            return Inspection("refuse", (Reason("damaged", "The archive's structure is nested too deeply."),), kind)
        self.entries.sort(key=lambda entry: entry.path)
        facts = Facts(
            manifests=tuple(self.manifests),
            executables=tuple(sorted(self.executables)),
            nested=tuple(sorted(self.nested)),
            types=dict(self.types),
            entries=len(self.entries),
            directories=opened.directories,
            packed_bytes=source.size,
            unpacked_bytes=self.unpacked,
            comment=opened.comment[:4096],
        )
        return Inspection("accept", (), kind, tuple(self.entries), facts, tuple(self.warnings))

    def warn(self, code: str, detail: str) -> None:
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(Reason(code, detail))

    def _finish(self, mixed_case: str) -> None:
        if not self.entries:
            raise RefusedError("no-entries", "The archive contains no file.")
        if mixed_case:
            self.warn("mixed-case-folder", f"The folder {shown(mixed_case)} is spelled in two ways.")
        if self.profile.expected_paths and not any(self.expected.match(entry.path) for entry in self.entries):
            self.warn("unexpected-layout", f"Nothing in the archive lies where {self.profile.name} looks for mods.")


class _Level:
    """The visitor of one archive: the upload itself, or one inside it."""

    def __init__(self, gate: Gate, budget: Budget, prefix: str, depth: int) -> None:
        self._gate = gate
        self._budget = budget
        self._prefix = prefix
        self._depth = depth

    def begin(self, path: str) -> None:
        """Nothing: an inspection keeps no file."""

    def chunk(self, data: bytes) -> None:
        """Nothing: what is kept is kept by the sink."""

    def keep(self, path: str, head: bytes, kind: str, in_place: bool) -> int:  # noqa: ARG002
        wanted = max((extractor.bytes_needed for extractor in self._gate.registry.wanting(path)), default=0)
        if wanted:
            wanted = min(wanted, MAX_BYTES) + 1  # the byte more tells a longer file from one that just fits
        if not in_place and self._gate.profile.nested == "inspect" and nested_format(kind, path):
            wanted = max(wanted, self._gate.limits.max_nested_bytes + 1)
        return max(wanted, HEAD)

    def leave(self, entry: Entry, kept: bytearray, piece: Source | None) -> None:
        self._record(entry)
        self._judge(entry)
        for extractor in self._gate.registry.wanting(entry.path):
            self._extract(extractor, entry, kept)
        form = nested_format(entry.type, entry.path)
        if form:
            self._enter(entry, form, kept, piece)

    def _record(self, entry: Entry) -> None:
        if self._depth > 1:
            return
        self._gate.entries.append(entry)
        self._gate.types[entry.type] += 1
        self._gate.unpacked += entry.size

    def _judge(self, entry: Entry) -> None:
        gate, path = self._gate, self._prefix + entry.path
        if gate.refused.match(entry.path):
            raise RefusedError("path-refused", f"{shown(path)} may not be in a mod of this game.")
        program = entry.type in EXECUTABLE_TYPES
        if program and _PASSIVE.fullmatch(entry.path.rpartition(".")[2]):
            raise RefusedError("disguised-program", f"{shown(path)} is a program under the name of a document.")
        if not program and entry.type not in SCRIPT_TYPES and not is_script_name(entry.path):
            return
        if len(gate.executables) < MAX_LISTED:
            gate.executables.append(path)
        if gate.profile.executables == "allow" or gate.programs.match(entry.path):
            return
        if program and gate.profile.executables == "refuse":
            raise RefusedError("program-unexpected", f"{shown(path)} is a program, which mods of this game never need.")
        if program:
            gate.warn("program", f"{shown(path)} is a program or library.")

    def _extract(self, extractor: Extractor, entry: Entry, kept: bytearray) -> None:
        gate, path = self._gate, self._prefix + entry.path
        if extractor.whole and entry.size > extractor.bytes_needed:
            gate.warn(
                "manifest-too-large",
                f"{shown(path)} is larger than {extractor.bytes_needed} bytes and was not read.",
            )
            return
        if len(gate.manifests) >= MAX_MANIFESTS:
            return
        try:
            found = run_extractor(extractor, path, bytes(kept[: extractor.bytes_needed]))
        except ExtractionError as error:
            gate.warn("manifest-unreadable", f"{shown(path)}: {error}")
            return
        gate.manifests.extend(found[: MAX_MANIFESTS - len(gate.manifests)])

    def _enter(self, entry: Entry, form: str, kept: bytearray, piece: Source | None) -> None:
        gate, path = self._gate, self._prefix + entry.path
        if len(gate.nested) < MAX_LISTED:
            gate.nested.append(path)
        if gate.profile.nested == "refuse":
            raise RefusedError("nested-archive", f"{shown(path)} is an archive inside the archive; unpack it first.")
        if gate.profile.nested == "list":
            return
        if self._depth >= gate.limits.max_depth:
            raise RefusedError("nested-too-deep", f"{shown(path)} is more than {gate.limits.max_depth} archives deep.")
        if piece is None:
            if entry.size > gate.limits.max_nested_bytes:
                raise RefusedError(
                    "nested-too-large",
                    f"{shown(path)} is too large to be checked; store it without compression, or unpack it.",
                )
            piece = BytesSource(bytes(kept))
        level = _Level(gate, self._budget, f"{path}!/", self._depth + 1)
        try:
            open_archive(form, piece, gate.limits, level, self._budget)
        except RefusedError as error:
            if error.code == "no-entries":
                return
            raise RefusedError(error.code, f"In {shown(path)}: {error.detail}") from None


class _TooSlowError(Exception):
    pass


def _too_slow(_signal: int, _frame: FrameType | None) -> None:
    raise _TooSlowError


def run_extractor(extractor: Extractor, path: str, data: bytes) -> list[Manifest]:
    """Run one parser within its time. Raises ExtractionError with a sentence in every case of failure."""
    in_main = threading.current_thread() is threading.main_thread()
    timed = in_main and hasattr(signal, "setitimer") and hasattr(signal, "SIGPROF")
    previous = None
    started = time.process_time()
    try:
        if timed:
            previous = signal.signal(signal.SIGPROF, _too_slow)
            signal.setitimer(signal.ITIMER_PROF, MAX_MILLISECONDS / 1000)
        found: Iterable[Manifest] = extractor.read(path, data)
        result = list(found)
    except ExtractionError:
        raise
    except _TooSlowError:
        raise ExtractionError("it takes too long to read") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        # A parser that trips over hostile input says nothing about the archive; the gate goes on without it.
        raise ExtractionError(f"it is malformed ({type(error).__name__})") from None
    finally:
        if timed:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, previous)
    if (time.process_time() - started) * 1000 > MAX_MILLISECONDS * 4:
        raise ExtractionError("it takes too long to read")
    return result
