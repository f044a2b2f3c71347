"""The mod page's JSON, uncached, against a raw ASGI application with one asyncpg point read, on the same server.

Both run under Granian with one worker, the shipped configuration, the same PostgreSQL and the same rows; wrk asks
for mods at random. Rounds alternate, so that the machine's drift hits both. Prints requests a second.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from scripts.tour import free_port

from loadstone.catalog import authoring
from loadstone.catalog.models import NewGame, NewMod
from loadstone.identity import service as identity
from loadstone.identity.models import Actor, Registration
from loadstone.kernel.config import Config
from loadstone.kernel.ids import decode
from loadstone.kernel.migrate import migrate
from loadstone.kernel.platform import open_platform
from loadstone.kernel.postgres import EmbeddedPostgres

MODS = 500
ROUNDS = 5
SECONDS = 4
RAW = """
import os, random
import asyncpg, msgspec
POOL = None
SQL = ("select m.id, m.name, m.summary, m.description, m.tags, m.updated_at, g.slug from mods m"
       " join games g on g.id = m.game_id where g.slug = $1 and m.slug = $2")
async def app(scope, receive, send):
    global POOL
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                POOL = await asyncpg.create_pool(os.environ["DSN"], min_size=8, max_size=8)
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    parts = scope["path"].split("/")
    row = await POOL.fetchrow(SQL, parts[4], parts[6])
    body = msgspec.json.encode(dict(row))
    await send({"type": "http.response.start", "status": 200, "headers": [
        (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
"""
LUA = """
math.randomseed(os.time())
request = function()
  return wrk.format("GET", "/api/v1/games/bench/mods/mod-" .. math.random(0, %d))
end
"""


async def fill(config: Config) -> None:
    async with open_platform(config) as platform:
        account = await identity.make_member(platform, Registration("bench", "bench@example.org", "a lodestone points"))
        actor = Actor(decode("member", account.id), "bench", frozenset({"admin"}))
        await authoring.add_game(platform, actor, NewGame(slug="bench", name="Bench"))
        for n in range(MODS):
            new = NewMod(
                name=f"Mod {n}", slug=f"mod-{n}", summary="A mod to be measured.", description="Words. " * 250,
                tags=["a", "b"], visibility="published",
            )  # fmt: skip
            await authoring.make_mod(platform, actor, "bench", new)


def serve(target: str, port: int, folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "granian", "--interface", "asgi", "--port", str(port), "--workers", "1",
        "--loop", "uvloop", "--no-ws", "--backlog", "2048", *(["--factory"] if target.endswith("application") else []),
        target,
    ]  # fmt: skip
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(address: str) -> None:
    for _ in range(240):
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(address).status_code == 200:
                return
        time.sleep(0.25)
    raise SystemExit(f"{address} did not answer")


def load(port: int, script: Path, seconds: int) -> float:
    done = subprocess.run(
        ["wrk", "-t1", "-c32", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{port}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    if "Non-2xx" in done.stdout:
        raise SystemExit(done.stdout)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1])


def main() -> int:
    if not shutil.which("wrk"):
        print("This bench needs the program wrk (Debian: apt-get install wrk).", file=sys.stderr)
        return 1
    folder = Path(tempfile.mkdtemp(prefix="loadstone-bench-"))
    children = []
    with EmbeddedPostgres(folder / "pg") as server:
        try:
            dsn = server.start()
            asyncio.run(migrate(dsn))
            config = Config(data=folder / "data", database_url=dsn)
            asyncio.run(fill(config))
            (folder / "raw.py").write_text(RAW)
            (folder / "ask.lua").write_text(LUA % (MODS - 1))
            ports = free_port(), free_port()
            environment = {k: v for k, v in os.environ.items() if not k.startswith("LOADSTONE_")}
            ours = {**environment, "LOADSTONE_DATA": str(config.data), "LOADSTONE_DATABASE_URL": dsn}
            children.append(serve("loadstone.cli.web:application", ports[0], folder, ours))
            children.append(serve("raw:app", ports[1], folder, {**environment, "DSN": dsn, "PYTHONPATH": str(folder)}))
            for port in ports:
                wait_for(f"http://127.0.0.1:{port}/api/v1/games/bench/mods/mod-0")
            for port in ports:
                load(port, folder / "ask.lua", 2)
            script = folder / "ask.lua"
            rates = [(load(ports[0], script, SECONDS), load(ports[1], script, SECONDS)) for _ in range(ROUNDS)]
        finally:
            for child in children:
                child.terminate()
                child.wait(20)
    shutil.rmtree(folder, ignore_errors=True)
    value, limit = (statistics.median(column) for column in zip(*rates, strict=True))
    ratio = statistics.median(a / b for a, b in rates)
    row = {"bench": "mod_page", "value": round(value), "limit": round(limit), "ratio": round(ratio, 3)}
    print(json.dumps(row | {"unit": "requests/s", "aim": 0.4}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
