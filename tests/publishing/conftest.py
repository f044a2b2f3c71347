"""What the tests of publishing share."""

from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest

from loadstone.kernel.platform import Platform
from loadstone.publishing.jobs import JOBS
from tests.conftest import MakePerson
from tests.factories import Person, make_game

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = TUS | {"Content-Type": "application/offset+octet-stream"}
RunJobs = Callable[[], Coroutine[Any, Any, list[str]]]
MakeCreator = Callable[..., Coroutine[Any, Any, Person]]


async def start_upload(creator: Person, length: int, name: str = "mod.zip") -> str:
    """The address of a fresh upload."""
    import base64

    headers = TUS | {"Upload-Length": str(length)}
    headers["Upload-Metadata"] = f"filename {base64.b64encode(name.encode()).decode()}"
    answer = await creator.http.post("/api/v1/uploads", headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


async def send(creator: Person, address: str, offset: int, body: Any, **headers: str) -> httpx.Response:
    return await creator.http.patch(address, content=body, headers=BYTES | {"Upload-Offset": str(offset)} | headers)


async def upload(creator: Person, content: bytes, name: str = "mod.zip") -> str:
    """The id of a complete upload."""
    address = await start_upload(creator, len(content), name)
    answer = await send(creator, address, 0, content)
    assert answer.status_code == 204, answer.text
    return address.rsplit("/", 1)[-1]


async def publish(creator: Person, mod: dict[str, Any], version: str, upload_id: str, **fields: Any) -> httpx.Response:
    body = {"version": version, "artifacts": [{"upload": upload_id}]} | fields
    return await creator.http.post(f"/api/v1/mods/{mod['id']}/releases", json=body)


async def run_jobs(platform: Platform) -> list[str]:
    """Run the queued jobs as a worker would, until none is left; the names of those that ran."""
    import msgspec

    by_name = {job.name: job for job in JOBS}
    ran = []
    while row := await platform.db.fetchrow(
        "select id, entrypoint, payload from pgqueuer where entrypoint = any($1) order by id limit 1", list(by_name)
    ):
        await by_name[row["entrypoint"]].run(platform, msgspec.json.decode(row["payload"]))
        await platform.db.fetch("delete from pgqueuer where id = $1", row["id"])
        ran.append(row["entrypoint"])
    return ran


@pytest.fixture
async def ada(person: MakePerson) -> Person:
    """A creator, on a site with the game ``starfall``."""
    await make_game(await person("boss", roles=("admin",)))
    return await person("ada")
