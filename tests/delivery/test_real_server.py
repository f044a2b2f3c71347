"""The file server behind the real web server: what raw bytes on the wire get."""

import asyncio
import hashlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest_asyncio

from loadstone.kernel.platform import Platform
from loadstone.kernel.processes import launch_command, spawn
from tests.delivery.releases import Published, publish

SIZE = 24 << 20


@pytest_asyncio.fixture
async def big(platform: Platform, mod: dict[str, Any]) -> Published:
    """A release with a file that fits in no socket's buffer."""
    return await publish(platform, mod, os.urandom(SIZE))


@pytest_asyncio.fixture
async def address(platform: Platform) -> AsyncIterator[str]:
    """The address of ``loadstone web`` with one worker on this test's database and files."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "LOADSTONE_DATA": str(platform.config.data), "LOADSTONE_DATABASE_URL": platform.db.dsn,
        "LOADSTONE_SECRET_KEY": platform.config.secret_key, "LOADSTONE_PORT": str(port), "LOADSTONE_WORKERS": "1",
        "LOADSTONE_LOG_LEVEL": "error",
    }  # fmt: skip
    argv = [str(Path(sys.executable).with_name("loadstone")), "web"]
    process = spawn(launch_command(argv, death_signal=signal.SIGKILL), env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient() as client, asyncio.timeout(90):
            while True:
                try:
                    if (await client.get(f"{url}/readyz")).status_code == 200:
                        break
                except httpx.TransportError:
                    assert process.poll() is None, "the server ended by itself"
                await asyncio.sleep(0.1)
        yield url
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)


async def link(address: str, release: Published) -> str:
    async with httpx.AsyncClient(base_url=address) as client:
        answer = await client.post(release.tickets, json={})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["url"])


async def test_whole_files_parts_and_resumed_transfers_are_the_file(address: str, big: Published) -> None:
    url = await link(address, big)
    async with httpx.AsyncClient() as client:
        whole = await client.get(url)
        assert hashlib.sha256(whole.content).hexdigest() == big.sha256
        async with client.stream("GET", url) as broken:
            got = b""
            async for chunk in broken.aiter_bytes():
                got += chunk
                if len(got) > SIZE // 3:
                    break
        resumed = await client.get(url, headers={"Range": f"bytes={len(got)}-", "If-Range": broken.headers["etag"]})
        assert resumed.status_code == 206
        assert got + resumed.content == big.content
        middle = await client.get(url, headers={"Range": "bytes=1000000-2999999"})
        assert middle.content == big.content[1_000_000:3_000_000]


async def test_clients_that_leave_in_the_middle_leave_nothing_running(address: str, big: Published) -> None:
    url = await link(address, big)
    async with httpx.AsyncClient(timeout=60) as client:
        for _ in range(20):
            async with client.stream("GET", url, headers={"Range": "bytes=1-"}) as answer:
                async for _ in answer.aiter_bytes(1000):
                    break
        metrics = ""
        async with asyncio.timeout(30):
            while "loadstone_requests_in_flight 1.0" not in metrics:  # the one that asks
                metrics = (await client.get(f"{address}/metrics")).text
        assert (await client.get(url)).content == big.content


async def test_a_slow_reader_makes_the_server_wait_not_swell(address: str, big: Published) -> None:
    path = urlsplit(await link(address, big)).path
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(address).port, limit=1 << 16)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nRange: bytes=0-\r\nConnection: close\r\n\r\n".encode())
    await asyncio.sleep(1)
    async with httpx.AsyncClient() as client:
        sent = next(
            float(line.split()[1])
            for line in (await client.get(f"{address}/metrics")).text.splitlines()
            if line.startswith("loadstone_served_bytes_total ")
        )
    assert sent < SIZE, "what nobody reads is not read ahead of them"
    answer = await reader.read()
    writer.close()
    assert answer.partition(b"\r\n\r\n")[2] == big.content


async def test_bad_addresses_and_headers_get_an_answer_below_500(address: str, big: Published) -> None:
    for target in (
        "/files/../../../../etc/passwd", "/files/..%2f..%2fetc%2fpasswd", "/files/%00", "/files/%ff%fe/%c0%ae",
        "/files/\\..\\x", "/files/" + "A" * 60_000, "/files/x?a=%00", "/files//etc/passwd", "/files/%",
    ):  # fmt: skip
        status = await raw_status(address, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert status in {400, 403, 404, 414, 431}, target
    path = urlsplit(await link(address, big)).path
    for header in (
        "Range: bytes=" + "0-0," * 10_000, "Range: \x01\x02", "Range: bytes=0-" + "9" * 20_000,
        "If-Range: " + "x" * 9000, "If-None-Match: " + '"a",' * 5000, "Range: bytes=-0", "Content-Length: 5",
    ):  # fmt: skip
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\n{header}\r\nConnection: close\r\n\r\n"
        assert 200 <= await raw_status(address, request) < 500, header


async def raw_status(address: str, request: str) -> int:
    """The status that raw bytes get."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(address).port)
    writer.write(request.encode("latin-1"))
    async with asyncio.timeout(30):
        line = await reader.readline()
    writer.close()
    return int(line.split()[1])
