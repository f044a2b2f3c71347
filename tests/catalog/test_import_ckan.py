"""Importing the catalogue of CKAN: what becomes what, again and again, after a kill, from hostile input."""

import asyncio
import datetime as dt
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import zstandard

from loadstone.catalog import ckan_source
from loadstone.catalog.ckan_source import NotACatalogueError, read_source
from loadstone.catalog.import_ckan import GAME, import_ckan, read_catalogue
from loadstone.catalog.importing import Report, WrongSchemeError
from loadstone.kernel.platform import Platform
from tests.conftest import MakePerson
from tests.factories import make_game, make_mod

SHA = "ab" * 32


def row(id_: str, version: str, **fields: Any) -> dict[str, Any]:
    base = {"name": id_, "abstract": f"{id_} does things.", "authors": ["ada"], "license": ["MIT"]}
    return (
        {"id": id_, "version": version, "size": 10, "sha256": SHA, "released": "2020-01-01T00:00:00Z"} | base | fields
    )


def write_index(path: Path, rows: Sequence[dict[str, Any] | str]) -> Path:
    text = "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows)
    path.write_bytes(zstandard.ZstdCompressor().compress(text.encode()) if path.suffix == ".zst" else text.encode())
    return path


def ckan_file(id_: str, version: str, **fields: Any) -> bytes:
    base = {
        "spec_version": "v1.4", "identifier": id_, "version": version, "name": id_, "abstract": "Does things.",
        "author": "ada", "license": "MIT", "download": f"https://mods.example/{id_}.zip", "download_size": 10,
        "download_hash": {"sha1": "00" * 20, "sha256": SHA.upper()}, "ksp_version": "1.2.3",
    }  # fmt: skip
    return json.dumps(base | fields).encode()


def tar_of(path: Path, members: list[tuple[tarfile.TarInfo | str, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name) if isinstance(name, str) else name
            if isinstance(name, str):
                member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


async def picture(platform: Platform) -> dict[str, Any]:
    """Everything an import makes, without ids and times."""
    db = platform.db
    return {
        "mods": [
            tuple(r)
            for r in await db.fetch(
                "select number, slug, name, summary, description, authors, tags, licence, links, source_key,"
                " published_at, updated_at, visibility, version from mods order by source_key"
            )
        ],
        "releases": [
            tuple(r)
            for r in await db.fetch(
                "select c.package, r.version, r.place, r.channel, r.state, r.published_at, x.file_name, x.size,"
                " x.sha256, x.url from releases r join chains c on c.id = r.chain_id"
                " left join release_artifacts x on x.release_id = r.id order by 1, 3"
            )
        ],
        "claims": sorted(
            (r["package"], r["version"] or "", r["kind"], r["about"], json.dumps(r["body"], sort_keys=True))
            for r in await db.fetch(
                "select c.package, r.version, l.kind, l.about, l.body from claims l"
                " join chains c on c.id = l.chain_id left join releases r on r.id = l.release_id"
                " where l.withdraws is null and not exists (select from claims w where w.withdraws = l.id)"
            )
        ),
        "builds": [tuple(r) for r in await db.fetch("select name, place from builds order by place")],
    }


async def test_the_whole_real_catalogue_is_taken_and_each_row_is_accounted_for(
    platform: Platform, data_sets: Path
) -> None:
    report = await import_ckan(platform, data_sets / "ckan.jsonl.zst")
    assert report.complete
    assert report.mods_new == 3576 == await platform.db.fetchval("select count(*) from mods")
    assert report.releases_new == await platform.db.fetchval("select count(*) from releases")
    assert report.releases_new + report.trouble_counts["duplicate-version"] == 30_561
    assert set(report.trouble_counts) == {"duplicate-version"}
    assert report.claims_new == await platform.db.fetchval("select count(*) from claims")
    builds = [r["name"] for r in await platform.db.fetch("select name from builds order by place")]
    assert builds[0] == "0.23.0"
    assert builds[-1] == "1.12.5"
    events = await platform.db.fetchval("select count(*) from events where kind = 'mods.imported'")
    assert 10 < events < 200


async def test_each_field_finds_its_place(platform: Platform, tmp_path: Path) -> None:
    depends = [
        {"name": "Core", "min": "1.0", "max": "2.0", "help": "the core"},
        {"name": "Exact", "eq": "1:1.0 beta"},
        {"any_of": [{"name": "A"}, {"name": "B", "min": "3"}]},
    ]
    index = write_index(
        tmp_path / "ckan.jsonl.zst",
        [
            row("Mod", "1.0", game_min="1.1", game_max="1.2.9", game_strict=True, depends=depends, provides=["Virtual"],
                recommends=[{"name": "Nice"}], conflicts=[{"name": "Foe", "max": "9"}], suggests=[{"name": "Hint"}],
                release_status="testing", tags=["parts", "Ugly Tag!"], license=["MIT", "CC0"],
                indexed="2020-02-02T00:00:00Z"),
            row("Heir", "1.0"),
            row("Old", "1.0", replaced_by={"name": "Heir"}),
            row("Extra-DLC", "1.0.0", kind="dlc", size=None, sha256=None),
        ],
    )  # fmt: skip
    report = await import_ckan(platform, index)
    seen = await picture(platform)
    of_mod = [claim[2:] for claim in seen["claims"] if claim[0] == "Mod"]
    bodies = {(kind, about): json.loads(body) for kind, about, body in of_mod}
    assert bodies == {
        ("works_with", ""): {"builds": ["1.1", "1.2.9"], "strict": True},
        ("requires", "Core"): {"target": "Core", "range": ">=1.0 <=2.0", "note": "the core"},
        ("requires", "Exact"): {"target": "Exact", "range": '"1:1.0 beta"'},
        ("any_of", ""): {"any_of": [{"target": "A"}, {"target": "B", "range": ">=3"}]},
        ("recommends", "Nice"): {"target": "Nice"},
        ("conflicts", "Foe"): {"target": "Foe", "range": "<=9"},
        ("provides", "Virtual"): {"target": "Virtual"},
    }
    assert ("Heir", "", "replaces", "Old", '{"target": "Old"}') in seen["claims"]
    assert ("Extra-DLC", "", "needs", "", '{"dlc": "Extra-DLC"}') in seen["claims"]
    release = next(r for r in seen["releases"] if r[0] == "Mod")
    when = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    assert release == ("Mod", "1.0", 1, "beta", "published", when, "Mod-1.0.zip", 10, bytes.fromhex(SHA), None)
    assert next(r for r in seen["releases"] if r[0] == "Extra-DLC")[6] is None
    mod = next(m for m in seen["mods"] if m[9] == "Mod")
    assert mod[1:4] == ("mod", "Mod", "Mod does things.")
    assert mod[6:8] == (["parts"], "MIT or CC0")
    assert [t.code for t in report.troubles] == ["bad-tag"]
    assert sum(report.left_out.values()) == 1


async def test_releases_stand_in_the_order_of_their_versions(platform: Platform, tmp_path: Path) -> None:
    index = write_index(tmp_path / "a.jsonl", [row("Mod", v) for v in ("1.10", "1:0.1", "1.2", "1.9")])
    await import_ckan(platform, index)
    assert [r[1] for r in (await picture(platform))["releases"]] == ["1.2", "1.9", "1.10", "1:0.1"]
    write_index(index, [row("Mod", v) for v in ("1.10", "1:0.1", "1.2", "1.9", "1.9.5", "0.1", "1:0.2")])
    report = await import_ckan(platform, index)
    assert (report.releases_new, report.releases_same, report.mods_changed) == (3, 4, 1)
    seen = (await picture(platform))["releases"]
    assert [r[1] for r in seen] == ["0.1", "1.2", "1.9", "1.9.5", "1.10", "1:0.1", "1:0.2"]
    assert [r[2] for r in seen] == [1, 2, 3, 4, 5, 6, 7]


async def test_a_second_run_changes_nothing(platform: Platform, tmp_path: Path) -> None:
    index = write_index(
        tmp_path / "ckan.jsonl.zst",
        [row(f"Mod{n}", f"1.{k}", depends=[{"name": "Mod0"}]) for n in range(30) for k in range(5)]
        + [row("Gone", "1", replaced_by={"name": "Mod1"})],
    )
    await import_ckan(platform, index)
    before = await picture(platform)
    events = await platform.db.fetchval("select max(id) from events")
    report = await import_ckan(platform, index)
    assert (report.mods_same, report.mods_new, report.mods_changed, report.claims_new) == (31, 0, 0, 0)
    assert await picture(platform) == before
    assert await platform.db.fetchval("select max(id) from events") == events


async def test_a_relation_that_is_stated_no_more_is_withdrawn_and_stays_in_the_history(
    platform: Platform, tmp_path: Path
) -> None:
    index = write_index(tmp_path / "a.jsonl", [row("Mod", "1", depends=[{"name": "A"}, {"name": "B"}]), row("A", "1")])
    await import_ckan(platform, index)
    write_index(index, [row("Mod", "1", depends=[{"name": "B"}, {"name": "C"}])])
    report = await import_ckan(platform, index)
    assert (report.claims_new, report.claims_withdrawn) == (1, 1)
    assert [c[3] for c in (await picture(platform))["claims"]] == ["B", "C"]
    assert await platform.db.fetchval("select count(*) from claims where about = 'A'") == 1
    assert (await import_ckan(platform, index)).mods_same == 1


async def test_a_file_becomes_better_known_but_never_another_one(platform: Platform, tmp_path: Path) -> None:
    await import_ckan(platform, write_index(tmp_path / "a.jsonl", [row("Mod", "1", sha256=None), row("Two", "1")]))
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "Mod.ckan").write_bytes(ckan_file("Mod", "1"))
    (folder / "Two.ckan").write_bytes(ckan_file("Two", "1", download_hash={"sha256": "cd" * 32}))
    report = await import_ckan(platform, folder)
    releases = {r[0]: r for r in (await picture(platform))["releases"]}
    assert releases["Mod"][7:] == (10, bytes.fromhex(SHA), "https://mods.example/Mod.zip")
    assert releases["Two"][7:] == (10, bytes.fromhex(SHA), None)
    assert [(t.code, t.where) for t in report.troubles] == [("file-changed", "Two 1")]


async def test_what_moderators_and_adopting_teams_decided_stays(
    platform: Platform, tmp_path: Path, person: MakePerson
) -> None:
    index = write_index(tmp_path / "a.jsonl", [row("Hidden", "1"), row("Adopted", "1")])
    await import_ckan(platform, index)
    ada = await person("ada")
    async with platform.transaction() as tx:
        await tx.execute("update mods set visibility = 'quarantined' where source_key = 'Hidden'")
        await tx.execute("insert into teams (id, name) values (1, 'adopters')")
        await tx.execute("update mods set team_id = 1, name = 'Ours' where source_key = 'Adopted'")
    write_index(index, [row("Hidden", "2"), row("Adopted", "2")])
    report = await import_ckan(platform, index)
    mods = {m[9]: m for m in (await picture(platform))["mods"]}
    assert mods["Hidden"][12] == "quarantined"
    assert mods["Adopted"][2] == "Ours"
    assert [t.code for t in report.troubles] == ["adopted"]
    assert (await ada.http.get(f"/api/v1/games/{GAME}/mods/hidden")).status_code == 404


async def test_an_imported_mod_is_read_like_any_other(
    platform: Platform, tmp_path: Path, client: httpx.AsyncClient
) -> None:
    await import_ckan(platform, write_index(tmp_path / "a.jsonl", [row("Mod", "1"), row("Mod", "2")]))
    answer = await client.get(f"/api/v1/games/{GAME}/mods/mod")
    assert answer.status_code == 200
    assert answer.json()["downloads"] == 0
    releases = (await client.get(f"/api/v1/mods/{answer.json()['id']}/releases")).json()["items"]
    assert [r["version"] for r in releases] == ["2", "1"]
    assert releases[0]["artifacts"][0]["artifact"] is None
    assert releases[0]["artifacts"][0]["sha256"] == SHA


async def test_a_mod_that_is_here_keeps_its_slug_and_its_package(
    platform: Platform, tmp_path: Path, person: MakePerson
) -> None:
    boss, ada = await person("boss", roles=("admin",)), await person("ada")
    await make_game(boss, GAME, version_scheme="ckan")
    await make_mod(ada, GAME, name="core", slug="core")
    report = await import_ckan(platform, write_index(tmp_path / "a.jsonl", [row("Core", "1"), row("core", "1")]))
    slugs = {r["slug"] for r in await platform.db.fetch("select slug from mods")}
    assert "core" in slugs
    assert len(slugs) == 2
    assert [(t.code, t.where) for t in report.troubles] == [("package-taken", "core")]


async def test_a_game_with_another_version_scheme_is_refused(
    platform: Platform, tmp_path: Path, person: MakePerson
) -> None:
    await make_game(await person("boss", roles=("admin",)), GAME, version_scheme="semver")
    with pytest.raises(WrongSchemeError):
        await import_ckan(platform, write_index(tmp_path / "a.jsonl", [row("Core", "1")]))
    assert await platform.db.fetchval("select count(*) from mods") == 0


_CHILD = """
import asyncio, sys
from pathlib import Path
from loadstone.catalog.import_ckan import import_ckan
from loadstone.kernel.config import Config
from loadstone.kernel.platform import open_platform

async def main():
    config = Config(data=Path(sys.argv[2]), database_url=sys.argv[1], secret_key="k" * 32)
    async with open_platform(config) as platform:
        await import_ckan(platform, Path(sys.argv[3]), lambda done, of: print(done, flush=True))

asyncio.run(main())
"""


async def test_a_killed_import_goes_on_where_it_stopped(platform: Platform, tmp_path: Path) -> None:
    rows = [
        row(f"Mod{n}", f"1.{k}", depends=[{"name": f"Mod{n // 2}"}], game_min="1.0")
        for n in range(300)
        for k in range(10)
    ]
    index = write_index(tmp_path / "ckan.jsonl.zst", rows)
    arguments = [sys.executable, "-c", _CHILD, platform.config.database_url, str(tmp_path / "data"), str(index)]
    for stop_behind in (400, 1600):
        child = await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE)
        assert child.stdout is not None
        async for line in child.stdout:
            if int(line) >= stop_behind:
                break
        child.send_signal(signal.SIGKILL)
        assert await child.wait() == -signal.SIGKILL
    there = await platform.db.fetchval("select count(*) from releases")
    assert 1600 <= there <= 3000
    report = await import_ckan(platform, index)
    assert report.releases_same == there
    assert report.releases_new == 3000 - there
    seen = await picture(platform)
    assert len(seen["mods"]) == 300
    assert len(seen["releases"]) == 3000
    assert Counter(seen["claims"]).most_common(1)[0][1] == 1
    assert len(seen["claims"]) == 6000
    assert sorted(m[0] for m in seen["mods"]) == list(range(1, 301))


async def test_two_imports_at_once_take_each_mod_once(platform: Platform, tmp_path: Path) -> None:
    index = write_index(tmp_path / "a.jsonl", [row(f"Mod{n}", f"1.{k}") for n in range(40) for k in range(30)])
    reports = await asyncio.gather(*(import_ckan(platform, index) for _ in range(3)))
    assert sum(report.mods_new for report in reports) == 40
    assert sum(report.releases_new for report in reports) == 1200
    assert len((await picture(platform))["releases"]) == 1200


async def test_a_folder_a_tar_and_the_index_give_the_same(platform: Platform, tmp_path: Path) -> None:
    fields: dict[str, Any] = {
        "ksp_version": "1.2", "depends": [{"name": "X", "min_version": "2"}], "release_date": "2020-01-01T00:00:00Z",
        "resources": {"homepage": "https://example.org/x", "evil": "javascript:alert(1)", "odd": 7},
    }  # fmt: skip
    folder = tmp_path / "CKAN-meta" / "Mod"
    folder.mkdir(parents=True)
    (folder / "Mod-1.ckan").write_bytes(ckan_file("Mod", "1", **fields))
    (folder.parent / "builds.json").write_text('{"builds": {"20": "1.2.0.20", "3": "1.1.0.3", "21": "1.2.0.21"}}')
    members = [
        ("meta/Mod/Mod-1.ckan", ckan_file("Mod", "1", **fields)),
        ("meta/builds.json", (folder.parent / "builds.json").read_bytes()),
        ("meta/README.md", b"hello"),
    ]
    from_folder = read_catalogue(folder.parent, Report())
    from_tar = read_catalogue(tar_of(tmp_path / "meta.tar.gz", list(members)), Report())
    assert from_folder.mods == from_tar.mods
    assert from_folder.game == from_tar.game
    assert from_folder.game.builds == ("1.1.0", "1.2.0")
    assert from_folder.mods[0].links == {"homepage": "https://example.org/x"}
    write_index(
        tmp_path / "a.jsonl",
        [row("Mod", "1", game_min="1.2", game_max="1.2", depends=[{"name": "X", "min": "2"}])],
    )
    from_index = read_catalogue(tmp_path / "a.jsonl", Report())
    assert from_index.mods[0].releases[0].claims == from_tar.mods[0].releases[0].claims


BAD_LINES = [
    "{",
    "not json",
    "[]",
    "null",
    '{"id": 7, "version": "1"}',
    '{"id": "A"}',
    '{"id": "A", "version": "1", "size": -1}',
    '{"id": "A", "version": "1", "size": 1e999}',
    '{"id": "A", "version": "1", "sha256": "zz"}',
    '{"id": "A", "version": "1", "depends": [7]}',
    '{"id": "A", "version": "1", "released": "yesterday"}',
    '{"id": "A", "version": "1", "kind": "virus"}',
    '{"id": "\\ud800", "version": "1"}',
    '{"id": "A b", "version": "1"}',
    '{"id": "", "version": "1"}',
    '{"id": "A", "version": ""}',
    '{"id": "A", "version": "   "}',
    '{"id": "A", "version": "1\\u0000"}',
    '{"id": "A", "version": "9999999999999999999:1"}',
    '{"id": "A", "version": "' + "1" * 101 + '"}',
    '{"id": "A", "version": "1", "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
]


async def test_lines_that_cannot_be_used_are_named_and_the_others_taken(platform: Platform, tmp_path: Path) -> None:
    odd = row(
        "Odd\u200bName", "1", name="\x00\x1b[31m", abstract="a\x00b" * 400, authors=["\x00", "x" * 500],
        tags=["t" * 99],
        depends=[{"name": "a b"}, {"name": ""}, {"name": "X", "min": ""}], provides=["\x00"],
        released="0001-01-01T00:00:00+14:00",
    )  # fmt: skip
    index = write_index(tmp_path / "a.jsonl", [row("Good", "1"), *BAD_LINES, odd, row("Good", "2")])
    report = await import_ckan(platform, index)
    assert report.complete
    assert report.releases_new == 3
    bad = {t.where for t in report.troubles if t.code in {"unusable", "bad-identifier", "bad-version"}}
    assert bad == {f"line {n}" for n in range(2, 2 + len(BAD_LINES))}
    assert report.trouble_counts["bad-relation"] == 4
    seen = await picture(platform)
    assert next(m for m in seen["mods"] if m[9].startswith("Odd"))[3].endswith("…")


async def test_an_index_that_breaks_off_is_taken_as_far_as_it_goes(platform: Platform, tmp_path: Path) -> None:
    whole = write_index(tmp_path / "ckan.jsonl.zst", [row(f"Mod{n}", os.urandom(20).hex()) for n in range(3000)])
    part = tmp_path / "part.jsonl.zst"
    part.write_bytes(whole.read_bytes()[:-2000])
    report = await import_ckan(platform, part)
    assert not report.complete
    assert report.trouble_counts["incomplete"] == 1
    assert 0 < report.mods_new < 3000
    rest = await import_ckan(platform, whole)
    assert rest.complete
    assert rest.mods_new + report.mods_new == 3000


def test_links_absolute_paths_and_huge_members_of_a_tar_are_named_and_left_out(tmp_path: Path) -> None:
    link = tarfile.TarInfo("meta/Link.ckan")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    hard = tarfile.TarInfo("meta/Hard.ckan")
    hard.type, hard.linkname = tarfile.LNKTYPE, "meta/Good.ckan"
    fifo = tarfile.TarInfo("meta/Fifo.ckan")
    fifo.type = tarfile.FIFOTYPE
    huge = b" " * (ckan_source.MOST_LINE + 1)
    path = tar_of(
        tmp_path / "meta.tar.gz",
        [
            (link, b""), (hard, b""), (fifo, b""), ("/abs/A.ckan", ckan_file("A", "1")),
            ("meta/../../B.ckan", ckan_file("B", "1")), ("meta/Huge.ckan", huge), ("meta/Bad.ckan", b"{"),
            ("meta/Good.ckan", ckan_file("Good", "1")),
        ],
    )  # fmt: skip
    report = Report()
    source = read_source(path, report)
    assert [located.row.id for located in source.rows] == ["Good"]
    assert [t.code for t in report.troubles] == [
        "not-a-file", "not-a-file", "not-a-file", "unsafe-path", "unsafe-path", "too-long", "unusable",
    ]  # fmt: skip
    assert {p.name for p in tmp_path.iterdir()} == {"meta.tar.gz"}


@pytest.mark.parametrize("cut", [50, 300, 700, -200, -20])
def test_a_tar_that_breaks_off_never_breaks_the_import(tmp_path: Path, cut: int) -> None:
    members: list[tuple[tarfile.TarInfo | str, bytes]] = [
        (f"meta/M{n}.ckan", ckan_file(f"M{n}", os.urandom(8).hex())) for n in range(20)
    ]
    path = tar_of(tmp_path / "meta.tar.gz", members)
    path.write_bytes(path.read_bytes()[:cut])
    report = Report()
    source = read_source(path, report)
    assert not report.complete
    assert len(source.rows) <= 20


def test_garbage_behind_a_gzip_head_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    for content in (b"\x1f\x8b" + os.urandom(500), gzip.compress(os.urandom(5000)), gzip.compress(b"")):
        path.write_bytes(content)
        report = Report()
        assert read_source(path, report).rows == []


def test_bombs_end_at_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ckan_source, "MOST_BYTES", 4 << 20)
    good = json.dumps(row("Good", "1")).encode() + b"\n"
    zst = tmp_path / "bomb.jsonl.zst"
    zst.write_bytes(zstandard.ZstdCompressor().compress(good + b" " * (64 << 20)))
    report = Report()
    assert [at.row.id for at in read_source(zst, report).rows] == ["Good"]
    assert not report.complete
    archive = tar_of(tmp_path / "bomb.tar.gz", [("a.ckan", ckan_file("A", "1")), ("zeros", bytes(8 << 20))])
    report = Report()
    assert [at.row.id for at in read_source(archive, report).rows] == ["A"]
    assert not report.complete


def test_in_a_folder_links_and_pipes_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "Good.ckan").write_bytes(b"\xef\xbb\xbf" + ckan_file("Good", "1"))
    (tmp_path / "Link.ckan").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "Pipe.ckan")
    (tmp_path / "Large.ckan").write_bytes(b" " * (ckan_source.MOST_LINE + 1))
    report = Report()
    assert [at.row.id for at in read_source(tmp_path, report).rows] == ["Good"]
    assert sorted(t.where for t in report.troubles) == ["Large.ckan", "Link.ckan", "Pipe.ckan"]


def test_what_is_no_catalogue_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04")
    os.mkfifo(tmp_path / "pipe")
    for name in ("x.zip", "missing", "pipe"):
        with pytest.raises(NotACatalogueError):
            read_source(tmp_path / name, Report())
