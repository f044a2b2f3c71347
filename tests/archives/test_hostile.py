"""Law: every hostile archive is refused, for the right reason, within the caps."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.archives.hostile import Case, all_cases
from tests.archives.opening import open_bytes

CASES = list(all_cases())


@pytest.mark.parametrize("hostile", CASES, ids=[case.name for case in CASES])
def test_a_hostile_archive_is_refused_for_the_right_reason(hostile: Case, tmp_path: Path) -> None:
    result = open_bytes(hostile.make(), hostile.file, tmp_path)
    assert result.verdict == "refuse"
    assert result.entries == ()
    assert result.reasons[0].code in hostile.codes
    assert result.reasons[0].detail.endswith(".")


def test_the_cases_have_unique_names_and_are_many() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert len(names) >= 200
