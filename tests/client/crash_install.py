"""Kills the player's client again and again and looks at what it leaves: the old state or the new one.

``python -m tests.client.crash_install --kills 50 --seed 1`` prints one JSON line; status 1 if anything was half
done. Each round takes one of the scenes below, kills the client before a step drawn by the seed, sometimes
kills the recovery as well, and then compares the folder with the old and the new one, byte for byte.
"""

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from loadstone.client import open_player
from loadstone.client.state import State, read_state
from tests.client.dying import Ended, run_client
from tests.client.helpers import install, remove, tree, update
from tests.client.shop import Shop, open_shop

Look = tuple[dict[str, bytes], State]


class Scene(msgspec.Struct):
    """A folder before a command, the command, and how the folder looks before and after it."""

    name: str
    folder: Path
    command: list[str]
    old: Look
    new: Look
    steps: int = 0


class Death(msgspec.Struct, frozen=True):
    """One round: where the client died, whether its recovery did too, and what was left."""

    scene: str
    step: int
    recovery_step: int
    left: str
    complaint: str = ""


def stock(shop: Shop) -> None:
    """Mods whose releases add, replace, drop and rename files, and turn files into folders."""
    rng = random.Random(7)
    shop.publish("base", "1.0", {"lib/base.dll": rng.randbytes(3000), "lib/shared.txt": "shared"})
    shop.publish("other", "1.0", {"other.txt": "other", "lib/shared.txt": "shared"})
    shop.publish(
        "swords", "1.0",
        {"data/a.dds": rng.randbytes(5000), "data/deep/er/b.dds": b"b" * 999, "gone.txt": "g", "thing": "a file"},
        requires=["base"],
    )  # fmt: skip


def publish_second(shop: Shop) -> None:
    shop.publish("base", "2.0", {"lib/base.dll": b"newer base", "lib/more/m.txt": "m", "lib/shared.txt": "shared"})
    files: dict[str, bytes | str] = {
        "data/a.dds": b"newer a", "data/new/c.dds": b"c" * 2000, "thing/inside.txt": "a folder now",
    }  # fmt: skip
    shop.publish("swords", "2.0", files | {f"many/{n}.txt": f"{n}" for n in range(6)}, requires=["base"])


def look(folder: Path) -> Look:
    """What is in the folder; the transaction's name and the times of files differ from run to run."""
    state = read_state(folder)
    mods = tuple(
        msgspec.structs.replace(m, files=tuple(msgspec.structs.replace(f, mtime_ns=0) for f in m.files))
        for m in state.mods
    )
    return tree(folder), msgspec.structs.replace(state, txn="", mods=mods)


def make_scenes(shop: Shop, work: Path) -> list[Scene]:
    """The folders to start from, made once, each with the result of the undisturbed command."""
    stock(shop)
    empty = work / "empty"
    empty.mkdir()
    (empty / "save.dat").write_text("the player's own")
    first = work / "first"
    shutil.copytree(empty, first)
    install(shop, first, "swords", "other")
    (first / "data/deep/er/b.dds").write_text("changed by the player")
    publish_second(shop)
    scenes = [
        _scene("install", work, empty, ["install", "starfall/swords", "starfall/other"], shop, install_both),
        _scene("update", work, first, ["update"], shop, update),
        _scene("remove", work, first, ["remove", "swords", "other"], shop, remove_both),
    ]
    for scene in scenes:
        scene.steps = _count(shop, work, scene)
    return scenes


def install_both(shop: Shop, folder: Path) -> object:
    return install(shop, folder, "swords", "other")


def remove_both(_shop: Shop, folder: Path) -> object:
    return remove(folder, "swords", "other")


def _scene(
    name: str, work: Path, folder: Path, command: list[str], shop: Shop, undisturbed: Callable[[Shop, Path], object]
) -> Scene:
    after = work / f"{name}-after"
    shutil.copytree(folder, after)
    undisturbed(shop, after)
    return Scene(name, folder, command, look(folder), look(after))


def _count(shop: Shop, work: Path, scene: Scene) -> int:
    folder = work / f"{scene.name}-count"
    shutil.copytree(scene.folder, folder)
    done = _client(folder, shop, 0, scene.command)
    assert done.code == 0, done.complaint
    assert look(folder) == scene.new
    return done.steps


def _client(folder: Path, shop: Shop, step: int, command: list[str]) -> Ended:
    return run_client(folder, shop.url, step, command[0], command[1:])


def kill_once(shop: Shop, work: Path, scene: Scene, rng: random.Random, number: int) -> Death:
    """One round. ``left`` is old, new, or half with the complaint."""
    folder = work / f"round-{number}"
    shutil.copytree(scene.folder, folder, symlinks=True)
    # The client spends most steps on getting and staging files; half of the kills are for what comes after.
    step = rng.randint(1, scene.steps) if rng.random() < 0.5 else rng.randint(scene.steps // 2, scene.steps)
    died = _client(folder, shop, step, scene.command)
    if died.code != -signal.SIGKILL:
        return Death(scene.name, step, 0, "half", f"the client did not die: {died}")
    again = rng.randint(1, 30) if rng.random() < 0.5 else 0
    if again:
        _client(folder, shop, again, ["list"])
    try:
        with open_player(folder):
            pass
        seen = look(folder)
        left = "old" if seen == scene.old else "new" if seen == scene.new else "half"
        complaint = "" if left != "half" else f"{sorted(set(seen[0]) ^ set(scene.old[0]))}"
        if left == "old" and number % 3 == 0:  # and it can be done again, to the end
            done = _client(folder, shop, 0, scene.command)
            if done.code != 0 or look(folder) != scene.new:
                left, complaint = "half", f"the second attempt: {done}"
        remains = {path.name for path in (folder / ".loadstone").glob("*")} - {"lock", "state.json"}
        if left == "new" and not remains <= {"downloads"}:
            left, complaint = "half", f"remains: {sorted(remains)}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        left, complaint = "half", repr(error)
    shutil.rmtree(folder)
    return Death(scene.name, step, again, left, complaint)


def run(kills: int, seed: int, *, on_death: Callable[[Death], None] = lambda _death: None) -> list[Death]:
    """Kill the client ``kills`` times, over all scenes in turn."""
    rng = random.Random(seed)
    work = Path(tempfile.mkdtemp(prefix="ls-crash-"))
    deaths = []
    try:
        with open_shop() as shop:
            scenes = make_scenes(shop, work)
            for number in range(kills):
                deaths.append(kill_once(shop, work, scenes[number % len(scenes)], rng, number))
                on_death(deaths[-1])
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return deaths


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    started = time.monotonic()

    def told(death: Death) -> None:
        if death.left == "half":
            print(f"half done: {death}", file=sys.stderr)

    deaths = run(options.kills, options.seed, on_death=told)
    count = {left: sum(death.left == left for death in deaths) for left in ("old", "new", "half")}
    summary = {"crash": "install", "seed": options.seed, "kills": len(deaths), **count}
    print(json.dumps(summary | {"seconds": round(time.monotonic() - started, 1)}))
    return 1 if count["half"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
