"""Law: an extraction writes what the manifest promises, into a fresh folder, or nothing at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec
import pytest

from loadstone.archives import Entry, RefusedError, extract, inspect_sync
from tests.archives.benign import cases as benign_cases
from tests.archives.hostile import all_cases
from tests.archives.zipcraft import Item, build

DATA = {"a.txt": b"alpha", "sub/deep/b.bin": bytes(range(256)) * 999, "sub/empty": b"", "run.sh": b"#!/bin/sh\n"}


def archive(folder: Path, contents: dict[str, bytes] | None = None) -> Path:
    path = folder / "mod.zip"
    items = []
    for name, data in (contents or DATA).items():
        mode = 0o100755 if name.endswith(".sh") else 0o100644
        items.append(Item(name.encode(), data, method=8, attributes=mode << 16))
    path.write_bytes(build(*items))
    return path


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_was_inspected_is_what_is_written(tmp_path: Path) -> None:
    path = archive(tmp_path)
    written = extract(path, tmp_path / "out", inspect_sync(path).entries)
    assert files_below(tmp_path / "out") == DATA
    assert {str(file.relative_to(tmp_path / "out")) for file in written} == set(DATA)
    assert os.access(tmp_path / "out/run.sh", os.X_OK)
    assert not os.access(tmp_path / "out/a.txt", os.X_OK)


def test_a_part_of_the_manifest_writes_that_part(tmp_path: Path) -> None:
    path = archive(tmp_path)
    chosen = [entry for entry in inspect_sync(path).entries if entry.path.startswith("sub/")]
    seen: list[str] = []
    extract(path, tmp_path / "out", chosen, progress=lambda name, _: seen.append(name))
    assert set(files_below(tmp_path / "out")) == {"sub/deep/b.bin", "sub/empty"} == set(seen)


@pytest.mark.parametrize("prefix", ["tar-pax", "7z-", "rar"])
def test_every_format_is_extracted(prefix: str, tmp_path: Path) -> None:
    for number, benign in enumerate(case for case in benign_cases() if case.name.startswith(prefix)):
        path = tmp_path / f"{number}-{benign.file}"
        path.write_bytes(benign.make())
        entries = inspect_sync(path).entries
        out = tmp_path / str(number)
        extract(path, out, entries)
        found = {name: hashlib.sha256(data).hexdigest() for name, data in files_below(out).items()}
        assert found == {entry.path: entry.sha256 for entry in entries}, benign.name


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sha256": "0" * 64}, "digest-mismatch"),
        ({"size": 3}, "size-mismatch"),
        ({"size": 9}, "digest-mismatch"),
        ({"path": "missing.txt"}, "entry-missing"),
        ({"path": "../evil"}, "path-traversal"),
        ({"path": "/tmp/evil"}, "path-absolute"),
        ({"path": "sub\\evil"}, "path-backslash"),
        ({"path": "./a.txt"}, "path-not-canonical"),
        ({"path": "RUN.SH"}, "path-collision"),
    ],
)
def test_a_lying_manifest_leaves_nothing_behind(change: dict[str, object], code: str, tmp_path: Path) -> None:
    path = archive(tmp_path)
    first, *rest = inspect_sync(path).entries
    with pytest.raises(RefusedError) as refusal:
        extract(path, tmp_path / "out", [*rest, msgspec.structs.replace(first, **change)])
    assert refusal.value.code == code
    assert files_below(tmp_path / "out") == {}


def test_a_hostile_archive_writes_nothing_outside_nor_inside(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for number, hostile in enumerate(
        case for case in all_cases() if case.name.startswith(("name-", "link-", "7z-slip"))
    ):
        path = outside / hostile.file
        path.write_bytes(hostile.make())
        out = tmp_path / f"out{number}"
        with pytest.raises(RefusedError):
            extract(path, out, [Entry("evil", 1, "0" * 64, "text")])
        assert files_below(out) == {}
        path.unlink()
        assert files_below(outside) == {}


def test_a_folder_that_is_not_fresh_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").write_text("old")
    with pytest.raises(FileExistsError):
        extract(path, tmp_path / "out", inspect_sync(path).entries)
    assert files_below(tmp_path / "out") == {"old": b"old"}


def test_a_folder_bent_into_a_link_while_writing_is_not_followed(tmp_path: Path) -> None:
    path = archive(tmp_path, {"first": b"1", "sub/second": b"2"})
    target = tmp_path / "elsewhere"
    target.mkdir()
    out = tmp_path / "out"

    def bend(name: str, _size: int) -> None:
        if name == "first":
            (out / "sub").symlink_to(target)

    with pytest.raises(OSError, match=r"sub"):
        extract(path, out, inspect_sync(path).entries, progress=bend)
    assert files_below(target) == {}


def test_hundreds_of_folders_do_not_use_up_descriptors(tmp_path: Path) -> None:
    contents = {f"{number}/{number}/f": b"%d" % number for number in range(400)}
    path = archive(tmp_path, contents)
    extract(path, tmp_path / "out", inspect_sync(path).entries)
    assert files_below(tmp_path / "out") == contents
