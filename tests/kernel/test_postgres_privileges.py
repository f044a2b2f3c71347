import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import loadstone
from loadstone.kernel.postgres import EmbeddedPostgres
from loadstone.kernel.processes import look_at

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else"),
    pytest.mark.skipif(sys.platform != "linux", reason="is about Linux"),
]
NOBODY = 65534
WITHOUT_NAME = 54321
_PR_CAPBSET_DROP = 24
_CAP_SETUID = 7
LIFE = """
import os, signal, sys, time
from pathlib import Path
from loadstone.kernel.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
server.start()
run = lambda text: server.run_tool("psql", "-XAtqc", text).stdout.decode().strip()
run("create table t as select 5 as n")
os.kill(server.pid, signal.SIGKILL)
while server.is_alive(): time.sleep(0.01)
server.start()
print(run("select n from t"), os.geteuid(), Path(sys.argv[1], "cluster").stat().st_uid)
server.stop()
"""
CHOICE = """
import sys
from loadstone.kernel.postgres_privileges import NoIdentityError, choose_identity
try: print(choose_identity(int(sys.argv[1])))
except NoIdentityError as error: print(error)
"""


def read(server: EmbeddedPostgres) -> bytes:
    return server.run_tool("psql", "-XAtqc", "select n from kept").stdout


@pytest.fixture(scope="module")
def finished_cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped cluster with one row, to be copied: making one takes a second."""
    folder = tmp_path_factory.mktemp("finished") / "pg"
    with EmbeddedPostgres(folder, durable=False) as server:
        server.run_tool("psql", "-Xqc", "create table kept as select 7 as n")
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


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that anybody can get at, as the tests' own folders cannot be."""
    home = Path(f"/tmp/loadstone-test-{os.getpid()}")
    home.mkdir(mode=0o755)
    yield home
    shutil.rmtree(home)


def become(uid: int) -> Callable[[], None]:
    def change() -> None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)

    return change


def give_up_setuid() -> None:
    """Stay root without the right to become another, as in some containers."""
    assert ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_SETUID, 0, 0, 0) == 0


def is_reachable(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


@pytest.fixture(scope="module")
def ordinary_python() -> str:
    """A Python that an ordinary user can run: that of the tests may lie in root's closed home."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, shutil.which(name, path="/usr/bin:/usr/local/bin")):
        if candidate and is_reachable(Path(candidate)) and is_reachable(Path(loadstone.__file__)):
            return candidate
    pytest.skip("no Python here that an ordinary user can run")


def run(python: str, program: str, argument: object, change: Callable[[], None]) -> subprocess.CompletedProcess[str]:
    paths = [str(Path(loadstone.__file__).parents[1]), *(path for path in sys.path if "site-packages" in path)]
    return subprocess.run(
        [python, "-c", program, str(argument)],
        env={"PYTHONPATH": os.pathsep.join(paths), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=change,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


def test_for_root_it_runs_as_somebody_without_rights(server: EmbeddedPostgres, folder: Path) -> None:
    server.start()
    running = look_at(server.pid or 0)
    assert running is not None
    assert running.uid != 0
    assert (folder / "cluster").stat().st_uid == running.uid
    status = Path(f"/proc/{server.pid}/status").read_text()
    lines = dict(line.split(":", 1) for line in status.splitlines())
    assert int(lines["CapEff"], 16) in {0, 1 << 2}  # at most CAP_DAC_READ_SEARCH
    assert int(lines["NoNewPrivs"]) == 1
    assert lines["Groups"].strip() == ""


def test_for_root_it_needs_no_capability_where_all_folders_are_open(folder: Path, home: Path) -> None:
    if not is_reachable(Path(loadstone.__file__)):
        pytest.skip("the checkout itself lies under a closed folder")
    folder.rename(home / "pg")
    with EmbeddedPostgres(home / "pg", durable=False) as server:
        assert read(server) == b"7\n"
        assert "CapEff:\t0000000000000000" in Path(f"/proc/{server.pid}/status").read_text()


def test_for_root_a_closed_home_is_served_without_opening_it(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    folder.rename(home / "pg")
    modes = [parent.stat().st_mode for parent in (home, *home.parents)]
    with EmbeddedPostgres(home / "pg", durable=False) as server:
        assert read(server) == b"7\n"
        server.run_tool("psql", "-Xqc", "create table more as select 1 as n")
    assert [parent.stat().st_mode for parent in (home, *home.parents)] == modes


def test_for_root_a_closed_home_of_somebody_else_is_served(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    os.chown(home, WITHOUT_NAME, WITHOUT_NAME)
    folder.rename(home / "pg")
    with EmbeddedPostgres(home / "pg", durable=False) as server:
        assert read(server) == b"7\n"


def test_for_root_files_that_root_has_copied_are_taken_over(server: EmbeddedPostgres, folder: Path) -> None:
    subprocess.run(["chown", "-R", "0:0", folder], check=True)
    server.start()
    assert read(server) == b"7\n"
    assert (folder / "cluster" / "base").stat().st_uid != 0


def test_for_root_files_of_a_user_without_a_name_are_served(server: EmbeddedPostgres, folder: Path) -> None:
    subprocess.run(["chown", "-R", f"{WITHOUT_NAME}:{WITHOUT_NAME}", folder / "cluster"], check=True)
    server.start()
    assert read(server) == b"7\n"
    running = look_at(server.pid or 0)
    assert running is not None
    assert running.uid == WITHOUT_NAME


def test_root_that_may_not_become_another_is_served(tmp_path: Path) -> None:
    answer = run(sys.executable, LIFE, tmp_path / "pg", give_up_setuid)
    assert answer.stdout.split() == ["5", "0", "0"], answer.stderr


def test_root_that_may_not_become_the_owner_is_told_so(tmp_path: Path) -> None:
    answer = run(sys.executable, CHOICE, NOBODY, give_up_setuid)
    assert answer.stdout.startswith(f"its files belong to user id {NOBODY} and root may not become that user here: "), (
        answer.stderr
    )


@pytest.mark.parametrize("uid", [NOBODY, WITHOUT_NAME], ids=["with a name", "without a name"])
def test_an_ordinary_user_starts_kills_and_recovers_a_database(ordinary_python: str, home: Path, uid: int) -> None:
    home.chmod(0o700)
    os.chown(home, uid, uid)
    answer = run(ordinary_python, LIFE, home / "pg", become(uid))
    assert answer.stdout.split() == ["5", str(uid), str(uid)], answer.stderr


def test_an_ordinary_user_is_told_whose_files_they_are(ordinary_python: str) -> None:
    answer = run(ordinary_python, CHOICE, 101, become(NOBODY))
    assert answer.stdout.startswith(f"its files belong to user id 101 and you are {NOBODY}: "), answer.stderr
