"""Making releases of uploads: what is taken, what is refused, and what nobody else sees."""

import asyncio
from typing import Any

import httpx

from loadstone.kernel.platform import Platform
from tests.conftest import MakePerson
from tests.factories import Person, make_mod, zip_bytes
from tests.publishing.conftest import publish, run_jobs, send, start_upload, upload

CONTENT = zip_bytes({"swords/sharp.txt": "very sharp"})


async def test_a_version_is_never_used_again_in_its_chain(ada: Person, platform: Platform) -> None:
    mod = await make_mod(ada)
    assert (await publish(ada, mod, "1.0", await upload(ada, CONTENT))).status_code == 202
    await run_jobs(platform)
    again = await upload(ada, CONTENT)
    taken = await publish(ada, mod, "1.0", again)
    assert (taken.status_code, taken.json()["code"]) == (409, "version-taken")
    assert taken.json()["errors"][0]["pointer"] == "/version"
    chain = await ada.http.post(f"/api/v1/mods/{mod['id']}/chains", json={"name": "4K textures"})
    other = await publish(ada, mod, "1.0", again, chain=chain.json()["slug"])
    assert other.status_code == 202, other.text


async def test_of_two_releases_of_one_version_at_once_one_wins(ada: Person, platform: Platform) -> None:
    mod = await make_mod(ada)
    uploads = [await upload(ada, zip_bytes({"n.txt": str(n)})) for n in range(4)]
    answers = await asyncio.gather(*(publish(ada, mod, "1.0", name) for name in uploads))
    assert sorted(a.status_code for a in answers) == [202, 409, 409, 409]
    states = [u["state"] for u in (await ada.http.get("/api/v1/uploads")).json()["items"]]
    assert sorted(states) == ["complete", "complete", "complete", "used"]
    await run_jobs(platform)
    releases = (await ada.http.get(f"/api/v1/mods/{mod['id']}/releases")).json()["items"]
    assert [(r["version"], r["state"]) for r in releases] == [("1.0", "published")]


async def test_of_two_releases_of_one_upload_at_once_one_wins(ada: Person) -> None:
    mod, name = await make_mod(ada), await upload(ada, CONTENT)
    answers = await asyncio.gather(*(publish(ada, mod, f"1.{n}", name) for n in range(4)))
    assert sorted(a.status_code for a in answers) == [202, 409, 409, 409]
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"upload-used"}
    releases = (await ada.http.get(f"/api/v1/mods/{mod['id']}/releases")).json()["items"]
    assert len(releases) == 1


async def test_the_same_idempotency_key_makes_one_release(ada: Person) -> None:
    mod, name = await make_mod(ada), await upload(ada, CONTENT)
    body = {"version": "1.0", "artifacts": [{"upload": name}]}
    address = f"/api/v1/mods/{mod['id']}/releases"
    first = await ada.http.post(address, json=body, headers={"Idempotency-Key": "ci-run-1"})
    again = await ada.http.post(address, json=body, headers={"Idempotency-Key": "ci-run-1"})
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert first.headers["location"] == again.headers["location"]


async def test_what_cannot_be_released_is_refused_precisely_and_keeps_the_upload(
    ada: Person, person: MakePerson
) -> None:
    mod, name = await make_mod(ada), await upload(ada, CONTENT)
    bob = await person("bob")
    theirs = await upload(bob, CONTENT)
    unfinished = (await start_upload(ada, 10)).rsplit("/", 1)[-1]
    nameless = await upload(ada, CONTENT, name="")
    file = {"upload": name}
    cases: list[tuple[dict[str, Any], int, str, str]] = [
        ({"artifacts": []}, 400, "invalid-input", "/artifacts"),
        ({"artifacts": [file], "version": ""}, 400, "invalid-input", "/version"),
        ({"artifacts": [file], "version": "a\nb"}, 400, "invalid-input", "/version"),
        ({"artifacts": [file], "channel": "gamma"}, 400, "invalid-input", "/channel"),
        ({"artifacts": [file], "chain": "nowhere"}, 404, "not-found", ""),
        ({"artifacts": [file], "surprise": 1}, 400, "invalid-input", ""),
        ({"artifacts": [file], "claims": [{"kind": "requires"}]}, 400, "unknown-package", "/claims/0/target"),
        (
            {"artifacts": [file], "claims": [{"kind": "requires", "target": "a", "range": ">=1 <"}]},
            400,
            "invalid-input",
            "/claims/0/range",
        ),
        ({"artifacts": [{"upload": "nonsense"}]}, 400, "unknown-upload", "/artifacts/0/upload"),
        ({"artifacts": [file, {"upload": theirs}]}, 400, "unknown-upload", "/artifacts/1/upload"),
        ({"artifacts": [{"upload": unfinished}]}, 409, "upload-not-complete", "/artifacts/0/upload"),
        ({"artifacts": [{"upload": nameless}]}, 400, "invalid-input", "/artifacts/0/file_name"),
        ({"artifacts": [file, file]}, 400, "invalid-input", "/artifacts"),
        ({"artifacts": [file | {"file_name": "../a.zip"}]}, 400, "invalid-input", "/artifacts/0/file_name"),
        ({"artifacts": [file | {"loaders": ["quilt"]}]}, 400, "unknown-loader", "/artifacts/0/loaders"),
        ({"artifacts": [file | {"os": ["beos"]}]}, 400, "invalid-input", "/artifacts/0/os/0"),
        ({"artifacts": [file | {"role": "extra"}]}, 400, "invalid-input", "/artifacts"),
        (
            {"artifacts": [file, {"upload": nameless, "file_name": "MOD.zip"}]},
            400,
            "invalid-input",
            "/artifacts/1/file_name",
        ),
    ]
    for fields, status, code, pointer in cases:
        answer = await ada.http.post(f"/api/v1/mods/{mod['id']}/releases", json={"version": "1.0"} | fields)
        assert (answer.status_code, answer.json()["code"]) == (status, code), (fields, answer.text)
        if pointer:
            assert answer.json()["errors"][0]["pointer"].startswith(pointer), (fields, answer.text)
    assert (await ada.http.get(f"/api/v1/mods/{mod['id']}/releases")).json()["items"] == []
    assert (await ada.http.get(f"/api/v1/uploads/{name}")).json()["state"] == "complete"


async def test_only_the_team_publishes_and_sees_the_way(
    ada: Person, person: MakePerson, client: httpx.AsyncClient, platform: Platform
) -> None:
    mod = await make_mod(ada)
    bob, mo = await person("bob"), await person("moe", roles=("moderator",))
    refused = await publish(bob, mod, "1.0", await upload(bob, CONTENT))
    assert refused.status_code == 403
    made = (await publish(ada, mod, "1.0", await upload(ada, CONTENT))).json()["release"]
    await run_jobs(platform)
    address = f"/api/v1/releases/{made['id']}/stages"
    assert (await ada.http.get(address)).status_code == 200
    assert (await mo.http.get(address)).status_code == 200
    assert (await bob.http.get(address)).status_code == 404
    assert (await client.get(address)).status_code == 401


async def test_claims_are_made_with_the_release_and_seen_when_it_is(
    ada: Person, client: httpx.AsyncClient, platform: Platform
) -> None:
    mod = await make_mod(ada)
    await make_mod(ada, name="Base Library")
    claims = [{"kind": "requires", "target": "base-library", "range": ">=1.0"}]
    made = await publish(ada, mod, "1.0", await upload(ada, CONTENT), claims=claims)
    address = f"/api/v1/mods/{mod['id']}/claims"
    assert (await client.get(address)).json() == []
    await run_jobs(platform)
    [claim] = (await client.get(address)).json()
    assert (claim["kind"], claim["source"], claim["by"]) == ("requires", "author", "ada")
    assert claim["body"] == {"target": "base-library", "range": ">=1.0"}
    assert claim["release"] == made.json()["release"]["id"]


async def test_a_draft_stays_a_draft_with_its_release_published_inside(
    ada: Person, client: httpx.AsyncClient, platform: Platform
) -> None:
    mod = await make_mod(ada, visibility="draft")
    made = (await publish(ada, mod, "1.0", await upload(ada, CONTENT))).json()["release"]
    await run_jobs(platform)
    assert (await ada.http.get(f"/api/v1/releases/{made['id']}")).json()["state"] == "published"
    assert (await client.get(f"/api/v1/releases/{made['id']}")).status_code == 404
    assert (await ada.http.get(f"/api/v1/mods/{mod['id']}")).json()["visibility"] == "draft"


async def test_a_release_has_several_files_chosen_by_loader_and_side(ada: Person, platform: Platform) -> None:
    mod = await make_mod(ada)
    forge = await upload(ada, zip_bytes({"forge.txt": "1"}), "forge.zip")
    fabric = await upload(ada, zip_bytes({"fabric.txt": "1"}), "fabric.zip")
    artifacts = [
        {"upload": forge, "loaders": ["forge"], "side": "client"},
        {"upload": fabric, "loaders": ["fabric"], "os": ["windows", "linux"], "file_name": "renamed.zip"},
    ]
    answer = await ada.http.post(f"/api/v1/mods/{mod['id']}/releases", json={"version": "1.0", "artifacts": artifacts})
    assert answer.status_code == 202, answer.text
    await run_jobs(platform)
    release = (await ada.http.get(f"/api/v1/releases/{answer.json()['release']['id']}")).json()
    assert release["state"] == "published"
    found = [(f["file_name"], f["loaders"], f["os"], f["side"]) for f in release["artifacts"]]
    assert found == [("forge.zip", ["forge"], [], "client"), ("renamed.zip", ["fabric"], ["linux", "windows"], "both")]


async def test_an_upload_of_a_release_cannot_be_ended(ada: Person) -> None:
    mod, name = await make_mod(ada), await upload(ada, CONTENT)
    await publish(ada, mod, "1.0", name)
    answer = await ada.http.delete(f"/api/v1/uploads/{name}", headers={"Tus-Resumable": "1.0.0"})
    assert answer.status_code == 410
    assert (await send(ada, f"/api/v1/uploads/{name}", len(CONTENT), b"")).json()["code"] == "upload-complete"
