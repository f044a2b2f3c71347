"""Lockfiles: one byte string per plan, a hash that notices every change, and what changed between two."""

import json
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone.compat.lockdiff import Direction, diff
from loadstone.compat.lockfile import (
    MAX_BYTES,
    AlteredLockfile,
    InvalidLockfile,
    LockedArtifact,
    LockedEntry,
    LockedLoader,
    Lockfile,
    LockfileError,
    NewerLockfile,
    canonical,
    json_schema,
    parse,
    seal,
)
from loadstone.compat.ranges import from_neutral
from loadstone.compat.versions import scheme

PUBLISHED_SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "lockfile-1.json"


def artifact(letter: str, role: str = "main") -> LockedArtifact:
    return LockedArtifact(letter * 64, 1024, role)


def entry(chain: str, version: str = "1.0.0", **other: Any) -> LockedEntry:
    defaults: dict[str, Any] = {"artifacts": (artifact("a"),), "claim_revision": 7}
    return LockedEntry(chain.partition("/")[0], chain, f"{chain}@{version}", version, **(defaults | other))


def plan(*entries: LockedEntry, **other: Any) -> Lockfile:
    defaults: dict[str, Any] = {"game": "skyrim", "game_build": "1.6.1170", "version_scheme": "semver"}
    return seal(entries=entries, **(defaults | other))


FULL = plan(
    entry("skyui/main", "5.2.0", choices={"resolution": "4K", "Ünïcode": "✓"}, requested=True),
    entry("address-library/main", "11.0.0", artifacts=(artifact("c", "server"), artifact("b"))),
    loader=LockedLoader("skse", "2.2.6"),
    load_order=["address-library/main", "skyui/main"],
)


def test_the_canonical_form_is_these_very_bytes() -> None:
    small = plan(entry("a/main"), game="g", game_build="1")
    assert canonical(small) == (
        b'{"entries":[{"artifacts":[{"role":"main","sha256":"' + b"a" * 64 + b'","size":1024}],"chain":"a/main",'
        b'"choices":{},"claim_revision":7,"mod":"a","release":"a/main@1.0.0","requested":false,"version":"1.0.0"}],'
        b'"game":"g","game_build":"1","load_order":[],"loader":null,"lockfile":1,'
        b'"sha256":"' + small.sha256.encode() + b'","version_scheme":"semver"}'
    )


def test_a_lockfile_reads_back_as_it_was() -> None:
    assert parse(canonical(FULL)) == FULL


def test_the_order_in_which_a_plan_was_found_does_not_matter() -> None:
    entries = [
        entry(f"mod{n}/main", artifacts=(artifact("b"), artifact("a"), artifact("a", "server"))) for n in range(9)
    ]
    first = plan(*entries)
    for seed in range(5):
        Random(seed).shuffle(entries)
        turned = [msgspec.structs.replace(e, artifacts=e.artifacts[::-1]) for e in entries]
        assert canonical(plan(*turned)) == canonical(first)


def test_a_file_laid_out_otherwise_is_the_same_lockfile() -> None:
    document = json.loads(canonical(FULL))
    document["entries"].reverse()
    laid_out = json.dumps(dict(reversed(document.items())), indent=4).encode()
    assert parse(laid_out) == FULL
    assert canonical(parse(laid_out)) == canonical(FULL)


def leaves(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(document, dict):
        return [leaf for key, value in document.items() for leaf in leaves(value, (*path, key))]
    if isinstance(document, list):
        return [leaf for index, value in enumerate(document) for leaf in leaves(value, (*path, index))]
    return [path]


@pytest.mark.parametrize("path", leaves(json.loads(canonical(FULL))), ids=str)
def test_every_changed_value_is_noticed(path: tuple[Any, ...]) -> None:
    document = json.loads(canonical(FULL))
    holder = document
    for step in path[:-1]:
        holder = holder[step]
    value = holder[path[-1]]
    holder[path[-1]] = not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else value + "0"
    with pytest.raises(LockfileError):
        parse(json.dumps(document).encode())


def test_an_altered_lockfile_says_so() -> None:
    with pytest.raises(AlteredLockfile, match="changed or damaged after it was made") as caught:
        parse(canonical(FULL).replace(b"5.2.0", b"5.2.1"))
    assert (caught.value.code, caught.value.status, caught.value.stated) == ("altered_lockfile", 422, FULL.sha256)


def test_a_newer_format_is_refused_politely() -> None:
    newer = json.loads(canonical(FULL)) | {"lockfile": 2, "what_the_future_brings": []}
    with pytest.raises(NewerLockfile, match=r"format 2; this program reads formats up to 1\. Update it") as caught:
        parse(json.dumps(newer).encode())
    assert (caught.value.code, caught.value.found) == ("newer_lockfile", 2)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"\xff\xfe", "malformed"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field `lockfile`"),
        (b'{"lockfile":"1"}', "Expected `int`"),
        (b'{"lockfile":0}', "Invalid enum value 0"),
        (b'{"lockfile":1}', "missing required field `game`"),
        (b"[" * 100_000, "recursion"),
        (canonical(FULL).replace(b'"game"', b'"gaem"'), "unknown field `gaem`"),
        (canonical(FULL).replace(b'"size":1024', b'"size":-1'), r"\$\.entries\[0\]\.artifacts\[0\]\.size"),
        (canonical(FULL).replace(b'"size":1024', b'"size":1.5'), "Expected `int`"),
        (canonical(FULL).replace(b'"skyrim"', b'"sky\\nrim"'), "matching regex"),
        (canonical(FULL).replace(b'"skyrim"', b'"skyrim\\n"'), "matching regex"),
        (canonical(FULL).replace(b'"role":"main"', b'"role":"main\\n"'), "matching regex"),
        (canonical(FULL).replace(b"a" * 64, b"A" * 64), "matching regex"),
        (canonical(FULL).replace(b'"semver"', b'"pep440"'), "no version scheme 'pep440'"),
        (canonical(FULL).replace(b'["address-library/main",', b'["skyui/main",'), "twice in its load order"),
        (canonical(FULL).replace(b'["address-library/main",', b'["other/main",'), "'other/main', which is not among"),
        (canonical(FULL).replace(b'"chain":"skyui/main"', b'"chain":"address-library/main"'), "a chain twice"),
        (b" " * (MAX_BYTES + 1), "at most 16777216 bytes"),
    ],
    ids=range(20),
)
def test_what_is_no_lockfile_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidLockfile, match=reason):
        parse(data)


def test_a_plan_that_contradicts_itself_cannot_be_sealed() -> None:
    with pytest.raises(InvalidLockfile, match="a chain twice"):
        plan(entry("a/main"), entry("a/main", "2.0.0"))
    with pytest.raises(InvalidLockfile, match="not among the entries"):
        plan(entry("a/main"), load_order=["b/main"])
    with pytest.raises(InvalidLockfile, match="not valid Unicode"):
        plan(entry("a/main", choices={"a": "\ud800"}))
    with pytest.raises(InvalidLockfile, match="schema"):
        plan(entry("a/main"), game="")


def test_a_plan_of_twenty_thousand_mods_is_sealed_and_one_more_refused() -> None:
    entries = [entry(f"m{n}/main") for n in range(20_000)]
    assert len(parse(canonical(plan(*entries))).entries) == 20_000
    with pytest.raises(InvalidLockfile, match="20000"):
        plan(*entries, entry("one/more"))


def test_the_published_schema_is_that_of_the_code() -> None:
    assert json.loads(PUBLISHED_SCHEMA.read_text(encoding="utf-8")) == json_schema()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_lockfile_or_refused(data: bytes) -> None:
    with pytest.raises(LockfileError):
        parse(data)


# --- differences ---------------------------------------------------------------------------------------------


def test_a_lockfile_does_not_differ_from_itself() -> None:
    nothing = diff(FULL, FULL)
    assert nothing.is_empty
    assert nothing.unchanged == 2


def test_added_removed_and_kept_entries_are_told_apart() -> None:
    before = plan(entry("a/main"), entry("b/main"), entry("c/main"))
    after = plan(entry("b/main"), entry("c/main"), entry("d/main"))
    found = diff(before, after)
    assert [e.chain for e in found.added] == ["d/main"]
    assert [e.chain for e in found.removed] == ["a/main"]
    assert (found.changed, found.unchanged, found.is_empty) == ((), 2, False)


@pytest.mark.parametrize(
    ("before", "after", "direction", "read", "not_read"),
    [
        ("1.0.0", "1.3.0", Direction.UP, ["1.0.1", "1.1.0", "1.3.0"], ["1.0.0", "1.3.1"]),
        ("1.3.0", "1.0.0", Direction.DOWN, ["1.0.1", "1.1.0", "1.3.0"], ["1.0.0", "1.3.1"]),
    ],
)
def test_a_moved_version_names_the_changelogs_to_merge(
    before: str, after: str, direction: Direction, read: list[str], not_read: list[str]
) -> None:
    found = diff(plan(entry("a/main", before)), plan(entry("a/main", after))).changed[0]
    assert (found.direction, found.before.version, found.after.version) == (direction, before, after)
    assert set(found.parts) == {"release", "version"}
    assert found.changelogs is not None
    key = scheme("semver").key
    releases = from_neutral((found.changelogs,), key)
    assert all(releases.contains(key(version)) for version in read)
    assert not any(releases.contains(key(version)) for version in not_read)


def test_an_entry_can_change_without_its_version() -> None:
    found = diff(plan(entry("a/main")), plan(entry("a/main", choices={"size": "4K"}, requested=True))).changed[0]
    assert (found.direction, found.changelogs) == (Direction.SAME, None)
    assert set(found.parts) == {"choices", "requested"}


def test_versions_without_an_order_are_reported_as_such() -> None:
    found = diff(plan(entry("a/main", "one")), plan(entry("a/main", "two"))).changed[0]
    assert (found.direction, found.changelogs) == (Direction.UNKNOWN, None)
    renamed = diff(plan(entry("a/main", "one")), plan(entry("a/main", "one", requested=True))).changed[0]
    assert renamed.direction is Direction.SAME


def test_build_loader_and_load_order_are_compared() -> None:
    two = (entry("a/main"), entry("b/main"))
    before = plan(*two, loader=LockedLoader("skse", "2.2.5"), load_order=["a/main", "b/main"])
    after = plan(*two, game_build="1.6.1179", loader=LockedLoader("skse", "2.2.6"), load_order=["b/main", "a/main"])
    found = diff(before, after)
    assert found.game_build == ("1.6.1170", "1.6.1179")
    assert found.loader == (LockedLoader("skse", "2.2.5"), LockedLoader("skse", "2.2.6"))
    assert found.load_order_changed
    assert not found.is_empty
    assert found.changed == ()


def test_a_new_mod_alone_does_not_change_the_load_order_of_the_others() -> None:
    before = plan(entry("a/main"), entry("c/main"), load_order=["a/main", "c/main"])
    after = plan(entry("a/main"), entry("b/main"), entry("c/main"), load_order=["a/main", "b/main", "c/main"])
    assert not diff(before, after).load_order_changed


def test_lockfiles_of_two_games_are_not_compared() -> None:
    with pytest.raises(LockfileError, match="choose two of one game"):
        diff(plan(entry("a/main")), plan(entry("a/main"), game="oblivion"))
