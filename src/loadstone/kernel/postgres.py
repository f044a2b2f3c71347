"""The embedded PostgreSQL: a real one, started from a folder, gone with its owner.

Laws kept here:

- one owner: whoever starts it holds a lock on its folder, a second one is refused in one sentence;
- what died is known to be dead: a zombie or a stranger that has inherited the old process id counts as dead,
  while PostgreSQL's own guard (its shared memory segment) stays in force;
- a cluster is there whole or not at all: it is made beside its place and moved there when it is complete;
- nobody's folder gets another mode, and no account is added (:mod:`loadstone.kernel.postgres_privileges`).
"""

import contextlib
import hashlib
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Final, Literal, Self
from urllib.parse import quote

from loadstone.kernel.postgres_cluster import (
    DATABASE,
    PORT,
    ROLE,
    Cluster,
    PostgresTooOld,
    PostgresUnavailable,
    clean_environment,
    last_words,
)
from loadstone.kernel.postgres_privileges import Identity
from loadstone.kernel.processes import (
    DataFolderBusy,
    DataFolderLock,
    end_process,
    is_still,
    look_at,
    spawn,
    working_in,
)

__all__ = ["DataFolderBusy", "EmbeddedPostgres", "PostgresTooOld", "PostgresUnavailable", "reached"]

_LONGEST_SOCKET: Final = 103  # bytes of sun_path on macOS; Linux has 107
_CANNOT_CONNECT_NOW: Final = b"57P03"
_NOT_A_PROCESS: Final = 2**31 - 2
_ORPHAN_STEPS: Final = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))
_SERVER_TOOLS: Final = frozenset(
    {
        "initdb",
        "postgres",
        "pg_ctl",
        "pg_resetwal",
        "pg_rewind",
        "pg_upgrade",
        "pg_checksums",
        "pg_createsubscriber",
    }
)
"""Programs that refuse root or must read the cluster's files."""


class EmbeddedPostgres:
    """One PostgreSQL in one folder, owned by this process.

    ``data``: folder for the cluster, its socket, its password and the lock; made when missing.
    ``durable=False`` trades safety for speed (tests only: a crash of the *machine* may lose all).
    ``settings``: any of PostgreSQL's; they override those of :mod:`loadstone.kernel.postgres_cluster`.
    ``log`` gets a sentence for each thing worth knowing.
    """

    def __init__(
        self,
        data: Path,
        *,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self.data = Path(os.path.abspath(data))  # noqa: PTH100 - resolve() would follow links of the operator's
        self._cluster = Cluster(self.data, durable=durable, settings=dict(settings or {}))
        self._log = log or (lambda _: None)
        self._lock = DataFolderLock(self.data)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket_folder: Path | None = None
        self._socket_is_ours = False

    # -- what others call

    def start(self) -> str:
        """Start, recover or create; returns the DSN of the database ``loadstone``, ready to be used.

        Calling it again while the server lives only returns the DSN; after its death it starts it again.
        Raises :class:`DataFolderBusy`, :class:`PostgresUnavailable` or :class:`PostgresTooOld`.
        """
        if self.is_alive():
            return self.dsn()
        self._make_folder()
        self._lock.acquire()
        try:
            self._start()
        except BaseException:
            self.stop("immediate")
            raise
        return self.dsn()

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop and give the folder free; ``immediate`` leaves recovery to the next start."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            _end(process, mode)
        self._remove_socket()
        self._lock.release()

    def is_alive(self) -> bool:
        """Whether the server that this object started still runs."""
        return self._process is not None and self._process.poll() is None

    def answers(self) -> bool:
        """Whether a server of this folder takes connections, whoever has started it."""
        return _accepts(self._socket() / f".s.PGSQL.{PORT}")

    @property
    def pid(self) -> int | None:
        """Process id of the running server, ``None`` when there is none."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def cluster(self) -> Path:
        """The folder that PostgreSQL itself calls its data directory."""
        return self._cluster.path

    def dsn(self, database: str = DATABASE) -> str:
        """Connection URL for a database of this server (asyncpg, libpq)."""
        host, password = quote(str(self._socket()), safe=""), quote(self._cluster.password(), safe="")
        return f"postgresql://{ROLE}:{password}@/{quote(database)}?host={host}&port={PORT}"

    def tool(self, name: str) -> Path:
        """Path of a program of the same PostgreSQL (``psql``, ``pg_dump``, …)."""
        return self._cluster.binaries.tool(name)

    def run_tool(
        self,
        name: str,
        *arguments: str,
        database: str = DATABASE,
        stdin: int | IO[bytes] | None = None,
        stdout: int | IO[bytes] | None = None,
        input: bytes | None = None,  # noqa: A002 - the name of subprocess.run
        check: bool = True,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program of the same PostgreSQL, connected to ``database``, and wait for its end.

        Its standard output is returned unless ``stdout`` says otherwise, its standard error always.
        Raises :class:`subprocess.CalledProcessError` when it fails and ``check`` is set.
        """
        command = [str(self.tool(name)), *arguments]
        if name in _SERVER_TOOLS:
            command = self._cluster.identity.command(command, reach=self._cluster.reach)
        given: dict[str, Any] = {"stdin": stdin if stdin is not None else subprocess.DEVNULL}
        if input is not None:
            given = {"input": input}
        return subprocess.run(
            command,
            **given,
            stdout=subprocess.PIPE if stdout is None else stdout,
            stderr=subprocess.PIPE,
            env=self.tool_environment(database),
            cwd="/",
            check=check,
        )

    def tool_environment(self, database: str = DATABASE) -> dict[str, str]:
        """Environment in which libpq programs find this server without a password on the command line."""
        return clean_environment() | {
            "PGHOST": str(self._socket()),
            "PGPORT": str(PORT),
            "PGUSER": ROLE,
            "PGPASSWORD": self._cluster.password(),
            "PGDATABASE": database,
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- starting

    def _start(self) -> None:
        self._process = None
        self._cluster.prepare(self._log)
        self._settle_old_server(self._cluster.identity)
        self._cluster.renew_password()
        self._prepare_socket(self._cluster.identity)
        self._launch(self._cluster.identity)
        self._ensure_database()

    def _make_folder(self) -> None:
        try:
            self.data.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
        except OSError as error:
            raise PostgresUnavailable(
                f"The database folder {self.data} cannot be made ({error.strerror}): "
                f"choose another with LOADSTONE_DATA."
            ) from None

    # -- the server of an earlier start

    def _settle_old_server(self, identity: Identity) -> None:
        """End the server of an owner that was killed, and see to it that a dead one counts as dead."""
        path = self._cluster.path / "postmaster.pid"
        pid = _first_number(path)
        if pid is None:
            path.unlink(missing_ok=True)  # empty after a crash of the machine: it can guard nothing
            return
        if self._is_our_server(pid, identity):
            self._log(f"stopping the server that an earlier start has left (process {pid})")
            end_process(pid, lambda: self._is_our_server(pid, identity), _ORPHAN_STEPS)
        if _first_number(path) == pid:
            # The lines below the first stay: by them PostgreSQL itself makes sure that no process of the
            # dead server still has its memory open. Only the id, which a zombie or a stranger may hold, goes.
            lines = path.read_text("utf-8", "replace").splitlines(keepends=True)
            self._cluster.write(path, "".join([f"{_NOT_A_PROCESS}\n", *lines[1:]]), identity)

    def _is_our_server(self, pid: int, identity: Identity) -> bool:
        """Whether a live process is a postmaster of exactly this cluster."""
        running = look_at(pid)
        if running is None or running.uid != identity.uid or not running.argv:
            return False
        words = running.argv
        return Path(words[0]).name == "postgres" and ("-D", str(self._cluster.path)) in pairwise(words)

    # -- the socket

    def _socket(self) -> Path:
        if self._socket_folder is None:
            self._socket_folder = self._choose_socket_folder()
        return self._socket_folder

    def _choose_socket_folder(self) -> Path:
        """The cluster's neighbour, or a short private folder: the system allows about 100 bytes."""
        near = self.data / "socket"
        if _fits(near) and _takes_sockets(self.data):
            return near
        mark = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:12]
        # not the operator's TMPDIR: every process of theirs must come to the same place
        return Path("/tmp", f"loadstone-{os.geteuid()}-{mark}")  # noqa: S108 - its owner is checked when it is made

    def _prepare_socket(self, identity: Identity) -> None:
        folder = self._socket()
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if folder.is_symlink() or found.st_uid not in {os.geteuid(), identity.uid}:
            raise PostgresUnavailable(
                f"The folder {folder} for the database's socket belongs to somebody else: "
                f"remove it, or choose a shorter LOADSTONE_DATA."
            )
        self._socket_is_ours = True
        folder.chmod(0o700)
        identity.give(folder)
        for left in folder.glob(".s.PGSQL.*"):
            left.unlink(missing_ok=True)

    def _remove_socket(self) -> None:
        if not self._socket_is_ours or self._socket_folder is None:
            return
        with contextlib.suppress(OSError):
            for left in self._socket_folder.glob(".s.PGSQL.*"):
                left.unlink(missing_ok=True)
            self._socket_folder.rmdir()
        self._socket_is_ours = False

    # -- running

    def _launch(self, identity: Identity) -> None:
        command = [str(self.tool("postgres")), "-D", str(self._cluster.path), "-k", str(self._socket())]
        bound = identity.command(command, reach=self._cluster.reach, death_signal=signal.SIGINT)
        deadline = time.monotonic() + 20.0
        while not self._try_launch(bound):
            words = self._words()
            if "shared memory block" not in words or time.monotonic() > deadline:
                raise PostgresUnavailable(f"PostgreSQL did not start in {self.data}: {last_words(words)}")
            if time.monotonic() > deadline - 18.0:
                self._end_leftovers(identity)
            time.sleep(0.1)  # the dead server's last workers are still leaving

    def _end_leftovers(self, identity: Identity) -> None:
        """End workers of a killed server that are too busy to notice its death: they hold its memory open."""
        for one in working_in(self._cluster.path.resolve()):
            if one.uid == identity.uid and one.argv[0].startswith("postgres"):
                self._log(f"ending process {one.pid} of the killed server: {one.argv[0]}")
                end_process(one.pid, partial(is_still, one), [(signal.SIGKILL, 5.0)])

    def _try_launch(self, command: list[str]) -> bool:
        """Start the server and wait until it answers; False when it ended instead."""
        with (self.data / "start.log").open("wb") as words:
            self._process = spawn(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=words,
                cwd="/",
                env=clean_environment(),
                start_new_session=True,  # a Ctrl-C in the terminal is its owner's to answer
            )
        started, told = time.monotonic(), 0
        while self._process.poll() is None:
            if self.answers():
                return True
            if (waited := int(time.monotonic() - started)) >= told + 10:
                told = waited
                self._log(f"waiting for PostgreSQL to recover, {waited} s so far")
            time.sleep(0.01)
        return False

    def _words(self) -> str:
        """What the server said since it was started: first to its terminal, later to its log."""
        logs = sorted(self.cluster.glob("log/*.log"), key=lambda log: log.stat().st_mtime)
        texts = [log.read_text("utf-8", "replace")[-2000:] for log in logs[-1:]]
        return "\n".join([*texts, (self.data / "start.log").read_text("utf-8", "replace")])

    def _ensure_database(self) -> None:
        """Make the database again when a person has dropped it."""
        names = self.run_tool("psql", "-XAtqc", "select datname from pg_database", database="postgres").stdout
        if DATABASE not in names.decode().splitlines():
            self.run_tool("psql", "-Xqc", f'create database "{DATABASE}"', database="postgres")


@contextlib.contextmanager
def reached(
    data: Path, *, log: Callable[[str], None] | None = None, patience: float = 30.0
) -> Iterator[EmbeddedPostgres]:
    """The server of a folder for the length of a block: the one that runs, or else one started for it.

    For commands that may be given while the platform runs. Raises :class:`DataFolderBusy` when another owner
    has it and its server does not answer within ``patience`` seconds, else what :class:`EmbeddedPostgres` does.
    """
    server = EmbeddedPostgres(data, log=log)
    try:
        server.start()
    except DataFolderBusy:
        deadline = time.monotonic() + patience
        while not server.answers():
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        yield server
        return
    try:
        yield server
    finally:
        server.stop()


def _end(process: subprocess.Popen[bytes], mode: Literal["fast", "immediate"]) -> None:
    """Stop a child: fast (roll back, checkpoint), then immediate, then by kill."""
    steps = [(signal.SIGINT, 60.0)] if mode == "fast" else []
    for signal_number, patience in [*steps, (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)]:
        process.send_signal(signal_number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return


def _first_number(path: Path) -> int | None:
    try:
        return int(path.read_text("utf-8", "replace").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _fits(folder: Path) -> bool:
    """Whether a socket can be there; a comma or quote would split the list that PostgreSQL and libpq read."""
    name = str(folder / f".s.PGSQL.{PORT}.lock")
    return len(os.fsencode(name)) <= _LONGEST_SOCKET and not set(name) & set(",\"'\\")


def _takes_sockets(folder: Path) -> bool:
    """Whether the file system has sockets (shares of virtual machines often have not)."""
    probe = folder / f"probe-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as one:
        try:
            one.bind(str(probe))
        except OSError:
            return False
        finally:
            probe.unlink(missing_ok=True)
    return True


def _accepts(path: Path) -> bool:
    """Ask by the protocol's first message whether the server takes connections.

    PostgreSQL protocol 3.0: it answers ``R`` (log in), or ``E`` with SQLSTATE 57P03 while it starts.
    """
    body = struct.pack("!i", 3 << 16) + f"user\0{ROLE}\0database\0postgres\0\0".encode()
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(5)
            one.connect(str(path))
            one.sendall(struct.pack("!i", len(body) + 4) + body)
            answer = one.recv(4096)
    except OSError:
        return False
    return bool(answer) and not (answer[:1] == b"E" and b"C" + _CANNOT_CONNECT_NOW in answer)
