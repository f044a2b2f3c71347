"""Law: a jail that dies, hangs or talks nonsense is a refusal, never a pass; and inside it nothing is allowed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import sys
import textwrap
import threading
import time
from pathlib import Path

import msgspec
import pytest

from loadstone.archives import Entry, Inspection, Limits, Profile, Reason, inspect, inspect_sync, jail_layers, warden
from tests.archives.benign import Good
from tests.archives.benign import cases as benign_cases
from tests.archives.hostile import Case, all_cases
from tests.archives.zipcraft import Item, build

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the walls are Linux's")
GOOD = build(Item(b"a.txt", b"hello", method=8), Item(b"b/c.txt", b"world"))
HELLO = hashlib.sha256(b"hello").hexdigest()


def put(folder: Path, data: bytes, name: str = "upload.zip") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def child(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Replace the program that runs in the jail."""
    command = [sys.executable, "-S", "-c", textwrap.dedent(body)]
    monkeypatch.setattr(warden, "_command", lambda _descriptor, _mode: command)


def speak(answer: object) -> str:
    return f"import os\nwhile os.read(0, 65536): pass\nos.write(1, {msgspec.msgpack.encode(answer)!r})"


def test_a_good_archive_passes_through_the_jail(tmp_path: Path) -> None:
    result = inspect_sync(put(tmp_path, GOOD))
    assert result.verdict == "accept"
    assert [entry.path for entry in result.entries] == ["a.txt", "b/c.txt"]
    assert result.entries[0].sha256 == HELLO
    assert result.cpu_ms > 0
    assert 0 < result.peak_mb <= 256


async def test_many_inspections_run_at_once_without_blocking_the_loop(tmp_path: Path) -> None:
    paths = [put(tmp_path, GOOD, f"{number}.zip") for number in range(6)]
    results = await asyncio.gather(*(inspect(path) for path in paths))
    assert {result.verdict for result in results} == {"accept"}


SAMPLE = [case for index, case in enumerate(all_cases()) if index % 16 == 3]


@pytest.mark.parametrize("hostile", SAMPLE, ids=[case.name for case in SAMPLE])
def test_a_hostile_archive_is_refused_in_the_jail_as_outside_of_it(hostile: Case, tmp_path: Path) -> None:
    result = inspect_sync(put(tmp_path, hostile.make(), hostile.file))
    assert result.verdict == "refuse"
    assert result.reasons[0].code in hostile.codes
    assert result.peak_mb <= 256
    assert result.cpu_ms <= 10_000


FORMATS = [case for case in benign_cases() if case.name.startswith(("tar-pax", "7z-", "rar", "cp437", "python-lzma"))]


@pytest.mark.parametrize("benign", FORMATS, ids=[case.name for case in FORMATS])
def test_every_format_can_be_read_in_the_jail(benign: Good, tmp_path: Path) -> None:
    result = inspect_sync(put(tmp_path, benign.make(), benign.file))
    assert result.reasons == ()
    assert {entry.path for entry in result.entries} == benign.paths


def test_a_file_that_only_its_owner_may_read_can_be_inspected(tmp_path: Path) -> None:
    from tests.archives import rarcraft

    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for name, data in (("a.zip", GOOD), ("a.rar", rarcraft.rar5(rarcraft.file5(b"a.txt", b"hello")))):
        path = put(closed, data, name)
        path.chmod(stat.S_IRUSR)
        assert inspect_sync(path).entries[0].sha256 == HELLO


def test_a_jail_that_dies_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child(monkeypatch, "import os; os.kill(os.getpid(), 9)")
    assert inspect_sync(put(tmp_path, GOOD)).reasons[0].code == "jail-died"


def test_a_jail_that_ends_with_an_error_refuses_even_when_it_says_accept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = Inspection("accept", entries=(Entry("a", 1, HELLO, "text"),))
    child(monkeypatch, speak(accept) + "\nos._exit(1)")
    assert inspect_sync(put(tmp_path, GOOD)).reasons[0].code == "jail-died"


def test_a_jail_that_hangs_is_killed_with_its_whole_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "pid"
    child(
        monkeypatch,
        f"""
        import os, time
        if os.fork() == 0:
            open({str(mark)!r}, "w").write(str(os.getpid()))
            time.sleep(600)
        time.sleep(600)
        """,
    )
    limits = Limits(wall_seconds=1, wall_seconds_per_gib=0)
    assert inspect_sync(put(tmp_path, GOOD), limits=limits).reasons[0].code == "time-limit"
    grandchild = int(mark.read_text())
    assert _ends(grandchild)


def _ends(pid: int) -> bool:
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense",
        Inspection("refuse"),
        Inspection("accept"),
        Inspection("accept", (Reason("a", "b"),), entries=(Entry("a", 1, HELLO, "text"),)),
        Inspection("accept", entries=(Entry("../a", 1, HELLO, "text"),)),
        Inspection("accept", entries=(Entry("/etc/passwd", 1, HELLO, "text"),)),
        Inspection("accept", entries=(Entry("a", 1, "short", "text"),)),
        Inspection("accept", entries=(Entry("a", -1, HELLO, "text"),)),
        Inspection("accept", entries=(Entry("a", 1 << 60, HELLO, "text"),)),
        Inspection("accept", entries=(Entry("b", 1, HELLO, "t"), Entry("a", 1, HELLO, "t"))),
        Inspection("accept", entries=(Entry("a", 1, HELLO, "t"), Entry("a", 1, HELLO, "t"))),
        {"verdict": "maybe"},
    ],
)
def test_a_jail_that_talks_nonsense_refuses(answer: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = speak(answer) if not isinstance(answer, bytes) else f"import os\nos.write(1, {answer!r})"
    child(monkeypatch, body)
    result = inspect_sync(put(tmp_path, GOOD))
    assert result.verdict == "refuse"
    assert result.reasons[0].code == "jail-nonsense"


def test_a_jail_that_talks_without_end_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warden, "_MAX_ANSWER", 1 << 20)
    child(monkeypatch, "import os\nwhile True: os.write(1, bytes(65536))")
    assert inspect_sync(put(tmp_path, GOOD)).reasons[0].code == "jail-nonsense"


async def test_cancelling_an_inspection_kills_its_jail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "pid"
    child(monkeypatch, f"import os, time\nopen({str(mark)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)")
    task = asyncio.create_task(inspect(put(tmp_path, GOOD)))
    while not mark.exists() or not mark.read_text():
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not Path(f"/proc/{mark.read_text()}").exists()


def test_the_jail_sees_nothing_of_the_parents_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOADSTONE_DATABASE_URL", "postgresql://secret")
    assert "secret" not in repr(warden._environment())


def test_too_little_cpu_refuses(tmp_path: Path) -> None:
    data = build(Item(b"a.bin", os.urandom(1 << 16) * 400, method=8))
    limits = Limits(cpu_seconds=0, cpu_seconds_per_gib=0)
    result = inspect_sync(put(tmp_path, data), limits=limits)
    assert result.verdict == "refuse"


def test_too_little_memory_refuses(tmp_path: Path) -> None:
    inner = build(Item(b"a.bin", os.urandom(1 << 20) * 40))
    data = build(Item(b"inner.zip", inner, method=8))
    result = inspect_sync(put(tmp_path, data), limits=Limits(memory_bytes=80 << 20))
    assert result.verdict == "refuse"
    assert result.reasons[0].code in {"memory-limit", "jail-died"}


def test_a_missing_file_is_an_error_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        inspect_sync(tmp_path / "nothing.zip")


def test_the_profile_decides_about_nested_archives_and_programs(tmp_path: Path) -> None:
    nested = put(tmp_path, build(Item(b"inner.zip", GOOD)))
    assert inspect_sync(nested, profile=Profile(nested="refuse")).reasons[0].code == "nested-archive"
    assert inspect_sync(nested, profile=Profile(nested="list")).facts.nested == ("inner.zip",)
    program = put(tmp_path, build(Item(b"bin/x.dll", b"\x7fELF" + bytes(60))), "program.zip")
    assert inspect_sync(program, profile=Profile(executables="refuse")).reasons[0].code == "program-unexpected"
    expected = Profile(executables="refuse", executables_expected=("bin/*.dll",))
    assert inspect_sync(program, profile=expected).verdict == "accept"


@linux
def test_all_walls_of_the_jail_stand_here() -> None:
    layers = {name: active for name, active, _ in jail_layers()}
    assert {"own-process", "unprivileged-user", "no-new-privileges", "resource-limits", "seccomp"} <= layers.keys()
    assert layers["own-process"]
    assert layers["resource-limits"]


ESCAPES = {
    "open-a-file": "os.open('/etc/passwd', os.O_RDONLY)",
    "write-a-file": "os.open('/tmp/loadstone-escape', os.O_WRONLY | os.O_CREAT)",
    "list-a-folder": "os.listdir('/')",
    "make-a-folder": "os.mkdir('/tmp/loadstone-escape')",
    "make-a-socket": "socket.socket()",
    "start-a-program": "os.execv('/bin/true', ['true'])",
    "fork": "os.fork()",
    "signal-another": "os.kill(os.getppid(), 0)",
    "become-root": "os.setuid(0)",
    "much-memory": "bytes(400 << 20)",
    "executable-memory": "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)",
}


@linux
@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES.keys())
def test_nothing_can_be_done_from_inside(escape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not {name: active for name, active, _ in jail_layers()}["seccomp"]:
        pytest.skip("this kernel has no seccomp")
    child(
        monkeypatch,
        f"""
        import mmap, os, socket, sys
        from loadstone.archives.jail import put_on
        from loadstone.archives.model import Limits
        put_on(None, os.getppid(), Limits(), 0)
        try:
            {escape}
        except (OSError, MemoryError):
            os._exit(77)
        os._exit(0)
        """,
    )
    spoken = warden._run(0, None, b"", "inspect", Limits(), 0, threading.Event())
    assert spoken.code == 77 or (spoken.code or 0) < 0
