"""Law: every hostile archive is refused, for the right reason, within the caps."""

from __future__ import annotations

import pytest

from loadstone.archives.gate import Gate
from loadstone.archives.model import Limits, Profile
from loadstone.archives.source import BytesSource
from tests.archives.hostile import Case, all_cases

CASES = list(all_cases())


@pytest.mark.parametrize("hostile", CASES, ids=[case.name for case in CASES])
def test_a_hostile_archive_is_refused_for_the_right_reason(hostile: Case) -> None:
    result = Gate(Limits(), Profile()).inspect(BytesSource(hostile.make()), hostile.file)
    assert result.verdict == "refuse"
    assert result.entries == ()
    assert result.reasons[0].code in hostile.codes
    assert result.reasons[0].detail.endswith(".")


def test_the_cases_have_unique_names_and_are_many() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert len(names) >= 200
