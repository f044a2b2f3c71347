"""The whole platform as processes: start, refuse a second owner, survive kill -9, stop, back up, restore."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from scripts.tour import LOADSTONE, Tour


@pytest.fixture
def tour(tmp_path: Path) -> Iterator[Tour]:
    made = Tour(tmp_path, None)
    yield made
    made.stop()


def family(tour: Tour) -> list[psutil.Process]:
    assert tour.process is not None
    return psutil.Process(tour.process.pid).children(recursive=True)


def command_line(process: psutil.Process) -> str:
    """Empty for what has ended; a zombie that nobody buries is dead."""
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def alive(processes: list[psutil.Process]) -> list[str]:
    """Those that still run after 20 seconds."""
    _, left = psutil.wait_procs(processes, timeout=20)
    return [line for line in map(command_line, left) if line]


def second(tour: Tour, **changes: str) -> str:
    environment = tour.environment | changes
    done = subprocess.run(
        [*LOADSTONE, "up", "--no-seed"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


@pytest.mark.timeout(600)
def test_the_platform_starts_refuses_recovers_and_stops(tour: Tour, tmp_path: Path) -> None:
    tour.start()
    assert "in use by process" in second(tour)
    assert f"Port {tour.port}" in second(tour, LOADSTONE_DATA=str(tmp_path / "other"))
    tour.register()
    tour.make_game_and_mods()
    tour.release("keel-core", "1.0.0", {"core.txt": "core"})

    # kill -9 of the supervisor: its children follow it, nothing acknowledged is lost
    assert tour.process is not None
    children = family(tour)
    tour.process.send_signal(signal.SIGKILL)
    tour.process.wait()
    assert alive(children) == []
    tour.start()
    mod = tour.get("/api/v1/games/starfall/mods/keel-core")
    assert tour.get(f"/api/v1/mods/{mod['id']}/releases")["items"][0]["version"] == "1.0.0"

    # kill -9 of PostgreSQL and of a web worker: both come back by themselves
    for part in ("-D", "loadstone web"):
        victim = next(p for p in reversed(family(tour)) if part in command_line(p))
        victim.kill()
    time.sleep(1)
    tour.wait_until_ready(60)

    # a back-up while it runs, Ctrl-C, and a restore into an empty folder
    tour.run("backup", str(tmp_path / "all.tar.zst"))
    children = family(tour)
    tour.process.send_signal(signal.SIGINT)
    assert tour.process.wait(60) == 0
    assert alive(children) == []
    tour.environment["LOADSTONE_DATA"] = str(tmp_path / "restored")
    tour.run("restore", str(tmp_path / "all.tar.zst"))
    tour.start()
    release = tour.get(f"/api/v1/mods/{mod['id']}/releases")["items"][0]
    ticket = tour.post(f"/api/v1/releases/{release['id']}/tickets")
    assert tour.http.get(ticket["url"]).status_code == 200
    tour.release("keel-core", "1.1.0", {"core.txt": "after the restore"})


def test_a_wrong_configuration_is_one_sentence(tmp_path: Path) -> None:
    environment = {**os.environ, "LOADSTONE_DATA": str(tmp_path), "LOADSTONE_PROT": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "loadstone", "up"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "LOADSTONE_PROT" in done.stderr
    assert "Traceback" not in done.stderr
