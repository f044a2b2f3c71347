"""The parent's side of the jail: starts it, feeds it, limits it, and believes nothing it says unchecked.

Law: a jail that dies, hangs, or talks nonsense is a refusal, never a pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec

from loadstone.archives.model import Inspection, Limits, Profile, Reason, RefusedError
from loadstone.archives.paths import canonical, shown
from loadstone.archives.profiles import ANY

_log = logging.getLogger("loadstone.archives")
_MAX_ANSWER = 96 * 1024 * 1024
_POSIX = os.name == "posix"


class _Spoken(msgspec.Struct):
    """What came out of the jail."""

    answer: bytes
    code: int | None
    ended: str
    """`done`, `wall-clock`, `too-much` or `cancelled`."""
    cpu_ms: int
    peak_mb: float
    complaint: bytes = b""


def inspect_sync(
    path: Path, *, limits: Limits | None = None, profile: Profile = ANY, name: str | None = None
) -> Inspection:
    """The gate's verdict on the file at `path`. Blocks for at most the wall clock of `limits`.

    `name` is the file name that the creator gave (its extension is a promise that is checked); by default the
    path's own. A file that cannot be opened raises OSError; everything else is an Inspection.
    """
    return _inspect(path, limits or Limits(), profile, path.name if name is None else name, threading.Event())


async def inspect(
    path: Path, *, limits: Limits | None = None, profile: Profile = ANY, name: str | None = None
) -> Inspection:
    """As `inspect_sync`, without blocking the loop. Cancelling kills the jail before it returns."""
    cancelled = threading.Event()
    work = asyncio.ensure_future(
        asyncio.to_thread(_inspect, path, limits or Limits(), profile, path.name if name is None else name, cancelled)
    )
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        cancelled.set()
        with contextlib.suppress(Exception):
            await work
        raise


def jail_layers() -> list[tuple[str, bool, str]]:
    """The walls of the jail on this machine: (name, whether it stands, why). For `loadstone doctor`."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    try:
        spoken = _run(descriptor, None, b"", "probe", Limits(), 0, threading.Event())
    finally:
        os.close(descriptor)
    own = [("own-process", True, "each archive is read by a fresh process, killed as a group")]
    try:
        layers = msgspec.msgpack.decode(spoken.answer, type=list[tuple[str, bool, str]])
    except msgspec.DecodeError:
        return [*own, ("start", False, "the jail does not start: no archive can be accepted")]
    return own + layers


def _inspect(path: Path, limits: Limits, profile: Profile, name: str, cancelled: threading.Event) -> Inspection:
    from loadstone.archives.jail_request import encode_request

    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    try:
        packed = os.fstat(descriptor).st_size
        request = encode_request(name, limits, profile)
        spoken = _run(descriptor, path, request, "inspect", limits, packed, cancelled)
    finally:
        os.close(descriptor)
    return _judge(spoken, limits, packed)


def _judge(spoken: _Spoken, limits: Limits, packed: int) -> Inspection:
    def refuse(code: str, detail: str) -> Inspection:
        return Inspection("refuse", (Reason(code, detail),), cpu_ms=spoken.cpu_ms, peak_mb=spoken.peak_mb)

    if spoken.ended == "wall-clock":
        return refuse("time-limit", f"Reading the archive took longer than {limits.wall_allowance(packed)} seconds.")
    if spoken.ended == "too-much":
        return refuse("jail-nonsense", "Reading the archive gave an answer that is too large.")
    if spoken.ended == "cancelled":
        return refuse("cancelled", "The inspection was cancelled.")
    if spoken.code != 0:
        if spoken.complaint:
            _log.warning("jail ended with %s: %s", spoken.code, spoken.complaint[-2000:].decode("utf-8", "replace"))
        if _POSIX and spoken.code in (-signal.SIGXCPU, -signal.SIGKILL) and spoken.cpu_ms >= limits.cpu_seconds * 900:
            return refuse(
                "time-limit",
                f"Reading the archive took more than {limits.cpu_allowance(packed)} seconds of CPU.",
            )
        return refuse("jail-died", "Reading the archive failed; it is damaged or hostile.")
    try:
        inspection = msgspec.msgpack.decode(spoken.answer, type=Inspection)
        _check(inspection, limits)
    except (msgspec.DecodeError, RefusedError, UnicodeError) as error:
        _log.warning("jail talks nonsense: %s", error)
        return refuse("jail-nonsense", "Reading the archive gave an answer that makes no sense.")
    return msgspec.structs.replace(
        inspection, cpu_ms=max(inspection.cpu_ms, spoken.cpu_ms), peak_mb=inspection.peak_mb or spoken.peak_mb
    )


def _check(inspection: Inspection, limits: Limits) -> None:
    """What must hold whatever happened in the jail: a verdict with its grounds, canonical sorted paths, and
    caps.
    """
    if inspection.verdict == "refuse":
        if not inspection.reasons:
            raise RefusedError("jail-nonsense", "A refusal without a reason.")
        return
    if inspection.reasons or not inspection.entries or len(inspection.entries) > limits.max_entries:
        raise RefusedError("jail-nonsense", "An acceptance that contradicts itself.")
    total = 0
    before = ""
    for entry in inspection.entries:
        if entry.path <= before or canonical(entry.path, limits) != entry.path:
            raise RefusedError("jail-nonsense", f"The path {shown(entry.path)} is not canonical.")
        before = entry.path
        total += entry.size
    if total > limits.max_total_bytes:
        raise RefusedError("jail-nonsense", "More bytes than are allowed.")


# --- the process --------------------------------------------------------------------------------------------


def _run(
    descriptor: int,
    path: Path | None,
    request: bytes,
    mode: str,
    limits: Limits,
    packed: int,
    cancelled: threading.Event,
) -> _Spoken:
    if not _POSIX:
        return _run_plain(path, request, mode, limits, packed)
    deadline = time.monotonic() + limits.wall_allowance(packed)
    process = subprocess.Popen(
        _command(descriptor, mode),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(descriptor,),
        start_new_session=True,
        env=_environment(),
        cwd="/",
        bufsize=0,
    )
    answer, complaint, ended = b"", b"", "done"
    try:
        answer, complaint, ended = _converse(process, request, deadline, cancelled)
    finally:
        code, cpu_ms, peak = _end(process, kill=ended != "done", deadline=deadline)
    return _Spoken(answer, code, ended, cpu_ms, min(peak, limits.memory_bytes / 2**20), complaint)


def _converse(
    process: subprocess.Popen[bytes], request: bytes, deadline: float, cancelled: threading.Event
) -> tuple[bytes, bytes, str]:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(request)  # a few kilobytes: fits the pipe's buffer
    process.stdin.close()
    answer = bytearray()
    complaint = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, answer)
        selector.register(process.stderr, selectors.EVENT_READ, complaint)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                return bytes(answer), bytes(complaint), "wall-clock"
            if cancelled.is_set():
                return b"", b"", "cancelled"
            for key, _ in selector.select(min(left, 0.25)):
                chunk = os.read(key.fd, 1 << 18)
                if not chunk:
                    selector.unregister(key.fileobj)
                elif key.data is answer:
                    answer += chunk
                elif len(complaint) < 1 << 16:
                    complaint += chunk
            if len(answer) > _MAX_ANSWER:
                return b"", bytes(complaint), "too-much"
    return bytes(answer), bytes(complaint), "done"


def _end(process: subprocess.Popen[bytes], *, kill: bool, deadline: float) -> tuple[int | None, int, float]:
    """Reap the child, and whatever it may have left in its group. Returns code, CPU milliseconds, peak
    MiB.
    """
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    if not kill:
        kill = not _await_exit(process.pid, deadline)
    if kill:
        _kill_group(process.pid)
    _, status, usage = os.wait4(process.pid, 0)
    if not kill:
        _kill_group(process.pid)
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu = int((usage.ru_utime + usage.ru_stime) * 1000)
    scale = 1024 if sys.platform != "darwin" else 1024 * 1024
    return process.returncode, cpu, round(usage.ru_maxrss / scale, 1)


def _await_exit(pid: int, deadline: float) -> bool:
    """Whether the child ends (unreaped, so that its group's number stays ours) before the deadline."""
    pause = 0.0005
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 2, 0.02)
    return True


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _command(descriptor: int, mode: str) -> list[str]:
    # -S: no site packages' start-up code runs in the jail; the path comes by the environment instead.
    return [sys.executable, "-S", "-m", "loadstone.archives.jail", str(descriptor), str(os.getpid()), mode]


def _environment() -> dict[str, str]:
    """Nothing of the parent's: its secrets are none of the jail's business."""
    keep = {
        key: os.environ[key]
        for key in ("SYSTEMROOT", "LD_LIBRARY_PATH", "LOADSTONE_JAIL_TRACEBACK")
        if key in os.environ
    }
    paths = [entry for entry in sys.path if entry and Path(entry).exists()]
    return {
        **keep,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONSAFEPATH": "1",
        "MALLOC_ARENA_MAX": "1",
        "PYTHONUTF8": "1",
    }


def _run_plain(path: Path | None, request: bytes, mode: str, limits: Limits, packed: int) -> _Spoken:
    """Windows: a process of its own with a clock, without the layers that POSIX has."""
    command = [sys.executable, "-m", "loadstone.archives.jail", str(path or "NUL"), "0", mode]
    try:
        done = subprocess.run(
            command,
            input=request,
            capture_output=True,
            timeout=limits.wall_allowance(packed),
            env={**os.environ, **_environment()},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _Spoken(b"", None, "wall-clock", 0, 0.0)
    return _Spoken(done.stdout, done.returncode, "done", 0, 0.0, done.stderr)
