"""From complete uploads to a published release."""

import hashlib

import httpx

from loadstone.kernel.platform import Platform
from tests.factories import Person, make_mod, zip_bytes
from tests.publishing.conftest import publish, run_jobs, upload


async def test_an_upload_becomes_a_published_release(
    ada: Person, client: httpx.AsyncClient, platform: Platform
) -> None:
    mod = await make_mod(ada)
    content = zip_bytes({"swords/sharp.txt": "very sharp"})
    answer = await publish(ada, mod, "1.0-beta2", await upload(ada, content), changelog="Sharper.")
    assert answer.status_code == 202, answer.text
    made = answer.json()["release"]
    assert made["state"] == "processing"
    assert [s["state"] for s in answer.json()["stages"]] == ["waiting"] * 4
    assert (await client.get(f"/api/v1/releases/{made['id']}")).status_code == 404

    ran = await run_jobs(platform)
    assert ran == ["publishing.store", "publishing.digests", "publishing.inspect", "publishing.publish"]
    release = (await client.get(f"/api/v1/releases/{made['id']}")).json()
    assert release["state"] == "published"
    assert release["channel"] == "beta"
    assert release["changelog"] == "Sharper."
    [file] = release["artifacts"]
    assert file["file_name"] == "mod.zip"
    assert file["size"] == len(content)
    for name in ("sha256", "sha1", "sha512", "md5"):
        assert file[name] == hashlib.new(name, content).hexdigest()
    entries = (await client.get(f"/api/v1/releases/{made['id']}/entries")).json()["items"]
    assert [e["path"] for e in entries] == ["swords/sharp.txt"]
    stages = (await ada.http.get(f"/api/v1/releases/{made['id']}/stages")).json()
    assert [s["state"] for s in stages] == ["done"] * 4
    assert not list((platform.config.data / "uploads").iterdir())
