"""Uploads by the shipped server against writing, syncing and hashing the same bytes without HTTP.

Both run in turns in the same minutes on the same disk; the best of each counts, because the machine's noise only
ever slows. ``--mib`` is the size, ``--patches`` how many requests carry it, ``--rounds`` how often both run.
"""

import argparse
import asyncio
import contextlib
import hashlib
import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from loadstone.identity import service as identity
from loadstone.identity.models import Credentials, NewToken, Registration
from loadstone.kernel.config import Config
from loadstone.kernel.migrate import migrate
from loadstone.kernel.platform import open_platform
from loadstone.kernel.postgres import EmbeddedPostgres

MIB = 1 << 20
PASSWORD = "a lodestone points north"


def local(folder: Path, content: memoryview) -> float:
    """Seconds to write, sync and hash ``content`` as a plain program would."""
    path = folder / "local"
    started = time.perf_counter()
    digest = hashlib.sha256()
    with path.open("wb", buffering=0) as file:
        for at in range(0, len(content), MIB):
            file.write(content[at : at + MIB])
            digest.update(content[at : at + MIB])
        os.fsync(file.fileno())
    digest.hexdigest()
    seconds = time.perf_counter() - started
    path.unlink()
    return seconds


def upload(port: int, token: str, content: memoryview, patches: int) -> float:
    """Seconds from the first byte to the last acknowledgement."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"Authorization": f"Bearer {token}", "Tus-Resumable": "1.0.0"}
    connection.request("POST", "/api/v1/uploads", headers=headers | {"Upload-Length": str(len(content))})
    answer = connection.getresponse()
    answer.read()
    address = answer.headers["Location"]
    assert answer.status == 201, answer.status
    size = -(-len(content) // patches)
    started = time.perf_counter()
    for at in range(0, len(content), size):
        connection.request(
            "PATCH",
            address,
            body=content[at : at + size],
            headers=headers | {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(at)},
        )
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 204, answer.status
    seconds = time.perf_counter() - started
    connection.request("GET", address, headers=headers)
    found = json.loads(connection.getresponse().read())
    assert found["state"] == "complete", found
    if found["sha256"] is not None:
        assert found["sha256"] == hashlib.sha256(content).hexdigest()
    connection.request("DELETE", address, headers=headers)
    connection.getresponse().read()
    return seconds


async def prepare(config: Config) -> str:
    """A migrated database with one member; the member's token."""
    await migrate(config.database_url)
    async with open_platform(config) as platform:
        await identity.make_member(platform, Registration("bench", "bench@example.org", PASSWORD), roles=())
        opened = await identity.log_in(platform, Credentials("bench", PASSWORD), agent="bench")
        token = await identity.make_token(platform, opened.actor, NewToken("bench", ["releases:publish"]))
        return str(token.secret)


@contextlib.contextmanager
def served(folder: Path, dsn: str) -> Iterator[tuple[int, str]]:
    """The shipped server on a free port, with its defaults; yields the port and a token."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    secret = secrets.token_hex(32)
    token = asyncio.run(prepare(Config(data=folder, database_url=dsn, secret_key=secret)))
    environment = os.environ | {
        "LOADSTONE_DATA": str(folder),
        "LOADSTONE_PORT": str(port),
        "LOADSTONE_DATABASE_URL": dsn,
        "LOADSTONE_SECRET_KEY": secret,
    }
    command = [sys.executable, "-m", "loadstone", "web"]
    with (folder / "web.log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_ready(port, server)
        yield port, token
    finally:
        server.terminate()
        server.wait(30)


def wait_ready(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server ended"
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.1)
    raise TimeoutError("the server does not get ready")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--patches", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="loadstone-bench-"))
    content = memoryview(secrets.token_bytes(options.mib * MIB))
    postgres = EmbeddedPostgres(folder / "postgres")
    try:
        dsn = postgres.start()
        with served(folder, dsn) as (port, token):
            limits, values = [], []
            for _ in range(options.rounds):
                limits.append(local(folder, content))
                values.append(upload(port, token, content, options.patches))
                print(f"local {options.mib / limits[-1]:.0f} MiB/s, upload {options.mib / values[-1]:.0f} MiB/s")
    finally:
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)
    value, limit = options.mib / min(values), options.mib / min(limits)
    print(f"{options.mib} MiB in {options.patches} request(s), MiB/s, best of {options.rounds}")
    result = {"bench": "upload", "value": round(value), "limit": round(limit), "ratio": round(value / limit, 3)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
