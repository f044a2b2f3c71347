"""Law: what we accept, independent readers list with the same names, sizes and bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.archives import readers
from tests.archives.benign import Good, cases
from tests.archives.opening import open_bytes

ALL = list(cases())
ZIPS = [case for case in ALL if not case.name.startswith(("tar-", "7z-", "rar"))]
TARS = [case for case in ALL if case.name.startswith("tar-") and not case.file.endswith("zst")]
SEVENS = [case for case in ALL if case.name.startswith("7z-")]
# zipfile of this Python does not know the Unicode Path field; Info-ZIP below does.
NOT_PYTHON = {"info-zip-unicode-path", "unicode-path-better-than-cp437"}


def ours(case: Good, folder: Path) -> readers.Listing:
    result = open_bytes(case.make(), case.file, folder)
    assert result.reasons == ()
    return {entry.path: (entry.size, entry.sha256) for entry in result.entries}


@pytest.mark.parametrize("case", ZIPS, ids=[case.name for case in ZIPS])
def test_a_zip_is_the_same_from_its_end_and_from_its_front(case: Good, tmp_path: Path) -> None:
    mine = ours(case, tmp_path)
    if case.name not in NOT_PYTHON:
        assert readers.by_python(case.make()) == mine
        from_front = readers.by_walking_from_the_front(case.make())
        assert from_front is None or from_front == mine


@pytest.mark.parametrize("case", ZIPS, ids=[case.name for case in ZIPS])
def test_a_zip_is_the_same_to_info_zip(case: Good, tmp_path: Path) -> None:
    path = tmp_path / "upload.zip"
    path.write_bytes(case.make())
    other = readers.by_info_zip(path, tmp_path)
    if other is None:
        pytest.skip("unzip is absent, or lacks the method or the length of name")
    assert other == ours(case, tmp_path)


@pytest.mark.parametrize("case", TARS, ids=[case.name for case in TARS])
def test_a_tar_is_the_same_to_tarfile(case: Good, tmp_path: Path) -> None:
    assert readers.by_tarfile(case.make()) == ours(case, tmp_path)


@pytest.mark.parametrize("case", SEVENS, ids=[case.name for case in SEVENS])
def test_a_7z_is_the_same_to_py7zr(case: Good, tmp_path: Path) -> None:
    assert readers.by_py7zr(case.make()) == ours(case, tmp_path)
