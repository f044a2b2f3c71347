"""A plan as a lockfile, and what differs between two."""

from typing import Any

import httpx
import msgspec

from loadstone.catalog.models import NewClaim
from loadstone.compat import lockfile
from loadstone.kernel.platform import Platform
from tests.conftest import MakePerson
from tests.installs.test_resolve import release, resolve, world


async def locked(client: httpx.AsyncClient, *wanted: str | dict[str, Any], **more: Any) -> dict[str, Any]:
    found = await resolve(client, *wanted, lockfile=True, **({"build": "1.1"} | more))
    assert found["status"] == "solved", found
    return dict(found["lockfile"])


async def diff(client: httpx.AsyncClient, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post("/api/v1/lockfiles/diff", json={"before": before, "after": after})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_a_plan_comes_with_a_lockfile_that_reads_as_what_it_states(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords, base) = await world(person, "Swords", "Base")
    lower = await release(platform, base, "1.0", files=[{}])
    await release(
        platform, swords, "1.0",
        [NewClaim(kind="requires", target="base"), NewClaim(kind="order_after", target="base")],
    )  # fmt: skip
    document = await locked(client, "swords", loader="forge", loader_version="47.1")
    read = lockfile.parse(msgspec.json.encode(document))
    assert (read.game, read.game_build, read.version_scheme) == ("starfall", "1.1", "hybrid")
    assert read.loader == lockfile.LockedLoader("forge", "47.1")
    entries = {entry.mod: entry for entry in read.entries}
    assert (entries[swords["id"]].requested, entries[base["id"]].requested) == (True, False)
    assert entries[base["id"]].release == lower
    assert [(file.size, file.role) for file in entries[base["id"]].artifacts] == [(10, "main")]
    assert read.load_order == (entries[base["id"]].chain, entries[swords["id"]].chain)
    assert entries[swords["id"]].claim_revision > 0
    assert await locked(client, "swords", loader="forge", loader_version="47.1") == document


async def test_without_being_asked_for_there_is_none_and_without_a_build_there_can_be_none(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords,) = await world(person, "Swords")
    await release(platform, swords, "1.0")
    assert (await resolve(client, "swords", build="1.1"))["lockfile"] is None
    body = {"game": "starfall", "wanted": [{"mod": "swords"}], "lockfile": True}
    answer = await client.post("/api/v1/resolve", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "unlockable")
    assert answer.json()["errors"][0]["pointer"] == "/build"


async def test_a_circle_of_load_order_is_named(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (one, two) = await world(person, "One", "Two")
    await release(platform, one, "1.0", [NewClaim(kind="order_after", target="two")])
    await release(platform, two, "1.0", [NewClaim(kind="order_after", target="one")])
    body = {"game": "starfall", "wanted": [{"mod": "one"}, {"mod": "two"}], "lockfile": True, "build": "1.1"}
    answer = await client.post("/api/v1/resolve", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "unlockable")
    assert "one" in answer.json()["detail"]
    assert "two" in answer.json()["detail"]


async def test_two_lockfiles_differ_by_what_was_added_removed_and_changed(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords, axes, bows) = await world(person, "Swords", "Axes", "Bows")
    for mod in (swords, axes, bows):
        await release(platform, mod, "1.0")
    before = await locked(client, "swords", "axes")
    await release(platform, swords, "2.0")
    after = await locked(client, "swords", "bows", build="1.2")
    found = await diff(client, before, after)
    assert [entry["mod"] for entry in found["added"]] == [bows["id"]]
    assert [entry["mod"] for entry in found["removed"]] == [axes["id"]]
    [change] = found["changed"]
    assert (change["mod"], change["direction"]) == (swords["id"], "up")
    assert (change["before"]["version"], change["after"]["version"]) == ("1.0", "2.0")
    assert {"release", "version"} <= set(change["parts"])
    assert (found["game_build"], found["same"]) == (["1.1", "1.2"], False)
    assert (await diff(client, after, before))["changed"][0]["direction"] == "down"
    assert (await diff(client, after, after))["same"] is True


async def test_what_is_no_lockfile_was_altered_or_is_newer_is_refused_with_its_place(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    good = msgspec.to_builtins(lockfile.seal(game="g", game_build="1", version_scheme="hybrid", entries=[]))
    other = msgspec.to_builtins(lockfile.seal(game="h", game_build="1", version_scheme="hybrid", entries=[]))
    for before, after, pointer, word in (
        ({}, good, "/before", "not a lockfile"),
        (good, good | {"game_build": "2"}, "/after", "changed or damaged"),
        (good, good | {"lockfile": 2}, "/after", "Update it"),
        (good, other, "/after/game", "one game"),
    ):
        answer = await client.post("/api/v1/lockfiles/diff", json={"before": before, "after": after})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad-lockfile"), answer.text
        assert answer.json()["errors"][0]["pointer"] == pointer
        assert word in answer.json()["detail"]
