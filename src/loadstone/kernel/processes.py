"""Processes: one owner of a folder, children that die with their parent, and looking before killing.

A process id alone proves nothing: it may be a zombie, or have been given to somebody else. Whoever
ends a process here has first looked at what it is (:func:`look_at`).
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

_PR_SET_PDEATHSIG: Final = 1
_LOCK_NAME: Final = "lock"
_LAUNCHER: Final = str(Path(__file__).with_name("launch.py"))


class DataFolderBusy(Exception):  # noqa: N818 - a sentence for the operator
    """Another process owns the folder; the message says which."""


class PortTaken(Exception):  # noqa: N818 - a sentence for the operator
    """The address to listen on cannot be had; the message says why."""


class DataFolderLock:
    """The right to use a folder, held until :meth:`release` or the death of this process.

    The kernel drops the lock with the process, so that a ``kill -9`` leaves nothing to clean up. On a
    network file system it is as good as that system's ``flock``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        return self._descriptor is not None

    def acquire(self) -> Self:
        """Take the lock; raises :class:`DataFolderBusy` at once when another holds it."""
        if self.held:
            return self
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            who = f"process {owner}" if owner else "another process"
            raise DataFolderBusy(
                f"The data folder {self.folder} is in use by {who}: stop that first, or choose another folder."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        return self

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._descriptor is None:
            return
        os.ftruncate(self._descriptor, 0)
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # a child between fork and exec has a copy of it
        os.close(self._descriptor)
        self._descriptor = None

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


@dataclass(frozen=True)
class Running:
    """What the operating system says about a process that runs (a zombie does not run)."""

    pid: int
    uid: int
    parent: int
    started: str
    """When it started, in the system's own words; with the pid it names a process for ever."""
    argv: tuple[str, ...]


def look_at(pid: int) -> Running | None:
    """The process with this id, or ``None`` when there is none or it is a zombie."""
    if pid <= 0:
        return None
    return _look_at_proc(pid) if sys.platform == "linux" else _look_by_ps(pid)


def _look_at_proc(pid: int) -> Running | None:
    folder = Path("/proc", str(pid))
    try:
        # the program's name stands in brackets and may itself hold spaces and brackets
        fields = (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        status = (folder / "status").read_text("utf-8", "replace")
        argv = (folder / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] in {"Z", "X", "x"}:
        return None
    uid = next(line.split()[1] for line in status.splitlines() if line.startswith("Uid:"))
    words = tuple(os.fsdecode(part) for part in argv.rstrip(b"\0").split(b"\0"))
    return Running(pid, int(uid), int(fields[1]), fields[19], words)


def _look_by_ps(pid: int) -> Running | None:
    answer = subprocess.run(
        ["/bin/ps", "-ww", "-o", "stat=,uid=,ppid=,lstart=,command=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        env={"LC_ALL": "C"},
    )
    words = answer.stdout.split()
    if len(words) < 9 or words[0].startswith("Z"):
        return None
    return Running(pid, int(words[1]), int(words[2]), " ".join(words[3:8]), tuple(words[8:]))


def is_still(running: Running) -> bool:
    """Whether that very process still runs."""
    now = look_at(running.pid)
    return now is not None and now.started == running.started


def carrying(entry: str) -> list[Running]:
    """The other processes of ours that have ``NAME=value`` in the environment they started with (Linux)."""
    wanted = os.fsencode(entry)
    return _others(lambda folder: wanted in (folder / "environ").read_bytes().split(b"\0"))


def working_in(directory: Path) -> list[Running]:
    """The other processes of ours whose working directory this is (Linux)."""
    return _others(lambda folder: (folder / "cwd").readlink() == directory)


def _others(fits: Callable[[Path], bool]) -> list[Running]:
    """The processes that fit, without this one and those that may not be looked at."""
    found = []
    for folder in Path("/proc").glob("[1-9]*"):
        with contextlib.suppress(OSError):
            if int(folder.name) != os.getpid() and fits(folder) and (running := look_at(int(folder.name))):
                found.append(running)
    return found


def die_with_parent(signal_number: int = signal.SIGTERM, *, parent: int | None = None) -> None:
    """Ask Linux to send this process a signal when its parent dies; elsewhere nothing happens.

    The parent is the *thread* that forked: start children with :func:`spawn`, which sees to it that the
    thread lives as long as its process. ``parent`` is the expected parent's id; when it is gone already,
    the signal is sent at once, because Linux would never send it.
    """
    if sys.platform != "linux":
        return
    expected = os.getppid() if parent is None else parent
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal_number), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != expected:
        os.kill(os.getpid(), signal_number)


def launch_command(
    argv: Sequence[str], orders: Mapping[str, Any] | None = None, *, death_signal: int | None = None
) -> list[str]:
    """The command that runs ``argv`` after ``launch.py`` has carried out ``orders``.

    ``death_signal`` is sent to the program when this process dies (Linux only). The command is to be run by
    :func:`spawn` in this process. ``argv[0]`` must be a path.
    """
    todo = dict(orders or {})
    if death_signal is not None and sys.platform == "linux":
        todo |= {"parent": os.getpid(), "signal": int(death_signal)}
    return [sys.executable, "-I", "-S", _LAUNCHER, json.dumps(todo), *argv] if todo else list(argv)


def spawn(argv: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """:class:`subprocess.Popen` from a thread that lives as long as this process.

    A child that asked to die with its parent dies with the thread that started it, and threads of a pool
    come and go.
    """
    if threading.current_thread() is threading.main_thread():
        return subprocess.Popen(argv, **options)
    return _KEEPER.call(lambda: subprocess.Popen(argv, **options))


_Orders = queue.SimpleQueue[tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]]


class _Keeper:
    """A thread that starts children and never ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: _Orders | None = None
        os.register_at_fork(after_in_child=self._forget)

    def call(self, start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        future: Future[subprocess.Popen[bytes]] = Future()
        with self._lock:
            if self._orders is None:
                self._orders = queue.SimpleQueue()
                threading.Thread(target=self._run, args=(self._orders,), name="keeper", daemon=True).start()
            self._orders.put((start, future))
        return future.result()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._orders = None

    @staticmethod
    def _run(orders: _Orders) -> None:
        while True:
            start, future = orders.get()
            try:
                future.set_result(start())
            except BaseException as error:  # noqa: BLE001 - it belongs to the caller's thread
                future.set_exception(error)


_KEEPER: Final = _Keeper()


def send_signal(pid: int, signal_number: int) -> None:
    """Send a signal; a process that has gone meanwhile is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal_number)


def end_process(pid: int, is_it: Callable[[], bool], steps: Sequence[tuple[int, float]]) -> bool:
    """End a process that is not our child: each step is a signal and the seconds to wait after it.

    ``is_it`` looks at the process and says whether it still is the one meant; nothing is sent to another.
    On Linux a descriptor pins the process between the look and the signal. Returns whether it is gone.
    """
    with _pinned(pid) as send:
        for signal_number, patience in steps:
            if not is_it():
                return True
            send(signal_number)
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline:
                if not is_it():
                    return True
                time.sleep(0.02)
        return not is_it()


@contextlib.contextmanager
def _pinned(pid: int) -> Iterator[Callable[[int], None]]:
    if sys.platform != "linux":
        yield lambda number: send_signal(pid, number)
        return
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:  # gone, or a kernel older than 5.3
        yield lambda number: send_signal(pid, number)
        return

    def send(number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)

    try:
        yield send
    finally:
        os.close(descriptor)


def require_free_port(host: str, port: int) -> None:
    """Raise :class:`PortTaken` unless a server could listen on the address now."""
    try:
        addresses = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise PortTaken(
            f"There is no address {host} ({error.strerror}): set LOADSTONE_HOST to one of this machine."
        ) from None
    for family, kind, protocol, _, address in addresses:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind(address)
            except OSError as error:
                raise PortTaken(_why_not(host, port, error)) from None


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is taken by another program: stop that first, or set LOADSTONE_PORT to another."
    if error.errno == errno.EACCES:
        return f"Port {port} needs more rights than you have: set LOADSTONE_PORT to 1024 or more."
    return f"Nothing can listen on {host}:{port} ({error.strerror}): set LOADSTONE_HOST and LOADSTONE_PORT."
