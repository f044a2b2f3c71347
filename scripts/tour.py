"""The whole way, real, against a freshly started platform: import, register, publish, search, resolve, install, update.

Prints each step with its time; ends with 0 when every step did what it should.
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[1]
LOADSTONE = [sys.executable, "-m", "loadstone"]
PASSWORD = "a lodestone points north"


class Tour:
    """A running platform and what the steps leave for each other."""

    def __init__(self, folder: Path, catalogue: Path | None) -> None:
        self.folder = folder
        self.catalogue = catalogue
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.address, timeout=60)
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("LOADSTONE_")},
            "LOADSTONE_DATA": str(folder / "data"),
            "LOADSTONE_PORT": str(self.port),
            "LOADSTONE_LOG_LEVEL": "warning",
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.token = ""

    def run(self, *arguments: str, **extra: str) -> str:
        """A `loadstone` command; its standard output."""
        environment = {**self.environment, "LOADSTONE_URL": self.address, **extra}
        done = subprocess.run(
            [*LOADSTONE, *arguments], env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode != 0:
            raise AssertionError(
                f"loadstone {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-2000:]}"
            )
        return done.stdout

    # The steps, in order.

    def start(self) -> str:
        log = (self.folder / "log.txt").open("wb")
        self.process = subprocess.Popen([*LOADSTONE, "up", "--no-seed"], env=self.environment, stdout=log, stderr=log)
        self.wait_until_ready(120)
        return self.address

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)

    def start_again(self) -> str:
        self.stop()
        began = time.monotonic()
        self.start()
        return f"second start took {time.monotonic() - began:.1f} s"

    def wait_until_ready(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if self.http.get("/readyz").status_code == 200:
                    return
            if self.process and self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(f"the platform did not start:\n{(self.folder / 'log.txt').read_text('utf-8')[-2000:]}")

    def import_catalogue(self) -> str:
        if self.catalogue is None:
            return "left out: name the file with --catalogue to import a real one"
        report = json.loads(self.run("import", "ckan", str(self.catalogue), "--json").strip().splitlines()[-1])
        found = self.get("/api/v1/games/kerbal-space-program/mods", sort="name", limit="3")["items"]
        assert found, "the imported mods are not listed"
        return ", ".join(f"{k} {v}" for k, v in report.items() if isinstance(v, int))

    def register(self) -> str:
        answer = self.http.post(
            "/api/v1/members", json={"name": "carl", "email": "carl@example.org", "password": PASSWORD}
        )
        assert answer.status_code == 201, answer.text
        session = self.http.post("/api/v1/session", json={"login": "carl", "password": PASSWORD}).json()
        made = self.http.post(
            "/api/v1/tokens",
            json={"name": "tour", "scopes": ["mods:write", "releases:publish", "downloads", "admin"]},
            headers={"X-CSRF-Token": session["csrf"]},
        )
        assert made.status_code == 201, made.text
        self.token = made.json()["secret"]
        self.run("member", "carl", "admin", "creator")
        self.http.cookies.clear()
        self.http.headers["Authorization"] = f"Bearer {self.token}"
        return "carl has an account and a token"

    def make_game_and_mods(self) -> str:
        self.post("/api/v1/games", slug="starfall", name="Starfall", version_scheme="semver", builds=["1.0.0", "1.1.0"])
        for name in ("Keel Core", "Ember Blades"):
            self.post("/api/v1/games/starfall/mods", name=name, visibility="published", summary=f"{name} of the tour.")
        return "starfall/keel-core, starfall/ember-blades"

    def publish(self) -> str:
        self.release("keel-core", "2.0.0", {"keel/core.txt": "core 2"})
        self.release("ember-blades", "1.0.0", {"blades/one.txt": "first", "README.txt": "one"}, "keel-core ^2.0.0")
        return "two releases, one requires the other"

    def release(self, mod: str, version: str, files: dict[str, str], *requires: str) -> None:
        path = self.folder / f"{mod}-{version}.zip"
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        path.write_bytes(buffer.getvalue())
        needs = [part for one in requires for part in ("--requires", one)]
        output = self.run(
            "publish", f"starfall/{mod}", str(path), "--version", version, *needs, "--json", LOADSTONE_TOKEN=self.token
        )
        assert json.loads(output)["state"] == "published", output

    def search(self) -> str:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            answer = self.http.get("/api/v1/search", params={"q": "embr blades", "game": "starfall"})
            if answer.status_code == 200 and answer.json()["items"]:
                return f"“embr blades” finds {answer.json()['items'][0]['name']}"
            time.sleep(0.1)
        raise AssertionError("the published mod is not found")

    def resolve(self) -> str:
        answer = self.post("/api/v1/resolve", status=200, game="starfall", wanted=[{"mod": "ember-blades"}])
        names = [f"{entry['package']} {entry['version']}" for entry in answer["plan"]]
        assert len(names) == 2, answer
        return ", ".join(names)

    def install(self) -> str:
        self.run("install", "starfall/ember-blades", "--into", str(self.folder / "mods"), "--yes")
        found = sorted(str(p.relative_to(self.folder / "mods")) for p in self.installed())
        assert any(p.endswith("one.txt") for p in found), found
        assert any(p.endswith("core.txt") for p in found), found
        return ", ".join(found)

    def installed(self) -> Iterator[Path]:
        for path in (self.folder / "mods").rglob("*"):
            if path.is_file() and ".loadstone" not in path.parts:
                yield path

    def update(self) -> str:
        self.release("ember-blades", "1.1.0", {"blades/two.txt": "second"}, "keel-core ^2.0.0")
        self.run("update", "--into", str(self.folder / "mods"), "--yes")
        names = {p.name for p in self.installed()}
        assert "two.txt" in names, names
        assert "one.txt" not in names, names
        self.run("verify", "--into", str(self.folder / "mods"))
        return "1.0.0 → 1.1.0; files of the old release are gone, the rest verifies"

    def count(self) -> str:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found = self.get("/api/v1/games/starfall/mods/ember-blades")["downloads"]
            if found == 2:
                return "two granted downloads, counted as two"
            time.sleep(0.1)
        raise AssertionError(f"the counter says {found}")

    def see_pages(self) -> str:
        pages = ["/", "/games/starfall", "/games/starfall/mods/ember-blades", "/search?q=ember", "/docs", "/graphql"]
        for page in pages:
            answer = self.http.get(page, headers={"Accept": "text/html"})
            assert answer.status_code == 200, (page, answer.status_code)
        return f"{len(pages)} pages"

    def get(self, path: str, **query: str) -> Any:
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, status: int = 201, **body: Any) -> Any:
        answer = self.http.post(path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--catalogue", type=Path, help="ckan.jsonl.zst, a tar.gz or a folder of .ckan files")
    parser.add_argument("--keep", action="store_true", help="leave the folder behind")
    options = parser.parse_args()
    default = ROOT.parent / "shared" / "data" / "ckan.jsonl.zst"
    catalogue = options.catalogue or (default if default.exists() else None)
    folder = Path(tempfile.mkdtemp(prefix="loadstone-tour-"))
    tour = Tour(folder, catalogue)
    steps: list[tuple[str, Callable[[], str]]] = [
        ("start", tour.start),
        ("import a real catalogue", tour.import_catalogue),
        ("register a creator", tour.register),
        ("make a game and two mods", tour.make_game_and_mods),
        ("publish", tour.publish),
        ("search", tour.search),
        ("resolve", tour.resolve),
        ("install", tour.install),
        ("update", tour.update),
        ("count", tour.count),
        ("look at the site", tour.see_pages),
        ("stop and start again", tour.start_again),
    ]
    try:
        for name, step in steps:
            began = time.monotonic()
            try:
                said = step()
            except AssertionError as error:
                print(f"✗ {name}: {error}")
                return 1
            print(f"✓ {name:<26} {time.monotonic() - began:6.2f} s   {said}", flush=True)
    finally:
        tour.stop()
        if options.keep:
            print(f"left in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print("The tour is complete.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
