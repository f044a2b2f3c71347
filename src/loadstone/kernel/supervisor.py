"""One process that starts the others, keeps them alive and ends them in order.

It knows nothing of what they do. Each child leads a session of its own, so that a Ctrl-C in the terminal
reaches only the supervisor, and so that what a dead child has left behind can be ended with it. Children are
told to stop when the supervisor dies, whatever kills it; should one hang all the same, the next start reads
in ``children.json`` which mark it carries in its environment, finds it by that, and ends it.
"""

import contextlib
import hashlib
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final, Protocol

import msgspec

from loadstone.kernel.processes import (
    Running,
    carrying,
    end_process,
    is_still,
    launch_command,
    look_at,
    spawn,
)

MARK: Final = "LOADSTONE_SUPERVISED"
"""Environment variable by which a process is known to belong to a data folder; inherited by its children."""
_FILE: Final = "children.json"
_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
_SETTLED: Final = 30.0  # a child that has lived so long starts again at once when it dies


class ChildFailed(Exception):  # noqa: N818 - a sentence for the operator
    """A child did not become ready; the message says which and how it ended."""


class Service(Protocol):
    """Something that the supervisor's own process runs for the children, such as a database."""

    def is_alive(self) -> bool: ...

    def start(self) -> object: ...

    def stop(self) -> None: ...


class ChildSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How to start, watch and stop one child."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = {}
    """Added to the supervisor's environment."""
    restart: bool = True
    """Whether it is started again when it ends."""
    ready: Callable[[], bool] | None = None
    """Asked every 50 ms at the first start; the next child starts when it says yes."""
    ready_timeout: float = 60.0
    stop_signal: int = signal.SIGTERM
    stop_timeout: float = 25.0
    """Seconds between ``stop_signal`` and ``SIGKILL``."""


class _Record(msgspec.Struct, frozen=True):
    name: str
    pid: int
    started: str


class _Book(msgspec.Struct, frozen=True):
    """What ``children.json`` says."""

    mark: str
    children: list[_Record]


class _Child:
    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.process: subprocess.Popen[bytes] | None = None
        self.started = ""
        self.born = 0.0
        self.due: float | None = None
        self.pause = _FIRST_PAUSE

    def next_pause(self, now: float) -> float:
        """Seconds to wait before the next start: none after a long life, else twice the last pause."""
        if now - self.born >= _SETTLED:
            self.pause = _FIRST_PAUSE
            return 0.0
        pause, self.pause = self.pause, min(self.pause * 2, _LONGEST_PAUSE)
        return pause


class Supervisor:
    """Start ``children`` in their order, keep them alive until a signal comes, stop them in reverse order.

    ``folder``: the data folder; the caller holds its lock. ``services`` must run already when a child needs
    them; they are started again when they die, and stopped after the last child. ``log`` gets sentences.
    """

    def __init__(
        self,
        folder: Path,
        children: Sequence[ChildSpec],
        *,
        services: Sequence[Service] = (),
        log: Callable[[str], None] = print,
    ) -> None:
        names = [child.name for child in children]
        if len(set(names)) != len(names):
            raise ValueError(f"two children have one name: {', '.join(sorted(names))}")
        self._folder = folder
        self._children = [_Child(spec) for spec in children]
        self._services = services
        self._service_due = 0.0
        self._log = log
        self._mark = f"{_mark_of(folder)}{secrets.token_hex(8)}"
        self._signals: deque[int] = deque()
        self._strays: dict[int, float] = {}

    def run(self, started: Callable[[], None] | None = None) -> int:
        """Supervise until SIGINT, SIGTERM or SIGHUP, or until no child is left; returns the exit status.

        ``started`` is called once, when all children are ready. To be called in the main thread. Raises
        :class:`ChildFailed` when a child does not become ready; all others are stopped by then.
        """
        with self._woken_by_signals() as wake:
            try:
                if self._start_all(wake) and started:
                    started()
                while not self._asked_to_stop() and self._any_left():
                    self._wait(wake, self._tend())
                return 0
            finally:
                self._stop_all(wake)

    # -- starting

    def _start_all(self, wake: int) -> bool:
        remove_orphans(self._folder, self._log)
        self._write_book()
        for child in self._children:
            self._start(child)
            if child.spec.ready and not self._wait_until_ready(child, child.spec.ready, wake):
                return False
        return True

    def _start(self, child: _Child) -> None:
        spec = child.spec
        program = shutil.which(spec.argv[0])
        if program is None:
            raise ChildFailed(f"{spec.name} cannot be started: there is no program {spec.argv[0]}.")
        child.process = spawn(
            launch_command([program, *spec.argv[1:]], death_signal=spec.stop_signal),
            env={**os.environ, **spec.env, MARK: self._mark},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        running = look_at(child.process.pid)
        child.started = running.started if running else ""
        child.born, child.due = time.monotonic(), None
        self._write_book()

    def _wait_until_ready(self, child: _Child, ready: Callable[[], bool], wake: int) -> bool:
        """True when it is ready, False when a signal has asked to stop."""
        deadline = time.monotonic() + child.spec.ready_timeout
        while not ready():
            if self._asked_to_stop():
                return False
            status = child.process.poll() if child.process else None
            if status is not None:
                raise ChildFailed(f"{child.spec.name} ended while it started ({_how(status)}).")
            if time.monotonic() > deadline:
                raise ChildFailed(
                    f"{child.spec.name} was not ready within {child.spec.ready_timeout:g} s of its start."
                )
            self._wait(wake, 0.05)
        return True

    # -- watching

    def _tend(self) -> float:
        """Do what is due and return the seconds until something may be due again."""
        now = time.monotonic()
        self._tend_services(now)
        for child in self._children:
            self._tend_child(child, now)
        self._reap_strays(now)
        dues = [child.due for child in self._children if child.due is not None]
        return max(0.0, min([now + 1.0, *dues]) - now)

    def _tend_services(self, now: float) -> None:
        if now < self._service_due:
            return
        for service in self._services:
            if service.is_alive():
                continue
            self._log(f"{type(service).__name__} has died and is started again")
            try:
                service.start()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told and tried again
                self._log(f"{type(service).__name__} did not start: {error}")
                self._service_due = now + 5.0

    def _tend_child(self, child: _Child, now: float) -> None:
        if child.due is not None and now >= child.due:
            self._start_again(child, now)
            return
        if child.process is None or not _has_ended(child.process):
            return
        pid, status = child.process.pid, _bury(child.process)
        child.process = None
        self._write_book()
        if not child.spec.restart:
            self._log(f"{child.spec.name} (process {pid}) has ended ({_how(status)})")
            return
        wait = child.next_pause(now)
        child.due = now + wait
        self._log(f"{child.spec.name} (process {pid}) has died ({_how(status)}), again in {wait:g} s")

    def _start_again(self, child: _Child, now: float) -> None:
        try:
            self._start(child)
        except (ChildFailed, OSError) as error:
            child.born = now
            child.due = now + child.next_pause(now)
            self._log(str(error))

    def _any_left(self) -> bool:
        return any(child.process is not None or child.due is not None for child in self._children)

    def _reap_strays(self, now: float) -> None:
        """As process 1 of a container, bury the zombies that others have left to us.

        Children of this process are waited for by whoever started them, within moments; only what stays a
        zombie for five seconds is a stray.
        """
        if os.getpid() != 1:
            return
        own = {child.process.pid for child in self._children if child.process}
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None or found.si_pid in own:
            self._strays.clear()
            return
        if now - self._strays.setdefault(found.si_pid, now) >= 5.0:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(found.si_pid, os.WNOHANG)

    # -- stopping

    def _stop_all(self, wake: int) -> None:
        self._signals.clear()
        for child in reversed(self._children):
            child.due = None
            if child.process is not None:
                self._stop(child, child.process, wake)
                child.process = None
        for service in reversed(self._services):
            service.stop()
        (self._folder / _FILE).unlink(missing_ok=True)

    def _stop(self, child: _Child, process: subprocess.Popen[bytes], wake: int) -> None:
        """Ask it to stop, then kill it; a second signal to the supervisor means: now."""
        deadline = time.monotonic() + child.spec.stop_timeout
        process.send_signal(child.spec.stop_signal)
        while not _has_ended(process) and time.monotonic() < deadline and not self._asked_to_stop():
            self._wait(wake, 0.05)
        if not _has_ended(process):
            self._log(f"{child.spec.name} (process {process.pid}) did not stop and is killed")
        _bury(process)

    # -- signals

    def _asked_to_stop(self) -> bool:
        return bool(self._signals)

    @contextlib.contextmanager
    def _woken_by_signals(self) -> Iterator[int]:
        """Collect the stop signals, and make them and the end of a child wake :meth:`_wait`."""
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if sys.platform == "linux" else os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        before_wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        wanted = set(_STOP_SIGNALS)
        if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
            wanted.remove(signal.SIGHUP)  # nohup: the terminal may go, we stay
        before = {number: signal.signal(number, self._remember) for number in wanted}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _nothing)
        try:
            yield reader
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before_wakeup)
            os.close(reader)
            os.close(writer)

    def _remember(self, number: int, _: FrameType | None) -> None:
        self._signals.append(number)

    @staticmethod
    def _wait(wake: int, seconds: float) -> None:
        ready, _, _ = select.select([wake], [], [], seconds)
        if ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 4096)

    # -- the book

    def _write_book(self) -> None:
        alive = [(child, child.process) for child in self._children if child.process]
        book = _Book(self._mark, [_Record(child.spec.name, process.pid, child.started) for child, process in alive])
        fresh = self._folder / f"{_FILE}.new"
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(book)))
        fresh.replace(self._folder / _FILE)


def remove_orphans(folder: Path, log: Callable[[str], None] = print, *, patience: float = 10.0) -> list[int]:
    """End the children of a supervisor of this folder that was killed; returns their process ids.

    Each gets ``patience`` seconds to finish what it does.

    The caller holds the folder's lock, so no supervisor of it lives. A process is ours when it carries the
    killed supervisor's mark in its environment (elsewhere than on Linux: when id and start time are those in
    the book).
    """
    path = folder / _FILE
    try:
        book = msgspec.json.decode(path.read_bytes(), type=_Book)
    except FileNotFoundError:
        return []
    except (msgspec.MsgspecError, OSError) as error:
        log(f"{path} cannot be read and is ignored: {error}")
        return []
    if not book.mark.startswith(_mark_of(folder)):
        return []  # the folder was copied: those are the children of another
    ended = []
    for running in _marked(book):
        log(f"ending process {running.pid}, left by an earlier start: {' '.join(running.argv)[:100]}")
        steps = [(signal.SIGTERM, patience), (signal.SIGKILL, 5.0)]
        if end_process(running.pid, partial(is_still, running), steps):
            ended.append(running.pid)
    return ended


def _marked(book: _Book) -> list[Running]:
    """The live processes that carry the book's mark."""
    if sys.platform != "linux":
        looked = [(record, look_at(record.pid)) for record in book.children]
        return [running for record, running in looked if running and running.started == record.started]
    return carrying(f"{MARK}={book.mark}")


def _mark_of(folder: Path) -> str:
    return hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16] + "-"


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a child has ended; where the system can, it is left a zombie, which keeps its number taken."""
    if process.returncode is not None:
        return True
    if sys.platform != "linux":
        return process.poll() is not None
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _bury(process: subprocess.Popen[bytes]) -> int:
    """Kill what is left of a child and of its session, and return how it ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _how(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def _nothing(_: int, __: FrameType | None) -> None:
    """SIGCHLD needs a handler, or it wakes nobody."""
