"""Plans over HTTP, made of what the catalogue holds."""

import asyncio
from typing import Any

import httpx
import msgspec
import pytest

from loadstone.catalog import authoring, releasing
from loadstone.catalog.models import Alternative, NewClaim
from loadstone.compat.versions import scheme
from loadstone.kernel.ids import decode
from loadstone.kernel.platform import Platform
from tests.conftest import MakePerson
from tests.factories import Person, make_game, make_mod


async def release(
    platform: Platform,
    mod: dict[str, Any],
    version: str,
    claims: list[NewClaim] | None = None,
    *,
    files: list[dict[str, Any]] | None = None,
    channel: str = "release",
) -> str:
    """A published release of a mod's default chain, as the pipeline leaves it. Returns its public id."""
    mod_id = decode("mod", mod["id"])
    chain = await authoring.pick_chain(platform, mod_id, None)
    game_id = await platform.db.fetchval("select game_id from mods where id = $1", mod_id)
    id_ = platform.ids.new()
    values = {
        "id": id_,
        "chain_id": decode("chain", chain.id),
        "mod_id": mod_id,
        "game_id": game_id,
        "version": version,
        "version_key": scheme("hybrid").sort_bytes(version),
        "channel": channel,
        "line": "",
        "changelog": "",
        "created_by": None,
        "created_at": platform.clock.now(),
    }
    async with platform.transaction() as tx:
        assert await releasing.add_release(tx, values, [])
        for place, file in enumerate(files or []):
            artifact_id = platform.ids.new()
            await tx.execute(
                "insert into artifacts (id, sha256, size, verdict) values ($1, $2, 10, $3)",
                artifact_id, artifact_id.to_bytes(32, "big"), file.get("verdict", "clean"),
            )  # fmt: skip
            await tx.execute(
                "insert into release_artifacts (release_id, place, artifact_id, file_name, loaders, os, side)"
                " values ($1, $2, $3, $4, $5, $6, $7)",
                id_, place, artifact_id, file.get("file_name", f"file-{place}.zip"),
                file.get("loaders", []), file.get("os", []), file.get("side", "both"),
            )  # fmt: skip
        await authoring.add_claims(
            tx, platform, game_id=game_id, chain_id=decode("chain", chain.id), release_id=id_,
            claims=claims or [], source="author", actor_id=None,
        )  # fmt: skip
    on_its_way = await releasing.on_its_way(platform, id_)
    assert on_its_way is not None
    async with platform.transaction() as tx:
        await releasing.publish(tx, on_its_way, platform.clock.now())
    from loadstone.kernel.ids import encode

    return encode("release", id_)


async def resolve(client: httpx.AsyncClient, *wanted: str | dict[str, Any], **more: Any) -> dict[str, Any]:
    asked = [{"mod": each} if isinstance(each, str) else each for each in wanted]
    answer = await client.post("/api/v1/resolve", json={"game": "starfall", "wanted": asked} | more)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def plan(resolution: dict[str, Any]) -> dict[str, str]:
    assert resolution["status"] == "solved", resolution
    return {entry["mod_slug"]: entry["version"] for entry in resolution["plan"]}


async def world(person: MakePerson, *names: str) -> tuple[Person, list[dict[str, Any]]]:
    """A game with these mods, all of one creator."""
    await make_game(await person("boss", roles=("admin",)))
    ada = await person("ada")
    return ada, [await make_mod(ada, name=name) for name in names]


async def test_a_plan_holds_what_is_required(client: httpx.AsyncClient, person: MakePerson, platform: Platform) -> None:
    _, (swords, base) = await world(person, "Swords", "Base")
    await release(platform, base, "1.0")
    await release(platform, base, "2.0")
    await release(platform, base, "3.0")
    await release(platform, swords, "1.0", [NewClaim(kind="requires", target="base", range="<3.0")])
    found = await resolve(client, "swords")
    assert plan(found) == {"swords": "1.0", "base": "2.0"}
    why = {entry["mod_slug"]: (entry["reason"], entry["needed_by"]) for entry in found["plan"]}
    assert why == {"swords": ("requested", []), "base": ("required", ["swords"])}


async def test_a_mod_is_asked_for_by_slug_old_slug_number_id_and_package(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    ada, (swords,) = await world(person, "Swords")
    await release(platform, swords, "1.0")
    await ada.http.patch(f"/api/v1/mods/{swords['id']}", json={"slug": "blades"}, headers={"If-Match": "*"})
    for name in ("blades", "swords", str(swords["number"]), swords["id"]):
        assert plan(await resolve(client, name)) == {"blades": "1.0"}, name
    assert plan(await resolve(client, {"package": "swords"})) == {"blades": "1.0"}


async def test_what_the_game_does_not_have_is_named_with_its_place(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords,) = await world(person, "Swords")
    await release(platform, swords, "1.0")
    answer = await client.post(
        "/api/v1/resolve",
        json={"game": "starfall", "wanted": [{"mod": "swords"}, {"mod": "sords"}, {"package": "nothing"}, {}]},
    )
    assert answer.status_code == 400
    assert answer.json()["code"] == "unknown-wanted"
    assert [e["pointer"] for e in answer.json()["errors"]] == ["/wanted/1/mod", "/wanted/2/package", "/wanted/3"]


async def test_bad_input_is_refused_with_its_place(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords,) = await world(person, "Swords")
    await release(platform, swords, "1.0")
    for body, status in (
        ({"game": "starfall", "wanted": []}, 400),
        ({"game": "starfall", "wanted": [{"mod": "swords"}] * 2001}, 400),
        ({"game": "nothing", "wanted": [{"mod": "swords"}]}, 404),
        ({"game": "starfall", "wanted": [{"mod": "swords", "range": ">=1 <<2"}]}, 400),
        ({"game": "starfall", "wanted": [{"mod": "swords"}], "build": "latest"}, 400),
        ({"game": "starfall", "wanted": [{"mod": "swords"}], "policy": "best"}, 400),
        ({"game": "starfall", "wanted": "swords"}, 400),
    ):
        answer = await client.post("/api/v1/resolve", json=body)
        assert answer.status_code == status, (body if len(str(body)) < 200 else "long", answer.text)
        assert answer.headers["content-type"].startswith("application/problem+json")


async def test_a_yanked_release_is_never_newly_chosen_but_stays_where_it_is(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    ada, (swords,) = await world(person, "Swords")
    await release(platform, swords, "1.0")
    second = await release(platform, swords, "2.0")
    assert plan(await resolve(client, "swords")) == {"swords": "2.0"}
    answer = await ada.http.post(f"/api/v1/releases/{second}/state", json={"action": "yank", "reason": "it crashes"})
    assert answer.status_code < 300, answer.text
    assert plan(await resolve(client, "swords")) == {"swords": "1.0"}
    kept = await resolve(
        client, "swords", policy="minimal_change", installed=[{"package": "swords", "release": second}]
    )
    assert plan(kept) == {"swords": "2.0"}


async def test_what_is_quarantined_or_hidden_is_gone_from_the_next_plan(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords, base) = await world(person, "Swords", "Base")
    moe = await person("moe", roles=("moderator",))
    first = await release(platform, base, "1.0")
    second = await release(platform, base, "2.0")
    await release(platform, swords, "1.0", [NewClaim(kind="requires", target="base")])
    assert plan(await resolve(client, "swords"))["base"] == "2.0"
    await authoring.act_on_release(platform, moe.actor, second, "quarantine", "a virus")
    assert plan(await resolve(client, "swords"))["base"] == "1.0"
    locked = await resolve(
        client, "swords", policy="minimal_change", installed=[{"package": "base", "release": second}]
    )
    assert plan(locked)["base"] == "1.0"
    await authoring.act_on_release(platform, moe.actor, second, "release", "a false alarm")
    assert plan(await resolve(client, "swords"))["base"] == "2.0"
    await authoring.moderate_mod(platform, moe.actor, decode("mod", base["id"]), "hidden", "under review")
    refused = await resolve(client, "swords")
    assert refused["status"] == "unsatisfiable"
    assert any("base" in fact["text"].lower() for fact in refused["facts"])
    assert first not in str(refused)


async def test_a_change_that_the_log_does_not_show_yet_is_seen_all_the_same(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    """A transaction that runs elsewhere holds the log's readers back; the tables are asked before answering."""
    _, (swords,) = await world(person, "Swords")
    moe = await person("moe", roles=("moderator",))
    await release(platform, swords, "1.0")
    second = await release(platform, swords, "2.0")
    assert plan(await resolve(client, "swords")) == {"swords": "2.0"}
    async with platform.transaction() as running:
        await running.fetchval("select pg_current_xact_id()")
        await authoring.act_on_release(platform, moe.actor, second, "quarantine", "a virus")
        assert plan(await resolve(client, "swords")) == {"swords": "1.0"}


async def test_a_release_without_a_clean_verdict_is_not_planned(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords,) = await world(person, "Swords")
    await release(platform, swords, "1.0", files=[{}])
    await release(platform, swords, "2.0", files=[{}, {"verdict": "quarantined"}])
    assert plan(await resolve(client, "swords")) == {"swords": "1.0"}


async def test_an_artifact_that_loses_its_verdict_leaves_the_plan_at_once(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords,) = await world(person, "Swords")
    await release(platform, swords, "1.0", files=[{}])
    await release(platform, swords, "2.0", files=[{"file_name": "bad.zip"}])
    assert plan(await resolve(client, "swords")) == {"swords": "2.0"}
    async with platform.transaction() as tx:  # a scanner's verdict comes without an event of the mod
        await tx.execute(
            "update artifacts set verdict = 'quarantined' where id ="
            " (select artifact_id from release_artifacts where file_name = 'bad.zip')"
        )
    assert plan(await resolve(client, "swords")) == {"swords": "1.0"}


async def test_files_are_those_for_the_players_loader_and_system(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords,) = await world(person, "Swords")
    await release(platform, swords, "1.0", files=[{"file_name": "any.zip"}])
    await release(
        platform, swords, "2.0",
        files=[{"loaders": ["forge"], "file_name": "forge.zip"}, {"loaders": ["fabric"], "file_name": "fabric.zip"}],
    )  # fmt: skip
    found = await resolve(client, "swords", loader="fabric")
    assert [(f["file"], f["file_name"]) for f in found["plan"][0]["artifacts"]] == [(1, "fabric.zip")]
    await release(platform, swords, "3.0", files=[{"loaders": ["forge"], "os": ["windows"]}])
    assert plan(await resolve(client, "swords", loader="forge", os="linux")) == {"swords": "2.0"}
    assert plan(await resolve(client, "swords", loader="forge", os="windows")) == {"swords": "3.0"}


async def test_builds_narrow_what_fits(client: httpx.AsyncClient, person: MakePerson, platform: Platform) -> None:
    _, (swords,) = await world(person, "Swords")
    await release(platform, swords, "1.0", [NewClaim(kind="works_with", builds=["1.0", "1.1"])])
    await release(platform, swords, "2.0", [NewClaim(kind="works_with", builds=["1.2", None])])
    assert plan(await resolve(client, "swords", build="1.1")) == {"swords": "1.0"}
    assert plan(await resolve(client, "swords", build="1.2")) == {"swords": "2.0"}
    refused = await resolve(client, {"mod": "swords", "version": "2.0"}, build="1.0")
    assert refused["status"] == "unsatisfiable"
    assert refused["facts"]
    assert any(repair["kind"] == "use_build" for repair in refused["repairs"])


async def test_beta_releases_need_to_be_accepted(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords,) = await world(person, "Swords")
    await release(platform, swords, "1.0")
    await release(platform, swords, "2.0-beta1", channel="beta")
    assert plan(await resolve(client, "swords")) == {"swords": "1.0"}
    assert plan(await resolve(client, "swords", channels=["release", "beta"])) == {"swords": "2.0-beta1"}
    assert plan(await resolve(client, "swords", package_channels={"swords": "beta"})) == {"swords": "2.0-beta1"}


async def test_a_contradiction_is_told_in_sentences_with_who_said_so(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords, shields, base) = await world(person, "Swords", "Shields", "Base")
    await release(platform, base, "1.0")
    await release(platform, base, "2.0")
    await release(platform, swords, "1.0", [NewClaim(kind="requires", target="base", range="<2.0")])
    await release(platform, shields, "1.0", [NewClaim(kind="requires", target="base", range=">=2.0")])
    found = await resolve(client, "swords", "shields")
    assert found["status"] == "unsatisfiable"
    assert found["plan"] == []
    assert 1 <= len(found["facts"]) <= 8
    assert sum(len(fact["claims"]) for fact in found["facts"]) >= 2
    assert {repair["kind"] for repair in found["repairs"]} == {"drop"}


async def test_a_provided_name_becomes_a_question(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords, one, two) = await world(person, "Swords", "One", "Two")
    for mod in (one, two):
        await release(platform, mod, "1.0", [NewClaim(kind="provides", target="textures")])
    await release(platform, swords, "1.0", [NewClaim(kind="requires", target="textures")])
    found = await resolve(client, "swords")
    assert [question["asked_for"] for question in found["questions"]] == [["textures"]]
    assert {o["package"] for o in found["questions"][0]["options"]} == {"one", "two"}
    chosen = await resolve(client, "swords", choices={"textures": "two"})
    assert plan(chosen) == {"swords": "1.0", "two": "1.0"}


async def test_an_unlisted_mod_is_found_by_name_and_by_nothing_else(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    ada, (swords,) = await world(person, "Swords")
    secret = await make_mod(ada, name="Secret", visibility="unlisted")
    draft = await make_mod(ada, name="Draft", visibility="draft")
    for mod in (secret, draft):
        await release(platform, mod, "1.0", [NewClaim(kind="provides", target="textures")])
    await release(platform, swords, "1.0", [NewClaim(kind="requires", target="textures")])
    assert plan(await resolve(client, "secret")) == {"secret": "1.0"}
    assert (await resolve(client, "swords"))["status"] == "unsatisfiable"
    answer = await client.post("/api/v1/resolve", json={"game": "starfall", "wanted": [{"mod": "draft"}]})
    assert answer.status_code == 400


async def test_an_author_cannot_have_a_patch_installed_everywhere(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords, shields, patch) = await world(person, "Swords", "Shields", "Patch")
    for mod in (swords, shields):
        await release(platform, mod, "1.0")
    both = NewClaim(kind="patches", target="swords", any_of=[Alternative("shields")])
    await release(platform, patch, "1.0", [both])
    assert plan(await resolve(client, "swords", "shields")) == {"swords": "1.0", "shields": "1.0"}
    recommended = plan(await resolve(client, "swords", "shields", recommends=True))
    assert recommended == {"swords": "1.0", "shields": "1.0", "patch": "1.0"}


async def test_minimal_change_keeps_what_is_installed(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords, shields) = await world(person, "Swords", "Shields")
    first = await release(platform, swords, "1.0")
    await release(platform, swords, "2.0")
    await release(platform, shields, "1.0")
    installed = [{"package": "swords", "release": first}]
    found = await resolve(client, "swords", "shields", policy="minimal_change", installed=installed)
    assert plan(found) == {"swords": "1.0", "shields": "1.0"}


async def test_the_plan_does_not_depend_on_the_order_of_the_request(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    names = ["Alpha", "Beta", "Gamma", "Delta"]
    _, mods = await world(person, *names)
    for mod in mods:
        await release(platform, mod, "1.0")
        await release(platform, mod, "1.1", [NewClaim(kind="recommends", target="alpha")])
    slugs = [mod["slug"] for mod in mods]
    first = await resolve(client, *slugs)
    assert await resolve(client, *reversed(slugs)) == first


async def test_a_withdrawn_claim_counts_no_more(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    ada, (swords, base) = await world(person, "Swords", "Base")
    await release(platform, swords, "1.0")
    await release(platform, base, "1.0")
    answer = await ada.http.post(
        f"/api/v1/mods/{swords['id']}/claims", json=msgspec.to_builtins(NewClaim(kind="requires", target="base"))
    )
    assert answer.status_code < 300, answer.text
    assert plan(await resolve(client, "swords")) == {"swords": "1.0", "base": "1.0"}
    claims = (await client.get(f"/api/v1/mods/{swords['id']}/claims")).json()
    claim = (claims["items"] if isinstance(claims, dict) else claims)[0]["id"]
    answer = await ada.http.delete(f"/api/v1/mods/{swords['id']}/claims/{claim}")
    assert answer.status_code == 204, answer.text
    assert plan(await resolve(client, "swords")) == {"swords": "1.0"}


async def test_a_plan_takes_five_statements_however_large_it_is(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    names = [f"Mod {n}" for n in range(8)]
    _, mods = await world(person, *names)
    for mod in mods:
        await release(platform, mod, "1.0")
    slugs = [mod["slug"] for mod in mods]
    await resolve(client, *slugs)
    before = platform.db.statements
    assert len((await resolve(client, *slugs))["plan"]) == 8
    assert platform.db.statements - before <= 5


async def test_when_all_solvers_are_busy_the_caller_is_sent_away(platform: Platform) -> None:
    import threading

    from loadstone.installs.keeping import Workers
    from loadstone.installs.models import SolverBusyError

    workers, gate = Workers(threads=1, waiting=1), threading.Event()
    first = asyncio.create_task(workers.run(gate.wait))
    second = asyncio.create_task(workers.run(lambda: "done"))
    await asyncio.sleep(0)
    with pytest.raises(SolverBusyError) as caught:
        await workers.run(lambda: "never")
    assert "Retry-After" in caught.value.headers
    gate.set()
    assert await second == "done"
    await first
    assert await workers.run(lambda: "again") == "again"


async def updates(client: httpx.AsyncClient, *items: dict[str, str], **more: Any) -> list[dict[str, Any]]:
    answer = await client.post("/api/v1/updates", json={"items": list(items)} | more)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def test_updates_are_the_newest_releases_that_fit(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    ada, (swords, shields) = await world(person, "Swords", "Shields")
    old = await release(platform, swords, "1.0", files=[{}])
    new = await release(platform, swords, "2.0", [NewClaim(kind="works_with", builds=["1.2", None])])
    only = await release(platform, shields, "1.0")
    digest = (await client.get(f"/api/v1/releases/{old}")).json()["artifacts"][0]["sha256"]
    found = await updates(client, {"release": old}, {"sha256": digest}, {"release": new}, {"release": only})
    assert [(each["status"], each["package"]) for each in found] == [
        ("update", "swords"), ("update", "swords"), ("newest", "swords"), ("newest", "shields"),
    ]  # fmt: skip
    assert found[0]["newest"] == {"release": new, "version": "2.0"}
    assert found[1]["sha256"] == digest
    before = await updates(client, {"release": old}, {"release": new}, build="1.0")
    assert [(each["status"], each["newest"]["version"]) for each in before] == [("newest", "1.0"), ("replace", "1.0")]
    await ada.http.post(f"/api/v1/releases/{only}/state", json={"action": "yank", "reason": "it crashes"})
    assert [each["status"] for each in await updates(client, {"release": only})] == ["nothing_fits"]


async def test_an_update_check_knows_nothing_of_what_is_hidden(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords,) = await world(person, "Swords")
    moe = await person("moe", roles=("moderator",))
    first, second = await release(platform, swords, "1.0"), await release(platform, swords, "2.0")
    assert [each["status"] for each in await updates(client, {"release": first})] == ["update"]
    await authoring.act_on_release(platform, moe.actor, second, "quarantine", "a virus")
    found = await updates(client, {"release": first}, {"release": second}, {"release": "rel_0000000000000"})
    assert [each["status"] for each in found] == ["newest", "unknown", "unknown"]
    await authoring.moderate_mod(platform, moe.actor, decode("mod", swords["id"]), "hidden", "under review")
    assert [each["status"] for each in await updates(client, {"release": first})] == ["unknown"]


async def test_an_update_check_of_nothing_is_refused_with_its_place(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/updates", json={"items": [{"release": "rel_0000000000000"}, {}]})
    assert answer.status_code == 400
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/items/1"]
    many = await client.post("/api/v1/updates", json={"items": [{"release": "rel_0000000000000"}] * 4001})
    assert many.status_code == 400
