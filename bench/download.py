"""Downloads by the shipped server against nginx serving the same file from the same disk, side by side.

Rounds alternate, so that the machine's drift hits both; the median of the rounds' ratios counts. The client
throws the bytes away in the kernel, so that it costs neither side much. One line is for whole files, one for
a range (a resumed transfer), which takes another way through the server. ``--mib`` is the file's size.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from loadstone.catalog import authoring
from loadstone.catalog.models import NewGame, NewMod
from loadstone.identity.models import Actor
from loadstone.kernel.config import Config
from loadstone.kernel.ids import decode, encode
from loadstone.kernel.migrate import migrate
from loadstone.kernel.platform import open_platform
from loadstone.kernel.postgres import EmbeddedPostgres

MIB = 1 << 20
AIM = 0.4
NGINX = """
daemon off; worker_processes 2; pid {folder}/nginx.pid; error_log {folder}/nginx.log; {user}
events {{ worker_connections 256; }}
http {{
  access_log {folder}/access.log; sendfile on; tcp_nopush on; default_type application/octet-stream;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen 127.0.0.1:{port}; root {folder}/data/blobs; }}
}}
"""


async def publish(config: Config, size: int) -> tuple[str, str]:
    """A published release with a file of random bytes; the release's id and the file's SHA-256."""
    await migrate(config.database_url)
    async with open_platform(config) as platform:
        member, artifact, release = (platform.ids.new() for _ in range(3))
        async with platform.transaction() as tx:
            await tx.execute(
                "insert into members (id, name, name_key, email, email_key, password)"
                " values ($1, 'bench', 'bench', 'b@example.org', 'b@example.org', '')",
                member,
            )
        actor = Actor(member, "bench", frozenset({"admin"}))
        await authoring.add_game(platform, actor, NewGame(slug="bench", name="Bench"))
        mod = await authoring.make_mod(platform, actor, "bench", NewMod(name="Big", visibility="published"))

        async def content() -> AsyncIterator[bytes]:
            for _ in range(size // MIB):
                yield secrets.token_bytes(MIB)

        sha256, _ = await platform.blobs.put_stream(content())
        async with platform.transaction() as tx:
            await tx.execute(
                "insert into artifacts (id, sha256, size, verdict) values ($1, $2, $3, 'clean')",
                artifact, bytes.fromhex(sha256), size,
            )  # fmt: skip
            await tx.execute(
                "insert into releases (id, chain_id, mod_id, game_id, version, version_key, place, state, published_at)"
                " select $1, id, mod_id, game_id, '1.0', '1.0', 1, 'published', now() from chains where mod_id = $2",
                release, decode("mod", mod.id),
            )  # fmt: skip
            await tx.execute(
                "insert into release_artifacts (release_id, artifact_id, file_name) values ($1, $2, 'big.zip')",
                release, artifact,
            )  # fmt: skip
    return encode("release", release), sha256


def fetch(port: int, path: str, want: str = "") -> tuple[float, int]:
    """Bytes of body a second and the body's length; the body is thrown away unread."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * MIB)
        extra = f"Range: {want}\r\n" if want else ""
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n{extra}Connection: close\r\n\r\n".encode())
        began = time.perf_counter()
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        start, _, rest = head.partition(b"\r\n\r\n")
        if start.split()[1] not in {b"200", b"206"}:
            raise SystemExit(head.decode("latin-1"))
        size = len(rest)
        # MSG_TRUNC drops what has arrived without copying it to us; elsewhere it is copied.
        drop = getattr(socket, "MSG_TRUNC", 0) if sys.platform == "linux" else 0
        buffer = bytearray(4 * MIB)
        while got := connection.recv_into(buffer, 0, drop):
            size += got
        return size / (time.perf_counter() - began), size


def ticket(port: int, release: str) -> str:
    """The path of a fresh link."""
    answer = httpx.post(f"http://127.0.0.1:{port}/api/v1/releases/{release}/tickets", json={})
    answer.raise_for_status()
    return urlsplit(str(answer.json()["url"])).path


@contextlib.contextmanager
def running(command: list[str], ready: str, log: Path, environment: dict[str, str] | None = None) -> Iterator[None]:
    """A server, from its first answer on."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        for _ in range(240):
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(ready).status_code < 500:
                    break
            if process.poll() is not None:
                raise SystemExit(f"{command[0]} ended by itself:\n{log.read_text('utf-8', 'replace')[-2000:]}")
            time.sleep(0.25)
        yield
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure(folder: Path, dsn: str, nginx: str, size: int, rounds: int) -> None:
    config = Config(data=folder / "data", database_url=dsn, secret_key=secrets.token_hex(32))
    release, sha256 = asyncio.run(publish(config, size))
    ours, theirs = free_port(), free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=theirs, user=user), "utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LOADSTONE_")} | {
        "LOADSTONE_DATA": str(config.data), "LOADSTONE_DATABASE_URL": dsn, "LOADSTONE_PORT": str(ours),
        "LOADSTONE_SECRET_KEY": config.secret_key,
    }  # fmt: skip
    static = f"/blobs/{sha256[:2]}/{sha256[2:4]}/{sha256}"
    with (
        running(
            [sys.executable, "-m", "loadstone", "web"], f"http://127.0.0.1:{ours}/readyz", folder / "w", environment
        ),
        running([nginx, "-c", str(folder / "nginx.conf")], f"http://127.0.0.1:{theirs}/", folder / "n"),
    ):
        body = httpx.get(f"http://127.0.0.1:{ours}{ticket(ours, release)}").content
        if hashlib.sha256(body).hexdigest() != sha256:
            raise SystemExit("the server sends other bytes than the file's")
        del body
        for name, want in (("download", ""), ("download_range", f"bytes=1-{size - 1}")):
            expected = size - (1 if want else 0)
            pairs = []
            for _ in range(rounds + 1):
                pair = fetch(ours, ticket(ours, release), want), fetch(theirs, static, want)
                if {n for _, n in pair} != {expected}:
                    raise SystemExit(f"{[n for _, n in pair]} bytes came instead of {expected}")
                pairs.append((pair[0][0], pair[1][0]))
            report(name, pairs[1:])  # the first round warms both


def report(name: str, pairs: list[tuple[float, float]]) -> None:
    value, limit = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    row = {"bench": name, "value": round(value / MIB), "limit": round(limit / MIB), "ratio": round(ratio, 3)}
    print(json.dumps(row | {"unit": "MiB/s", "aim": AIM}), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    nginx = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if nginx is None:
        print(
            "This bench compares with the program nginx, which is not installed (Debian: nginx-light).", file=sys.stderr
        )
        return 1
    folder = Path(tempfile.mkdtemp(prefix="loadstone-bench-"))
    try:
        with EmbeddedPostgres(folder / "pg") as server:
            measure(folder, server.start(), nginx, options.mib * MIB, options.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
