import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from loadstone.kernel.processes import carrying, look_at
from loadstone.kernel.supervisor import MARK, remove_orphans

PROGRAM = """
import json, sys, time
from pathlib import Path
from loadstone.kernel.supervisor import ChildFailed, ChildSpec, Supervisor
folder, specs = Path(sys.argv[1]), json.loads(sys.argv[2])
def say(text): print(text, flush=True)

class Service:
    alive = False
    def is_alive(self): return self.alive
    def start(self): self.alive = True; say("service started")
    def stop(self): say("service stopped")

def spec(name, argv, **options):
    if "ready" in options:
        flag = Path(options.pop("ready"))
        options["ready"] = flag.exists
    return ChildSpec(name=name, argv=tuple(argv), **options)

supervisor = Supervisor(folder, [spec(**one) for one in specs], services=[Service()], log=say)
try:
    status = supervisor.run(lambda: say("all started"))
except ChildFailed as error:
    say(f"failed: {error}"); status = 1
say("supervisor ends")
sys.exit(status)
"""

CHILD = """
import os, signal, sys, time
from pathlib import Path
log = Path(sys.argv[1])
def say(text):
    with log.open("a") as file: file.write(f"{sys.argv[2]} {text}\\n")
def stop(*_):
    say("stopped"); sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in sys.argv else stop)
if "parent" in sys.argv:
    import subprocess
    grandchild = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"])
    say(f"grandchild {grandchild.pid}")
say(f"started {os.getpid()}")
time.sleep(600)
"""


def eventually(question: Callable[[], Any], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not question():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class Theatre:
    """A supervisor in a process of its own, and what its children have said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "data"
        self.folder.mkdir()
        self.log = folder / "log"
        self.log.touch()
        self.words = folder / "words"
        self.process: subprocess.Popen[bytes] | None = None

    def child(self, name: str, *manners: str, **options: Any) -> dict[str, Any]:
        argv = [sys.executable, "-c", CHILD, str(self.log), name, *manners]
        return {"name": name, "argv": argv, **options}

    def open(self, *children: dict[str, Any]) -> subprocess.Popen[bytes]:
        with self.words.open("ab") as words:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, self.folder, json.dumps(children)],
                stdout=words,
                stderr=subprocess.STDOUT,
            )
        return self.process

    def said(self, text: str) -> bool:
        return text in self.words.read_text()

    def lines(self, what: str = "") -> list[str]:
        return [line for line in self.log.read_text().splitlines() if what in line]

    def pids(self, name: str) -> list[int]:
        return [int(line.split()[-1]) for line in self.lines(f"{name} started")]

    def book(self) -> dict[str, Any]:
        return json.loads((self.folder / "children.json").read_text())  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def hangups_heeded() -> Iterator[None]:
    """Whoever runs the tests under nohup has SIGHUP ignored, and children inherit that."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def theatre(tmp_path: Path) -> Iterator[Theatre]:
    theatre = Theatre(tmp_path)
    yield theatre
    if theatre.process and theatre.process.poll() is None:
        theatre.process.kill()
        theatre.process.wait()
    for line in theatre.lines():
        if line.split()[-1].isdigit() and (left := look_at(int(line.split()[-1]))) and CHILD in left.argv:
            os.kill(left.pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_signal_ends_all_in_reverse_order_and_the_service_last(theatre: Theatre, number: int) -> None:
    supervisor = theatre.open(theatre.child("first"), theatre.child("second"))
    assert eventually(lambda: len(theatre.lines("started")) == 2 and theatre.said("all started"))
    supervisor.send_signal(number)
    assert supervisor.wait(30) == 0
    assert theatre.lines("stopped") == ["second stopped", "first stopped"]
    assert theatre.words.read_text().splitlines()[-2:] == ["service stopped", "supervisor ends"]
    assert not (theatre.folder / "children.json").exists()


def test_under_nohup_the_end_of_the_terminal_is_not_heeded(theatre: Theatre) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        supervisor = theatre.open(theatre.child("web"))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert eventually(lambda: theatre.said("all started"))
    supervisor.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert supervisor.poll() is None


def test_a_start_in_the_background_of_a_script_stops_by_ctrl_c_as_well(theatre: Theatre) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as shells do for what runs behind an &
    try:
        supervisor = theatre.open(theatre.child("web"))
    finally:
        signal.signal(signal.SIGINT, before)
    assert eventually(lambda: theatre.said("all started"))
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait(30) == 0


def test_a_child_that_dies_is_started_again(theatre: Theatre) -> None:
    theatre.open(theatre.child("web"), theatre.child("jobs"))
    assert eventually(lambda: len(theatre.lines("started")) == 2)
    (first,) = theatre.pids("web")
    os.kill(first, signal.SIGKILL)
    assert eventually(lambda: len(theatre.pids("web")) == 2)
    assert theatre.pids("web")[1] != first
    assert len(theatre.pids("jobs")) == 1
    assert theatre.said(f"web (process {first}) has died (killed by SIGKILL), again in 0.5 s")


def test_a_child_that_keeps_dying_is_started_ever_more_rarely(theatre: Theatre) -> None:
    theatre.open({"name": "broken", "argv": [sys.executable, "-S", "-c", "raise SystemExit(7)"]})
    assert eventually(lambda: theatre.said("has died (exit status 7), again in 2 s"))
    text = theatre.words.read_text()
    assert text.index("again in 0.5 s") < text.index("again in 1 s") < text.index("again in 2 s")


def test_what_a_dead_child_has_left_behind_ends_with_it(theatre: Theatre) -> None:
    theatre.open(theatre.child("web", "parent"))
    assert eventually(lambda: theatre.lines("started"))
    grandchild = int(theatre.lines("grandchild")[0].split()[-1])
    os.kill(theatre.pids("web")[0], signal.SIGKILL)
    assert eventually(lambda: look_at(grandchild) is None)


def test_a_child_that_does_not_stop_is_killed(theatre: Theatre) -> None:
    supervisor = theatre.open(theatre.child("deaf", "stubborn", stop_timeout=0.2))
    assert eventually(lambda: theatre.lines("started"))
    supervisor.terminate()
    assert supervisor.wait(30) == 0
    assert theatre.said("did not stop and is killed")
    assert look_at(theatre.pids("deaf")[0]) is None


def test_a_second_signal_ends_the_patience(theatre: Theatre) -> None:
    supervisor = theatre.open(theatre.child("deaf", "stubborn", stop_timeout=600.0))
    assert eventually(lambda: theatre.lines("started") and theatre.said("all started"))
    supervisor.terminate()
    time.sleep(0.3)
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait(30) == 0


def test_the_next_child_starts_when_the_one_before_is_ready(theatre: Theatre, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    theatre.open(theatre.child("first", ready=str(flag)), theatre.child("second"))
    assert eventually(lambda: theatre.pids("first"))
    time.sleep(0.3)
    assert theatre.pids("second") == []
    flag.touch()
    assert eventually(lambda: theatre.pids("second") and theatre.said("all started"))


def test_a_child_that_does_not_become_ready_ends_the_start(theatre: Theatre, tmp_path: Path) -> None:
    never = str(tmp_path / "never")
    supervisor = theatre.open(
        theatre.child("first"), theatre.child("slow", ready=never, ready_timeout=0.3), theatre.child("third")
    )
    assert supervisor.wait(30) == 1
    assert theatre.said("failed: slow was not ready within 0.3 s of its start.")
    assert theatre.pids("third") == []
    assert [look_at(pid) for pid in theatre.pids("first")] == [None]


def test_a_child_that_ends_while_it_starts_is_named_with_its_status(theatre: Theatre, tmp_path: Path) -> None:
    argv = [sys.executable, "-S", "-c", "raise SystemExit(3)"]
    supervisor = theatre.open({"name": "broken", "argv": argv, "ready": str(tmp_path / "never")})
    assert supervisor.wait(30) == 1
    assert theatre.said("failed: broken ended while it started (exit status 3).")


def test_a_program_that_is_not_there_is_named(theatre: Theatre) -> None:
    supervisor = theatre.open({"name": "web", "argv": ["no-such-program"]})
    assert supervisor.wait(30) == 1
    assert theatre.said("failed: web cannot be started: there is no program no-such-program.")


def test_a_stop_while_starting_is_heeded(theatre: Theatre, tmp_path: Path) -> None:
    supervisor = theatre.open(theatre.child("first", ready=str(tmp_path / "never")))
    assert eventually(lambda: theatre.pids("first"))
    supervisor.terminate()
    assert supervisor.wait(30) == 0
    assert theatre.lines("stopped") == ["first stopped"]
    assert not theatre.said("all started")


def test_it_ends_when_its_only_child_was_to_run_once(theatre: Theatre) -> None:
    supervisor = theatre.open({"name": "once", "argv": ["/bin/true"], "restart": False})
    assert supervisor.wait(30) == 0
    assert theatre.said("(exit status 0)")


def test_a_dead_service_is_started_again(theatre: Theatre) -> None:
    theatre.open(theatre.child("web"))
    assert eventually(lambda: theatre.said("Service has died and is started again"))
    assert eventually(lambda: theatre.said("service started"))


def test_children_die_with_a_killed_supervisor(theatre: Theatre) -> None:
    supervisor = theatre.open(theatre.child("web"), theatre.child("jobs"))
    assert eventually(lambda: len(theatre.lines("started")) == 2)
    supervisor.kill()
    supervisor.wait()
    assert eventually(lambda: len(theatre.lines("stopped")) == 2)
    assert eventually(lambda: not carrying(f"{MARK}={theatre.book()['mark']}"))


def test_the_next_start_ends_an_orphan_that_hangs_and_its_children(theatre: Theatre) -> None:
    supervisor = theatre.open(theatre.child("web", "stubborn", "parent"))
    assert eventually(lambda: theatre.lines("started"))
    supervisor.kill()
    supervisor.wait()
    orphans = {theatre.pids("web")[0], int(theatre.lines("grandchild")[0].split()[-1])}
    words: list[str] = []
    assert set(remove_orphans(theatre.folder, words.append, patience=0.2)) == orphans
    assert len(words) == 2
    assert not any(look_at(pid) for pid in orphans)


def test_a_stranger_with_the_id_of_an_old_child_is_left_alone(theatre: Theatre, tmp_path: Path) -> None:
    supervisor = theatre.open(theatre.child("web"))
    assert eventually(lambda: theatre.lines("started"))
    book = theatre.book()
    assert [child["pid"] for child in book["children"]] == theatre.pids("web")
    supervisor.terminate()
    supervisor.wait()
    stranger = subprocess.Popen(["/bin/sleep", "600"])
    try:
        book["children"][0]["pid"] = stranger.pid
        (theatre.folder / "children.json").write_text(json.dumps(book))
        assert remove_orphans(theatre.folder) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_copy_of_the_folder_does_not_end_the_children_of_the_original(theatre: Theatre, tmp_path: Path) -> None:
    theatre.open(theatre.child("web"))
    assert eventually(lambda: theatre.lines("started"))
    shutil.copytree(theatre.folder, tmp_path / "copy")
    assert remove_orphans(tmp_path / "copy") == []
    assert psutil.pid_exists(theatre.pids("web")[0])


def test_a_damaged_book_is_told_and_does_not_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "children.json").write_text('{"mark": ')
    words: list[str] = []
    assert remove_orphans(tmp_path, words.append) == []
    assert "cannot be read and is ignored" in words[0]


def test_two_children_of_one_name_are_refused(tmp_path: Path) -> None:
    from loadstone.kernel.supervisor import ChildSpec, Supervisor

    twins = [ChildSpec(name="web", argv=("true",)), ChildSpec(name="web", argv=("true",))]
    with pytest.raises(ValueError, match="two children have one name"):
        Supervisor(tmp_path, twins)
