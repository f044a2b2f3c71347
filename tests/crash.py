"""kill -9 at random moments of upload, pipeline and install: nothing acknowledged is lost, nothing is half done.

``python -m tests.crash --kills 50 --seed 1``. A real platform runs under its supervisor; a creator uploads and
publishes without pause; a seeded killer takes the life of a web worker, the web process, the job worker,
PostgreSQL or the supervisor itself. At the end every acknowledged release must be published once, with the very
bytes that were sent, and the counters must equal the log. Then the player's client is killed the same way.
"""

import argparse
import asyncio
import base64
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil
from scripts.tour import Tour

from tests.factories import zip_bytes

TUS = {"Tus-Resumable": "1.0.0"}
VICTIMS = ("web worker", "web", "worker", "postgres", "supervisor")


class Sent(msgspec.Struct):
    """A release that the creator was told of."""

    version: str
    sha256: str
    release: str


class Creator:
    """Uploads and publishes without pause; takes every error as a reason to ask again."""

    def __init__(self, tour: Tour, mod: str, rng: random.Random) -> None:
        self.tour = tour
        self.mod = mod
        self.rng = rng
        self.sent: list[Sent] = []
        self.lost_offsets: list[str] = []
        self.broken = 0
        self.stop = asyncio.Event()
        headers = {"Authorization": f"Bearer {tour.token}"}
        self.http = httpx.AsyncClient(base_url=tour.address, headers=headers, timeout=20)

    async def run(self) -> None:
        number = 0
        while not self.stop.is_set():
            number += 1
            await self.publish(f"1.{number}.0")
        await self.http.aclose()

    async def publish(self, version: str) -> None:
        data = zip_bytes({"a.bin": self.rng.randbytes(self.rng.randrange(50_000, 900_000)), "v.txt": version})
        upload = await self.upload(data)
        body = {"version": version, "artifacts": [{"upload": upload}]}
        answer = await self.ask("POST", f"/api/v1/mods/{self.mod}/releases", json=body, key=f"release {version}")
        if answer.status_code == 409:  # it took effect, and the answer died with the server
            items = (await self.ask("GET", f"/api/v1/mods/{self.mod}/releases", params={"limit": 100})).json()["items"]
            release = next(item["id"] for item in items if item["version"] == version)
        else:
            assert answer.status_code in {201, 202}, answer.text
            release = answer.json()["release"]["id"]
        self.sent.append(Sent(version, hashlib.sha256(data).hexdigest(), release))
        if self.rng.random() < 0.5:
            await self.download(release)

    async def upload(self, data: bytes) -> str:
        while True:
            name = base64.b64encode(b"crash.zip").decode()
            answer = await self.ask(
                "POST",
                "/api/v1/uploads",
                headers={"Upload-Length": str(len(data)), "Upload-Metadata": f"filename {name}"},
            )
            assert answer.status_code in {201, 202}, answer.text
            place = answer.headers["location"]
            acknowledged = 0
            while acknowledged < len(data):
                step = data[acknowledged : acknowledged + self.rng.randrange(20_000, 200_000)]
                headers = {"Upload-Offset": str(acknowledged), "Content-Type": "application/offset+octet-stream"}
                with contextlib.suppress(httpx.HTTPError):
                    answer = await self.http.patch(place, content=step, headers=TUS | headers)
                    if answer.status_code == 204:
                        acknowledged = int(answer.headers["upload-offset"])
                        continue
                self.broken += 1
                head = await self.ask("HEAD", place)
                if head.status_code != 200:
                    self.lost_offsets.append(f"{place}: HEAD says {head.status_code} at {acknowledged}")
                    break
                there = int(head.headers["upload-offset"])
                if there < acknowledged:
                    self.lost_offsets.append(f"{place}: {acknowledged} were acknowledged, {there} are there")
                acknowledged = there
            else:
                return str(place.rsplit("/", 1)[-1])

    async def download(self, release: str) -> None:
        await self.ask("POST", f"/api/v1/releases/{release}/tickets", json={})

    async def ask(self, method: str, path: str, *, key: str | None = None, **options: Any) -> httpx.Response:
        """Ask until the answer is one: not a broken connection, not a 5xx, not “in progress”."""
        headers = TUS | options.pop("headers", {}) | ({"Idempotency-Key": key} if key else {})
        for _ in range(600):
            try:
                answer = await self.http.request(method, path, headers=headers, **options)
            except httpx.HTTPError:
                self.broken += 1
            else:
                code = answer.headers.get("content-type", "") and method != "HEAD" and answer.status_code >= 400
                in_progress = code and answer.json().get("code") == "idempotency-key-in-progress"
                if answer.status_code < 500 and answer.status_code != 423 and not in_progress:
                    return answer
                self.broken += 1
            await asyncio.sleep(0.25)
        raise AssertionError(f"{method} {path} got no answer")


class Killer:
    """Kills one process after another, by seed."""

    def __init__(self, tour: Tour, rng: random.Random) -> None:
        self.tour = tour
        self.rng = rng
        self.killed: dict[str, int] = dict.fromkeys(VICTIMS, 0)

    async def kill(self, number: int) -> None:
        for _ in range(number):
            await asyncio.sleep(self.rng.uniform(0.1, 2.5))
            victim = self.rng.choice(VICTIMS)
            pid = self.find(victim)
            if pid is None:
                victim, pid = "supervisor", self.tour.process.pid if self.tour.process else None
            if pid is None:
                continue
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self.killed[victim] += 1
            if victim == "supervisor" and self.tour.process:
                await asyncio.to_thread(self.tour.process.wait)
                await asyncio.to_thread(self.tour.start)

    def find(self, victim: str) -> int | None:
        assert self.tour.process is not None
        if victim == "supervisor":
            return self.tour.process.pid
        with contextlib.suppress(psutil.Error):
            family = psutil.Process(self.tour.process.pid).children(recursive=True)
            named = {"web": " -m loadstone web", "worker": " -m loadstone worker"}
            lines = [(p.pid, p.ppid(), " ".join(p.cmdline())) for p in family]
            if victim == "postgres":
                found = [pid for pid, _, line in lines if "postgres" in line and " -D " in line]
            elif victim == "web worker":
                web = {pid for pid, _, line in lines if line.endswith(named["web"])}
                found = [pid for pid, parent, _ in lines if parent in web]
            else:
                found = [pid for pid, _, line in lines if line.endswith(named[victim])]
            if found:
                return self.rng.choice(sorted(found))
        return None


async def settle(tour: Tour, sent: list[Sent], mod: str) -> list[str]:
    """Wait until nothing is on its way; what is wrong then."""
    wrong = []
    async with httpx.AsyncClient(base_url=tour.address, timeout=60, headers=tour.http.headers) as http:
        deadline = time.monotonic() + 180
        states: dict[str, Any] = {}
        while time.monotonic() < deadline:
            states, cursor = {}, None
            while True:
                query = {"limit": "100"} | ({"cursor": cursor} if cursor else {})
                page = (await http.get(f"/api/v1/mods/{mod}/releases", params=query)).json()
                states |= {item["id"]: item for item in page["items"]}
                cursor = page["next_cursor"]
                if cursor is None:
                    break
            if all(item["state"] != "processing" for item in states.values()):
                break
            await asyncio.sleep(0.5)
        for one in sent:
            found = states.get(one.release)
            if found is None:
                wrong.append(f"{one.version} was acknowledged and is not there")
            elif found["state"] != "published":
                wrong.append(f"{one.version} is {found['state']}: {found['state_reason']}")
            elif found["artifacts"][0]["sha256"] != one.sha256:
                wrong.append(f"{one.version} has other bytes than were sent")
            else:
                wrong += await check_bytes(http, one)
        versions = [item["version"] for item in states.values() if item["state"] == "published"]
        if len(versions) != len(set(versions)):
            wrong.append("a version was published twice")
    return wrong


async def check_bytes(http: httpx.AsyncClient, one: Sent) -> list[str]:
    ticket = (await http.post(f"/api/v1/releases/{one.release}/tickets", json={})).json()
    data = (await http.get(ticket["url"])).content
    if hashlib.sha256(data).hexdigest() != one.sha256:
        return [f"{one.version}: the served bytes have another digest"]
    return []


async def check_counters(tour: Tour) -> list[str]:
    """The public counters equal the log of grants, once the rollup has caught up."""
    from loadstone.cli.environment import with_database
    from loadstone.kernel.platform import open_platform

    os.environ.update({k: v for k, v in tour.environment.items() if k.startswith("LOADSTONE_")})
    with with_database(None) as config:
        async with open_platform(config) as platform:
            for _ in range(120):
                counted = await platform.db.fetchval("select coalesce(sum(downloads), 0)::bigint from mod_counters")
                logged = await platform.db.fetchval("select count(*) from grants")
                if counted == logged:
                    return []
                await asyncio.sleep(0.5)
            return [f"{logged} grants are in the log, {counted} in the counters"]


async def crash_platform(kills: int, seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="loadstone-crash-"))
    tour = Tour(folder, None)
    try:
        tour.start()
        tour.register()
        tour.make_game_and_mods()
        mod = tour.get("/api/v1/games/starfall/mods/keel-core")["id"]
        creator = Creator(tour, mod, random.Random(seed + 1))
        killer = Killer(tour, rng)
        working = asyncio.create_task(creator.run())
        await killer.kill(kills)
        creator.stop.set()
        await asyncio.wait_for(working, 300)
        wrong = creator.lost_offsets + await settle(tour, creator.sent, mod) + await check_counters(tour)
        return {
            "kills": killer.killed,
            "releases": len(creator.sent),
            "requests_that_broke": creator.broken,
            "wrong": wrong,
        }
    finally:
        tour.stop()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=60, help="half of the platform's processes, half of the client")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    report = asyncio.run(crash_platform(options.kills - options.kills // 2, options.seed))
    client = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.client.crash_install",
            "--kills",
            str(options.kills // 2),
            "--seed",
            str(options.seed),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    print(client.stdout.strip() or client.stderr[-2000:])
    print(json.dumps({"crash": "platform", "seed": options.seed, "seconds": round(time.monotonic() - began), **report}))
    return 1 if report["wrong"] or client.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
