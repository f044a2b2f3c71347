"""The independent tus client, and cut connections, against the shipped server process."""

import asyncio
import hashlib
import io
import random
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError, TusUploadFailed
from tusclient.storage.filestorage import FileStorage

from loadstone.kernel.ids import decode
from loadstone.kernel.platform import Platform
from loadstone.publishing.receiving import CHECKPOINT_BYTES
from loadstone.publishing.staging import LocalStaging
from tests.factories import Person
from tests.publishing.conftest import BYTES, StartServer, start_upload

CONTENT = bytes(range(256)) * 12_345


def tus(url: str, ada: Person) -> Any:
    return TusClient(f"{url}/api/v1/uploads", headers={"Authorization": f"Bearer {ada.token}"})


async def state(ada: Person, address: str) -> dict[str, Any]:
    answer = await ada.http.get(urlsplit(address).path)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_tuspy_uploads_in_chunks_with_checksums(ada: Person, start_server: StartServer) -> None:
    server = await start_server()
    uploader = tus(server.url, ada).uploader(
        file_stream=io.BytesIO(CONTENT),
        chunk_size=500_000,
        metadata={"filename": "größe.zip"},
        upload_checksum=True,
    )
    await asyncio.to_thread(uploader.upload)
    found = await state(ada, uploader.url)
    assert found["state"] == "complete"
    assert found["file_name"] == "größe.zip"
    assert found["sha256"] == hashlib.sha256(CONTENT).hexdigest()


async def test_tuspy_resumes_in_another_process_what_an_interruption_left(
    ada: Person, start_server: StartServer, tmp_path: Path
) -> None:
    storage: Any = FileStorage(str(tmp_path / "urls"))  # type: ignore[no-untyped-call]
    source = tmp_path / "mod.zip"
    source.write_bytes(CONTENT)
    first = await start_server()
    uploader = tus(first.url, ada).uploader(str(source), chunk_size=700_000, store_url=True, url_storage=storage)
    await asyncio.to_thread(uploader.upload, stop_at=1_400_000)
    first.kill()
    with pytest.raises((TusUploadFailed, TusCommunicationError)):
        await asyncio.to_thread(uploader.upload_chunk)

    second = await start_server()
    resumed = tus(second.url, ada).uploader(
        str(source), url=second.url + urlsplit(uploader.url).path, chunk_size=700_000
    )
    assert resumed.offset == 1_400_000
    await asyncio.to_thread(resumed.upload)
    found = await state(ada, resumed.url)
    assert (found["state"], found["received"]) == ("complete", len(CONTENT))
    assert found["sha256"] is None  # no process saw the whole stream: the pipeline will find it


async def test_what_a_cut_connection_brought_stays(ada: Person, start_server: StartServer, platform: Platform) -> None:
    server = await start_server()
    host = urlsplit(server.url)
    async with httpx.AsyncClient(base_url=server.url, headers=ada.http.headers) as http:
        made = await http.post("/api/v1/uploads", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "3000000"})
        address = made.headers["location"]
        with socket.create_connection((host.hostname or "", host.port or 0)) as connection:
            head = (
                f"PATCH {address} HTTP/1.1\r\nHost: {host.netloc}\r\nAuthorization: Bearer {ada.token}\r\n"
                "Tus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Length: 3000000\r\n"
                "Content-Type: application/offset+octet-stream\r\n\r\n"
            )
            connection.sendall(head.encode() + CONTENT[:2_000_000])
            await asyncio.sleep(0.5)
            busy = await http.patch(
                address,
                content=CONTENT[:3_000_000],
                headers=BYTES | {"Upload-Offset": "0"},
            )
            assert busy.status_code == 423, busy.text
        offset = 0
        for _ in range(100):
            answer = await http.head(address, headers={"Tus-Resumable": "1.0.0"})
            offset = int(answer.headers["upload-offset"])
            if offset:
                break
            await asyncio.sleep(0.1)
        assert offset == 2_000_000
        answer = await http.patch(
            address,
            content=CONTENT[offset:3_000_000],
            headers=BYTES | {"Upload-Offset": str(offset)},
        )
        assert answer.status_code == 204, answer.text
    found = await state(ada, address)
    assert found["sha256"] == hashlib.sha256(CONTENT[:3_000_000]).hexdigest()


async def test_a_server_killed_in_the_middle_of_a_request_loses_no_acknowledged_byte(
    ada: Person, start_server: StartServer, platform: Platform
) -> None:
    content = random.Random(3).randbytes(CHECKPOINT_BYTES + (9 << 20))
    first = await start_server()
    host = urlsplit(first.url)
    address = await start_upload(ada, len(content))
    with socket.create_connection((host.hostname or "", host.port or 0)) as connection:
        head = (
            f"PATCH {address} HTTP/1.1\r\nHost: {host.netloc}\r\nAuthorization: Bearer {ada.token}\r\n"
            f"Tus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Length: {len(content)}\r\n"
            "Content-Type: application/offset+octet-stream\r\n\r\n"
        )
        await asyncio.to_thread(connection.sendall, head.encode() + content[: -(1 << 20)])
        async with asyncio.timeout(60):
            while not (acknowledged := (await state(ada, address))["received"]):
                await asyncio.sleep(0.05)
        first.kill()
    assert CHECKPOINT_BYTES <= acknowledged < len(content)
    second = await start_server()
    async with httpx.AsyncClient(base_url=second.url, headers=ada.http.headers, timeout=60) as http:
        answer = await http.patch(
            address, content=content[acknowledged:], headers=BYTES | {"Upload-Offset": str(acknowledged)}
        )
        assert answer.status_code == 204, answer.text
    assert (await state(ada, address))["state"] == "complete"
    path = LocalStaging(platform).path(decode("upload", address.rsplit("/", 1)[-1]))
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(content).digest()
