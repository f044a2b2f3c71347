import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loadstone.kernel.processes import (
    DataFolderBusy,
    DataFolderLock,
    PortTaken,
    carrying,
    end_process,
    is_still,
    launch_command,
    look_at,
    require_free_port,
    spawn,
    working_in,
)

SLEEPER = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]


def eventually(question: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not question():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(SLEEPER)
    yield process
    process.kill()
    process.wait()


# -- the lock of a folder


def test_a_second_owner_is_refused_in_one_sentence_that_names_the_first(tmp_path: Path) -> None:
    with DataFolderLock(tmp_path), pytest.raises(DataFolderBusy) as refusal:
        DataFolderLock(tmp_path).acquire()
    assert f"{tmp_path} is in use by process {os.getpid()}" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_lock_is_free_again_after_its_release(tmp_path: Path) -> None:
    DataFolderLock(tmp_path).acquire().release()
    with DataFolderLock(tmp_path) as lock:
        assert lock.held


def test_a_killed_owner_leaves_no_lock(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from loadstone.kernel.processes import DataFolderLock;"
        "lock = DataFolderLock(Path(sys.argv[1])).acquire(); print('held', flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE)
    assert owner.stdout
    assert owner.stdout.readline() == b"held\n"
    with pytest.raises(DataFolderBusy, match=f"process {owner.pid}"):
        DataFolderLock(tmp_path).acquire()
    owner.kill()
    owner.communicate()
    DataFolderLock(tmp_path).acquire().release()


def test_a_child_that_is_started_under_the_lock_does_not_keep_it(tmp_path: Path) -> None:
    lock = DataFolderLock(tmp_path).acquire()
    child = subprocess.Popen(SLEEPER, close_fds=False)
    lock.release()
    try:
        DataFolderLock(tmp_path).acquire().release()
    finally:
        child.kill()
        child.wait()


# -- looking at processes


def test_a_zombie_does_not_run() -> None:
    child = subprocess.Popen(["/bin/true"])
    assert eventually(lambda: look_at(child.pid) is None)
    os.kill(child.pid, 0)  # the id is still taken: asking by signal would say that it lives
    child.wait()


def test_a_process_is_known_by_id_and_start(sleeper: subprocess.Popen[bytes]) -> None:
    assert eventually(lambda: (seen := look_at(sleeper.pid)) is not None and "-I" in seen.argv)
    running = look_at(sleeper.pid)
    assert running is not None
    assert (running.uid, running.parent, running.argv[-2]) == (os.geteuid(), os.getpid(), "-c")
    assert is_still(running)
    sleeper.kill()
    sleeper.wait()
    assert not is_still(running)


def test_processes_are_found_by_their_environment_and_folder(tmp_path: Path) -> None:
    child = subprocess.Popen(SLEEPER, env={"MARK_OF_TEST": str(tmp_path)}, cwd=tmp_path)
    try:
        assert eventually(lambda: [one.pid for one in carrying(f"MARK_OF_TEST={tmp_path}")] == [child.pid])
        assert [one.pid for one in working_in(tmp_path.resolve())] == [child.pid]
        assert carrying("MARK_OF_TEST=") == []
    finally:
        child.kill()
        child.wait()


def test_nothing_is_sent_to_a_process_that_is_not_the_one_meant(sleeper: subprocess.Popen[bytes]) -> None:
    assert end_process(sleeper.pid, lambda: False, [(signal.SIGKILL, 5.0)])
    assert sleeper.poll() is None


def test_a_process_that_ignores_the_first_signal_gets_the_next() -> None:
    program = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);print('ready', flush=True); time.sleep(600)"
    )
    stubborn = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert stubborn.stdout
    stubborn.stdout.readline()
    running = look_at(stubborn.pid)
    assert running is not None
    assert end_process(running.pid, lambda: is_still(running), [(signal.SIGTERM, 0.1), (signal.SIGKILL, 20.0)])
    stubborn.communicate()
    assert stubborn.returncode == -signal.SIGKILL


# -- dying with the parent

PARENT = """
import subprocess, sys, threading, time
from loadstone.kernel.processes import launch_command, spawn
def start():
    child = spawn(launch_command(["/bin/sleep", "600"], death_signal=15))
    print(child.pid, flush=True)
if sys.argv[1] == "thread":
    starter = threading.Thread(target=start); starter.start(); starter.join()
else:
    start()
time.sleep(600)
"""

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")


@linux_only
@pytest.mark.parametrize("where", ["main", "thread"])
def test_a_child_dies_with_its_parent_and_not_with_the_thread_that_started_it(where: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, where], stdout=subprocess.PIPE)
    assert parent.stdout
    child = int(parent.stdout.readline())
    assert eventually(lambda: (seen := look_at(child)) is not None and seen.argv[0] == "/bin/sleep")
    running = look_at(child)
    assert running is not None
    time.sleep(0.2)  # a thread that has ended takes its children along at once
    assert is_still(running)
    parent.kill()
    parent.communicate()
    assert eventually(lambda: not is_still(running))


@linux_only
def test_a_child_whose_parent_is_gone_before_it_could_ask_does_not_start(tmp_path: Path) -> None:
    started = tmp_path / "started"
    command = launch_command(["/bin/touch", str(started)], {"parent": 1, "signal": 15})
    child = subprocess.run(command, capture_output=True, check=False)
    assert child.returncode == 126
    assert b"the parent is gone already" in child.stderr
    assert not started.exists()


@linux_only
def test_a_process_can_bind_itself_to_its_parent() -> None:
    program = (
        "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', "
        "'import time; from loadstone.kernel.processes import die_with_parent; die_with_parent();"
        "print(1, flush=True); time.sleep(600)'], stdout=subprocess.PIPE);"
        "child.stdout.readline(); print(child.pid, flush=True); child.wait()"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout
    running = look_at(int(parent.stdout.readline()))
    assert running is not None
    parent.kill()
    parent.communicate()
    assert eventually(lambda: not is_still(running))


def test_a_program_that_does_not_exist_is_an_error_of_the_caller_in_any_thread() -> None:
    errors: list[Exception] = []

    def start() -> None:
        try:
            spawn(["/does/not/exist"])
        except FileNotFoundError as error:
            errors.append(error)

    start()
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert len(errors) == 2


# -- the port


def test_a_taken_port_is_refused_in_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"Port {port} on 127.0.0.1 is taken by another program") as refusal:
            require_free_port("127.0.0.1", port)
    assert "\n" not in str(refusal.value)
    require_free_port("127.0.0.1", port)


def test_a_port_where_connections_have_just_ended_is_free() -> None:
    with socket.socket() as server, socket.socket() as client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
        accepted, _ = server.accept()
        port = server.getsockname()[1]
        accepted.close()  # the side that closes first keeps the address in TIME_WAIT
    require_free_port("127.0.0.1", port)


def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(PortTaken, match=r"Nothing can listen on 192\.0\.2\.1:8000"):
        require_free_port("192.0.2.1", 8000)
    with pytest.raises(PortTaken, match=r"There is no address no-such-host\.invalid"):
        require_free_port("no-such-host.invalid", 8000)
