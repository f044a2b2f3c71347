import asyncio
import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from loadstone.kernel.postgres import (
    DataFolderBusy,
    EmbeddedPostgres,
    PostgresTooOld,
    PostgresUnavailable,
    reached,
)
from loadstone.kernel.processes import DataFolderLock, is_still, look_at

OWNER = """
import sys, time
from pathlib import Path
from loadstone.kernel.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
print(server.start(), flush=True)
print(server.pid, flush=True)
time.sleep(600)
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="is about Linux")


def eventually(question: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not question():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def ask(dsn: str, statement: str) -> object:
    async def answer() -> object:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(answer())


@pytest.fixture(scope="module")
def finished_cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped cluster with one row, to be copied: making one takes a second."""
    folder = tmp_path_factory.mktemp("finished") / "pg"
    with EmbeddedPostgres(folder, durable=False) as server:
        ask(server.dsn(), "create table kept (n int)")
        ask(server.dsn(), "insert into kept values (7) returning n")
    return folder


@pytest.fixture
def folder(finished_cluster: Path, tmp_path: Path) -> Path:
    """A copy of the finished cluster, owned as the original is."""
    target = tmp_path / "pg"
    subprocess.run(["cp", "-a", finished_cluster, target], check=True)
    return target


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(folder, durable=False)
    yield server
    server.stop("immediate")


@contextlib.contextmanager
def owner_process(folder: Path, *command: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Another process that has started the server of a folder, and the server's process id."""
    owner = subprocess.Popen([*(command or (sys.executable,)), "-c", OWNER, str(folder)], stdout=subprocess.PIPE)
    assert owner.stdout
    try:
        assert owner.stdout.readline().startswith(b"postgresql://")
        yield owner, int(owner.stdout.readline())
    finally:
        owner.kill()
        owner.communicate()


# -- a first and a second start


def test_a_new_folder_becomes_a_database_that_keeps_what_it_is_told(tmp_path: Path) -> None:
    words: list[str] = []
    server = EmbeddedPostgres(tmp_path / "deep" / "pg", log=words.append)
    try:
        dsn = server.start()
        assert ask(dsn, "create table t (n int)") is None
        assert ask(dsn, "insert into t values (42) returning n") == 42
        server.stop()
        assert not server.is_alive()
        assert server.pid is None
        assert server.start() == dsn
        assert ask(dsn, "select n from t") == 42
    finally:
        server.stop()
    assert len(words) == 1
    assert words[0].startswith(f"creating the database in {tmp_path}/deep/pg with PostgreSQL ")


def test_a_database_is_utf8_with_one_order_of_texts_checksums_and_safe_writing(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as server:
        for setting, value in {
            "server_encoding": "UTF8",
            "data_checksums": "on",
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "listen_addresses": "",
            "password_encryption": "scram-sha-256",
        }.items():
            assert ask(server.dsn(), f"select current_setting('{setting}')") == value
        provider = "select datlocprovider::text || ' ' || datlocale from pg_database where datname = 'loadstone'"
        assert ask(server.dsn(), provider) == "b C.UTF-8"


def test_settings_are_taken_and_a_wrong_one_is_named(server: EmbeddedPostgres, folder: Path) -> None:
    with EmbeddedPostgres(folder, durable=False, settings={"work_mem": "7MB", "cluster_name": "it's"}) as own:
        assert ask(own.dsn(), "select current_setting('work_mem') || current_setting('cluster_name')") == "7MBit's"
    with pytest.raises(PostgresUnavailable, match='unrecognized configuration parameter "no_such_setting"'):
        EmbeddedPostgres(folder, settings={"no_such_setting": "1"}).start()
    assert ask(server.start(), "select n from kept") == 7


def test_the_password_is_needed_and_only_the_owner_can_read_it(server: EmbeddedPostgres, folder: Path) -> None:
    dsn = server.start()
    password = (folder / "password").read_text()
    assert stat.S_IMODE((folder / "password").stat().st_mode) == 0o600
    assert password in dsn
    with pytest.raises(asyncpg.InvalidPasswordError):
        ask(dsn.replace(password, "guess"), "select 1")


def test_a_lost_password_is_made_anew(server: EmbeddedPostgres, folder: Path) -> None:
    (folder / "password").unlink()
    assert ask(server.start(), "select n from kept") == 7


def test_a_dropped_database_is_made_again(server: EmbeddedPostgres) -> None:
    server.start()
    server.run_tool("psql", "-Xqc", "drop database loadstone", database="postgres")
    server.stop()
    assert ask(server.start(), "select current_database()") == "loadstone"


def test_a_start_of_a_running_server_only_gives_its_address(server: EmbeddedPostgres) -> None:
    dsn, pid = server.start(), server.pid
    assert (server.start(), server.pid) == (dsn, pid)


def test_tools_of_the_same_version_run_with_the_right_rights(server: EmbeddedPostgres) -> None:
    server.start()
    dump = server.run_tool("pg_dump", "--schema-only").stdout
    assert b"CREATE TABLE public.kept" in dump
    assert server.run_tool("psql", "-XAtq", input=b"select n from kept").stdout == b"7\n"
    status = server.run_tool("pg_ctl", "status", "-D", str(server.cluster)).stdout
    assert f"server is running (PID: {server.pid})".encode() in status
    with pytest.raises(subprocess.CalledProcessError) as failure:
        server.run_tool("psql", "-Xc", "select nonsense")
    assert b'column "nonsense" does not exist' in failure.value.stderr
    with pytest.raises(FileNotFoundError, match="has no program no_such_tool"):
        server.tool("no_such_tool")


def test_the_operators_own_variables_do_not_lead_elsewhere(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGHOST": "192.0.2.1", "PGPORT": "1", "PGOPTIONS": "-c x", "LC_ALL": "xx_XX"}.items():
        monkeypatch.setenv(name, value)
    server.start()
    assert server.run_tool("psql", "-XAtqc", "select n from kept").stdout == b"7\n"


# -- one owner


def test_a_second_owner_is_refused_in_one_sentence(server: EmbeddedPostgres, folder: Path) -> None:
    server.start()
    with pytest.raises(DataFolderBusy, match=f"{folder} is in use by process {os.getpid()}") as refusal:
        EmbeddedPostgres(folder).start()
    assert "\n" not in str(refusal.value)
    assert server.is_alive()


def test_an_owner_in_another_process_is_named(folder: Path) -> None:
    with owner_process(folder) as (owner, _), pytest.raises(DataFolderBusy, match=f"process {owner.pid}:"):
        EmbeddedPostgres(folder).start()


# -- sudden deaths


def test_a_killed_server_is_recovered_with_all_that_was_acknowledged(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as server:
        dsn = server.start()
        ask(dsn, "create table t (n int)")
        ask(dsn, "insert into t select generate_series(1, 1000)")
        assert server.pid
        os.kill(server.pid, signal.SIGKILL)
        assert eventually(lambda: not server.is_alive())
        assert server.start() == dsn
        assert ask(dsn, "select count(*) from t") == 1000


def test_a_server_that_was_killed_with_its_owner_is_recovered(server: EmbeddedPostgres, folder: Path) -> None:
    with owner_process(folder) as (owner, pid):
        ask(server.dsn(), "insert into kept values (8)")
        os.kill(pid, signal.SIGKILL)
        owner.kill()
        owner.wait()
        assert ask(server.start(), "select count(*) from kept") == 2


@linux_only
def test_a_server_stops_when_its_owner_is_killed(folder: Path) -> None:
    with owner_process(folder) as (owner, pid):
        running = look_at(pid)
        assert running is not None
        owner.kill()
        assert eventually(lambda: not is_still(running))
    assert not (folder / "cluster" / "postmaster.pid").exists()  # a shutdown, not a crash


def test_a_server_that_a_killed_owner_has_left_is_stopped_before_the_next_start(
    server: EmbeddedPostgres, folder: Path
) -> None:
    words: list[str] = []
    with owner_process(folder) as (owner, pid):
        os.kill(pid, signal.SIGSTOP)  # so that the death of the owner does not stop it at once
        running = look_at(pid)
        assert running is not None
        owner.kill()
        owner.wait()
        waker = subprocess.Popen(["/bin/sh", "-c", f"sleep 0.5; kill -CONT {pid}"])
        own = EmbeddedPostgres(folder, durable=False, log=words.append)
        try:
            assert ask(own.start(), "select n from kept") == 7
            assert own.pid != pid
            assert not is_still(running)
        finally:
            own.stop()
            waker.wait()
    assert words == [f"stopping the server that an earlier start has left (process {pid})"]


def kill_and_pretend(server: EmbeddedPostgres, pid: int) -> None:
    """Kill the server, and let its old process id be that of another process."""
    server.start()
    os.kill(server.pid or 0, signal.SIGKILL)
    assert eventually(lambda: not server.is_alive())
    pidfile = server.cluster / "postmaster.pid"
    lines = pidfile.read_text().splitlines(keepends=True)
    pidfile.write_text("".join([f"{pid}\n", *lines[1:]]))


def test_a_zombie_with_the_old_process_id_counts_as_dead(server: EmbeddedPostgres) -> None:
    zombie = subprocess.Popen(["/bin/true"])
    assert eventually(lambda: look_at(zombie.pid) is None)
    kill_and_pretend(server, zombie.pid)
    os.kill(zombie.pid, 0)  # asked by signal, it lives
    assert ask(server.start(), "select n from kept") == 7
    zombie.wait()


def test_a_stranger_with_the_old_process_id_is_left_alone(server: EmbeddedPostgres) -> None:
    stranger = subprocess.Popen(["/bin/sleep", "600"])
    try:
        kill_and_pretend(server, stranger.pid)
        assert ask(server.start(), "select n from kept") == 7
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_an_empty_pid_file_does_not_stop_the_start(server: EmbeddedPostgres, folder: Path) -> None:
    (folder / "cluster" / "postmaster.pid").touch()
    assert ask(server.start(), "select n from kept") == 7


@linux_only
def test_a_busy_worker_of_a_killed_server_is_ended(server: EmbeddedPostgres) -> None:
    dsn = server.start()
    busy = subprocess.Popen(
        [server.tool("psql"), "-Xqc", "select count(*) from generate_series(1, 100000000000)"],
        env=server.tool_environment(),
        stderr=subprocess.DEVNULL,
    )
    try:
        count = "select count(*) from pg_stat_activity where query like '%100000000000%' and state = 'active'"
        assert eventually(lambda: ask(dsn, count) == 2)
        assert server.pid
        os.kill(server.pid, signal.SIGKILL)
        assert eventually(lambda: not server.is_alive())
        assert ask(server.start(), "select n from kept") == 7
    finally:
        busy.kill()
        busy.wait()


@pytest.mark.parametrize("seconds", [0.1, 0.4, 0.8])
def test_a_first_start_that_was_killed_is_begun_again(tmp_path: Path, seconds: float) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, tmp_path / "pg"], stdout=subprocess.DEVNULL)
    assert eventually(lambda: any((tmp_path / "pg").glob("cluster.new-*")))
    time.sleep(seconds)
    owner.kill()
    owner.wait()
    with EmbeddedPostgres(tmp_path / "pg", durable=False) as server:
        assert ask(server.dsn(), "select current_database()") == "loadstone"
    assert not list((tmp_path / "pg").glob("cluster.new-*"))


def test_a_failed_start_gives_the_folder_free(folder: Path) -> None:
    (folder / "cluster" / "global" / "pg_control").unlink()
    for _ in range(2):
        with pytest.raises(PostgresUnavailable, match="did not start"):
            EmbeddedPostgres(folder, durable=False).start()


# -- folders


def test_a_path_too_long_for_a_socket_is_served_by_a_short_private_one(folder: Path, tmp_path: Path) -> None:
    deep = tmp_path / "/".join(["a-folder-with-a-long-name"] * 6) / 'pg, the "quoted" one\'s'
    deep.parent.mkdir(parents=True)
    folder.rename(deep)
    with EmbeddedPostgres(deep, durable=False) as server:
        assert ask(server.dsn(), "select n from kept") == 7
        socket_folder = Path(server.tool_environment()["PGHOST"])
        assert not socket_folder.is_relative_to(deep)
        assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700
        assert server.run_tool("psql", "-XAtqc", "select n from kept").stdout == b"7\n"
    assert not socket_folder.exists()


@as_root
def test_a_short_socket_folder_that_somebody_else_has_made_is_not_used(folder: Path, tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120)
    folder.rename(deep)
    server = EmbeddedPostgres(deep, durable=False)
    theirs = Path(server.tool_environment()["PGHOST"])
    theirs.mkdir()
    os.chown(theirs, 12345, 12345)
    try:
        with pytest.raises(PostgresUnavailable, match="belongs to somebody else"):
            server.start()
    finally:
        theirs.rmdir()


def test_a_relative_folder_is_the_same_after_a_change_of_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    with EmbeddedPostgres(Path("pg"), durable=False) as server:
        monkeypatch.chdir("/")
        assert ask(server.dsn(), "select n from kept") == 7


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PostgresUnavailable, match="cannot be made"):
        EmbeddedPostgres(tmp_path / "file" / "pg").start()


def test_a_cluster_of_another_version_is_refused_in_one_sentence(folder: Path) -> None:
    (folder / "cluster" / "PG_VERSION").write_text("9\n")
    with pytest.raises(PostgresTooOld, match=f"{folder} was made by PostgreSQL 9 and only 1") as refusal:
        EmbeddedPostgres(folder).start()
    assert "loadstone backup" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("version", [None, "", "nonsense"])
def test_a_folder_that_is_no_cluster_is_refused(folder: Path, version: str | None) -> None:
    path = folder / "cluster" / "PG_VERSION"
    path.unlink() if version is None else path.write_text(version)
    with pytest.raises(PostgresUnavailable, match="is no PostgreSQL data"):
        EmbeddedPostgres(folder).start()


# -- commands beside a running platform


def test_a_command_uses_the_server_that_runs(folder: Path) -> None:
    with owner_process(folder) as (_, pid), reached(folder) as server:
        assert server.pid is None  # not ours
        assert ask(server.dsn(), "select n from kept") == 7
        assert server.run_tool("psql", "-XAtqc", "select n from kept").stdout == b"7\n"
    assert eventually(lambda: look_at(pid) is None)


def test_a_command_starts_and_stops_the_server_where_none_runs(folder: Path) -> None:
    with reached(folder) as server:
        assert ask(server.dsn(), "select n from kept") == 7
        running = look_at(server.pid or 0)
        assert running is not None
    assert not is_still(running)


def test_a_command_does_not_wait_for_ever_for_an_owner_without_a_server(folder: Path) -> None:
    with DataFolderLock(folder), pytest.raises(DataFolderBusy), reached(folder, patience=0.1):
        pass
