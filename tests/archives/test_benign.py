"""Law: what real tools make is accepted, and every file in it is seen under its true name."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from tests.archives.benign import Good, cases, tool_archives
from tests.archives.opening import open_bytes

CASES = list(cases())


@pytest.mark.parametrize("benign", CASES, ids=[case.name for case in CASES])
def test_an_archive_as_real_tools_make_it_is_accepted(benign: Good, tmp_path: Path) -> None:
    result = open_bytes(benign.make(), benign.file, tmp_path)
    assert result.reasons == ()
    assert result.verdict == "accept"
    assert {entry.path for entry in result.entries} == benign.paths


def test_the_installed_tools_archives_are_accepted(tmp_path: Path) -> None:
    archives = list(tool_archives(tmp_path))
    if not archives:
        pytest.skip("no archiver is installed")
    for benign in archives:
        result = open_bytes(benign.make(), benign.file, tmp_path)
        assert result.reasons == (), benign.name
        assert benign.paths <= {entry.path for entry in result.entries}, benign.name


def test_the_manifest_is_sorted_and_hashes_what_is_inside(tmp_path: Path) -> None:
    data = b"hello world\n" * 9
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("z.txt", "a/b.txt", "A.txt"):
            archive.writestr(name, data)
    result = open_bytes(buffer.getvalue(), "x.zip", tmp_path)
    assert [entry.path for entry in result.entries] == ["A.txt", "a/b.txt", "z.txt"]
    assert {entry.sha256 for entry in result.entries} == {hashlib.sha256(data).hexdigest()}
    assert {entry.size for entry in result.entries} == {len(data)}
    assert {entry.type for entry in result.entries} == {"text"}
