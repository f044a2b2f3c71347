"""The shipped worker process, killed in the middle of its work: a sample of what ``make crash`` does at length."""

import asyncio
import hashlib
import os
import random
import signal
import subprocess
import sys

import pytest

from loadstone.kernel.config import Config
from loadstone.kernel.ids import decode
from loadstone.kernel.platform import Platform
from tests.factories import Person, make_mod, zip_bytes
from tests.publishing.conftest import publish, upload

_RELEASES = 6
_SECONDS = 90


def start_worker(config: Config) -> subprocess.Popen[bytes]:
    own = {
        "LOADSTONE_DATA": str(config.data),
        "LOADSTONE_DATABASE_URL": config.database_url,
        "LOADSTONE_SECRET_KEY": config.secret_key,
        "LOADSTONE_LOG_LEVEL": "error",
    }
    return subprocess.Popen([sys.executable, "-m", "loadstone", "worker"], env=os.environ | own, start_new_session=True)


def kill(worker: subprocess.Popen[bytes]) -> None:
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait(10)


async def wait_for(platform: Platform, sql: str, least: int) -> None:
    async with asyncio.timeout(_SECONDS):
        while await platform.db.fetchval(sql) < least:
            await asyncio.sleep(0.02)


@pytest.mark.timeout(240)
async def test_a_worker_killed_in_its_work_leaves_nothing_half_published(
    ada: Person, platform: Platform, config: Config
) -> None:
    mod = await make_mod(ada)
    contents = [zip_bytes({"n.bin": random.Random(n).randbytes(1 << 20)}) for n in range(_RELEASES)]
    made = {}
    for n, content in enumerate(contents):
        answer = await publish(ada, mod, f"1.{n}", await upload(ada, content))
        made[answer.json()["release"]["id"]] = content
    for stages_done in (1, 2 * _RELEASES):
        worker = start_worker(config)
        try:
            await wait_for(platform, "select count(*) from release_stages where state = 'done'", stages_done)
        finally:
            kill(worker)
        early = await platform.db.fetchval(
            "select count(*) from releases r where state = 'published' and exists"
            " (select from release_stages s where s.release_id = r.id and s.state <> 'done')"
        )
        assert early == 0
    worker = start_worker(config)
    try:
        await wait_for(platform, "select count(*) from releases where state = 'published'", _RELEASES)
    finally:
        kill(worker)
    for name, content in made.items():
        release = (await ada.http.get(f"/api/v1/releases/{name}")).json()
        assert release["artifacts"][0]["sha256"] == hashlib.sha256(content).hexdigest()
        published = await platform.db.fetchval(
            "select count(*) from events where subject = $1 and kind = 'release.published'", decode("release", name)
        )
        assert published == 1
