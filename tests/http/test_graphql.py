"""The graph: the same data and the same visibility as REST, in few statements, within bounds."""

from typing import Any

import httpx

from loadstone.kernel.platform import Platform
from tests.conftest import MakePerson
from tests.delivery.releases import insert_release, publish
from tests.factories import Person, make_game, make_mod

DEEP = """query ($game: String!) {
  game(name: $game) { slug mods(first: 50, sort: "name") { items {
    id slug name chains { id slug releases { id version files { sha256 } } }
  } } }
}"""
FIELDS = "id number slug name summary authors category tags visibility downloads published_at updated_at description"


async def ask(http: httpx.AsyncClient, query: str, **variables: Any) -> dict[str, Any]:
    answer = await http.post("/graphql", json={"query": query, "variables": variables})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def refused(http: httpx.AsyncClient, query: str, code: str = "invalid-document", **variables: Any) -> str:
    """The sentence of a refusal; there is no data, and the code is a stable one."""
    answer = await ask(http, query, **variables)
    assert not answer.get("data") or not any(answer["data"].values()), answer
    assert {e["extensions"]["code"] for e in answer["errors"]} == {code}, answer["errors"][:3]
    return str(answer["errors"][0]["message"])


async def world(person: MakePerson, platform: Platform) -> tuple[Person, dict[str, Any]]:
    ada = await person("ada", roles=("admin",))
    await make_game(ada)
    mod = await make_mod(ada, description="**Sharp**", tags=["swords"], category="weapons/swords")
    await publish(platform, mod)
    return ada, mod


async def test_the_graph_says_what_rest_says(client: httpx.AsyncClient, person: MakePerson, platform: Platform) -> None:
    ada, mod = await world(person, platform)
    claim = await ada.http.post(f"/api/v1/mods/{mod['id']}/claims", json={"kind": "requires", "target": "tools"})
    assert claim.status_code == 201
    document = f"""query ($id: String!) {{ mod(name: $id) {{ {FIELDS}
      game {{ slug name builds {{ name place }} }} chains {{ id package slug name category is_default }}
      releases {{ id version channel state package downloads files {{ file_name size sha256 side }} }}
      claims {{ id kind target source by }} }} }}"""
    found = (await ask(client, document, id=mod["id"]))["data"]["mod"]
    rest = (await client.get(f"/api/v1/mods/{mod['id']}")).json()
    assert {f: found[f] for f in FIELDS.split()} == {f: rest[f] for f in FIELDS.split()} | {
        "published_at": found["published_at"], "updated_at": found["updated_at"],
    }  # fmt: skip
    for time in ("published_at", "updated_at"):
        assert found[time].replace("+00:00", "Z") == rest[time].replace("+00:00", "Z")
    game = (await client.get("/api/v1/games/starfall")).json()
    assert found["game"]["builds"] == [{"name": b["name"], "place": b["place"]} for b in game["builds"]]
    chains = (await client.get(f"/api/v1/mods/{mod['id']}/chains")).json()
    assert found["chains"] == [{k: c[k] for k in found["chains"][0]} for c in chains]
    release = (await client.get(f"/api/v1/mods/{mod['id']}/releases")).json()["items"][0]
    shown = found["releases"][0]
    assert {k: shown[k] for k in shown if k != "files"} == {k: release[k] for k in shown if k != "files"}
    assert shown["files"][0]["size"] == str(release["artifacts"][0]["size"])
    assert shown["files"][0]["sha256"] == release["artifacts"][0]["sha256"]
    claims = (await client.get(f"/api/v1/mods/{mod['id']}/claims")).json()
    assert [c["id"] for c in found["claims"]] == [c["id"] for c in claims]


async def test_what_rest_does_not_show_is_not_in_the_graph(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    """law 3: one visibility rule"""
    boss = await person("boss", roles=("admin", "moderator"))
    ada = await person("ada")
    await make_game(boss)
    seen: dict[str, dict[str, Any]] = {}
    for visibility in ("published", "unlisted", "draft", "hidden", "quarantined", "removed"):
        first = visibility if visibility in {"published", "unlisted", "draft"} else "published"
        mod = seen[visibility] = await make_mod(ada, name=f"Mod {visibility}", visibility=first)
        if first != visibility:
            verdict = {"visibility": visibility, "reason": "Because of the test."}
            assert (await boss.http.post(f"/api/v1/mods/{mod['id']}/moderation", json=verdict)).status_code == 200
    await insert_release(platform, seen["published"], version="0.9", state="processing")
    await insert_release(platform, seen["published"], version="0.8", state="quarantined")
    await insert_release(platform, seen["published"], version="0.7", state="published")
    ids = [m["id"] for m in seen.values()]
    batch = "query ($ids: [ID!]!) { mods(ids: $ids) { slug releases { version } } }"
    by_name = 'query ($name: String!) { mod(name: $name, game: "starfall") { name } }'
    for http in (client, ada.http, boss.http):
        found = (await ask(http, batch, ids=ids))["data"]["mods"]
        for mod, node in zip(seen.values(), found, strict=True):
            status = (await http.get(f"/api/v1/mods/{mod['id']}")).status_code
            assert (node is not None) == (status == 200), mod["name"]
            named = (await ask(http, by_name, name=mod["slug"])).get("data")
            assert bool(named and named["mod"]) == (status == 200), mod["name"]
        rest = (await http.get(f"/api/v1/mods/{seen['published']['id']}/releases")).json()["items"]
        assert [r["version"] for r in found[0]["releases"]] == [r["version"] for r in rest]
        listed = (await ask(http, DEEP, game="starfall"))["data"]["game"]["mods"]["items"]
        assert [m["slug"] for m in listed] == [seen["published"]["slug"]]
    assert [r["version"] for r in (await ask(client, batch, ids=ids))["data"]["mods"][0]["releases"]] == ["0.7"]


async def statements(http: httpx.AsyncClient, platform: Platform, query: str, **variables: Any) -> int:
    before = platform.db.statements
    assert "errors" not in await ask(http, query, **variables)
    return platform.db.statements - before


async def test_a_page_of_mods_with_all_below_takes_a_bounded_number_of_statements(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    """law 7: a list has a query budget"""
    ada, mod = await world(person, platform)
    few = await statements(client, platform, DEEP, game="starfall")
    for number in range(19):
        mod = await make_mod(ada, name=f"Mod {number}")
        await publish(platform, mod, content=b"%d" % number)
    many = await statements(client, platform, DEEP, game="starfall")
    assert many == few
    assert many <= 8
    answer = await ask(client, DEEP, game="starfall")
    items = answer["data"]["game"]["mods"]["items"]
    assert len(items) == 20
    assert all(item["chains"][0]["releases"][0]["files"][0]["sha256"] for item in items)


async def test_lists_are_read_page_by_page(client: httpx.AsyncClient, person: MakePerson) -> None:
    ada = await person("ada", roles=("admin",))
    await make_game(ada)
    for number in range(5):
        await make_mod(ada, name=f"Mod {number}")
    page = """query ($after: String) { game(name: "starfall") {
      mods(first: 2, sort: "name", after: $after) { items { name } next_cursor } } }"""
    names: list[str] = []
    after = None
    for _ in range(3):
        mods = (await ask(client, page, after=after))["data"]["game"]["mods"]
        names += [m["name"] for m in mods["items"]]
        after = mods["next_cursor"]
    assert names == [f"Mod {n}" for n in range(5)]
    assert after is None
    await refused(client, page, "invalid-input", after="forged")


async def test_a_document_over_the_bounds_is_refused_before_any_work(
    client: httpx.AsyncClient, platform: Platform
) -> None:
    """law 9"""
    before = platform.db.statements
    aliases = "{" + " ".join(f"a{n}: games {{ next_cursor }}" for n in range(1000)) + "}"
    deep = '{ game(name: "a") { mods { items ' + "{ game { mods { items " * 6 + "{ id }" + "} } }" * 6 + "} } }"
    tokens = "{ games { items { " + "id " * 3000 + "} } }"
    cycle = "{ games { items { ...A } } } fragment A on Game { ...B } fragment B on Game { ...A }"
    itself = "{ ...A } fragment A on CatalogQuery { games { next_cursor } ...A }"
    bomb = "{ games { items { ...F0 } } } " + " ".join(
        f"fragment F{n} on Game {{ ...F{n + 1} ...F{n + 1} }}" for n in range(25)
    ) + " fragment F25 on Game { id }"  # fmt: skip
    for document in (aliases, deep, tokens, cycle, itself, "{" * 1500, "[" * 1500, "{ nothing }", "", "{", "query {"):
        if document:
            await refused(client, document)
    lists = "{ games(first: 100) { items { mods(first: 100) { items { releases(first: 100) { id } } } } } }"
    repeated = "{ games { " + "next_cursor " * 1900 + "} }"
    variable = "query ($n: Int!) { games(first: $n) { items { mods(first: $n) { items { releases { id } } } } } }"
    for document in (bomb, lists, repeated):
        await refused(client, document)
    await refused(client, variable, n=100)
    assert platform.db.statements - before <= 2
    for wrong in ("", "x" * 60_000, " ".join(f"a{n}: games {{ id }}" for n in range(100_000))):
        answer = await client.post("/graphql", json={"query": wrong})
        assert answer.status_code in {400, 413}


async def test_arguments_out_of_bounds_are_refused_with_a_code(client: httpx.AsyncClient, person: MakePerson) -> None:
    await make_game(await person("ada", roles=("admin",)))
    first = 'query ($n: Int!) { game(name: "starfall") { mods(first: $n) { items { id } } } }'
    for number in (0, -1, 101, 2**31 - 1):
        await refused(client, first, "invalid-input", n=number)
    wrong: list[Any] = [2**31, -(2**40), "7", None, 1.5, [], {}, True]
    for value in wrong:
        await refused(client, first, n=value)
    ids = "query ($ids: [ID!]!) { mods(ids: $ids) { id } }"
    await refused(client, ids, "invalid-input", ids=["mod_0000000000000"] * 101)
    await refused(client, ids, "invalid-input", ids=["x"] * 50_000)
    assert (await ask(client, ids, ids=[]))["data"] == {"mods": []}
    for name in ("", "\0", "a\0b", "ü" * 5000, "'; drop table mods; --", "mod_", "mod_zzzzzzzzzzzzz", "-1", "9" * 40):
        answer = await ask(
            client, 'query ($n: String!) { mod(name: $n, game: "starfall") { id } game(name: $n) { id } }', n=name
        )
        codes = {e["extensions"]["code"] for e in answer.get("errors", [])}
        assert "internal" not in codes, name
        assert not any((answer.get("data") or {}).values()), name


async def test_only_reading_and_only_known_operations(client: httpx.AsyncClient) -> None:
    await refused(client, "mutation { games { next_cursor } }")
    await refused(client, "subscription { games { next_cursor } }")
    two = {"query": "query A { __typename } query B { __typename }"}
    assert (await client.post("/graphql", json=two)).json()["errors"][0]["extensions"]["code"] == "invalid-document"
    chosen = await client.post("/graphql", json=two | {"operationName": "B"})
    assert chosen.json() == {"data": {"__typename": "CatalogQuery"}}
    unknown = await client.post("/graphql", json=two | {"operationName": "C"})
    assert unknown.json()["errors"]
    bodies: list[Any] = [
        {},
        {"query": 1},
        {"query": "{a}", "variables": []},
        [],
        None,
        {"query": "{a}", "variables": "x"},
    ]
    for body in bodies:
        assert (await client.post("/graphql", json=body)).status_code == 400, body


async def test_the_page_tries_documents_without_script(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    await world(person, platform)
    page = await client.get("/graphql")
    assert page.status_code == 200
    assert "<form" in page.text
    asked = await client.get("/graphql", params={"query": '{ game(name: "starfall") { name } }'})
    assert "Starfall" in asked.text
    hostile = await client.get("/graphql", params={"query": "</textarea><script>alert(1)</script>"})
    assert hostile.status_code == 200
    assert "<script>alert" not in hostile.text
    assert "type Mod" in (await client.get("/graphql/schema")).text
