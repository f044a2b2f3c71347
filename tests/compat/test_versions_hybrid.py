"""The default scheme for free text."""

import pytest

from loadstone.compat.versions import scheme

HYBRID = scheme("hybrid")

ASCENDING = [
    # numbers, padded with zeros
    "0.9 < 1 < 1.0.1 < 1.1 < 1.2 < 1.10 < 2",
    "1.2 < 1.2.0.1 < 1.2.1",
    # words that say before
    "1.0-dev < 1.0 wip < 1.0-unofficial < 1.0 alpha < 1.0a2 < 1.0 beta < 1.0-b6 < 1.0pre < 1.0rc1 < 1.0",
    "1.0-pre-alpha < 1.0-alpha",
    "1.0 rc1 < 1.0 rc2 < 1.0 Release Candidate 3 < 1.0-RC10 < 1.0",
    "1.0.9 < 1.0.10 Public Beta < 1.0.10 < 1.0.10 hot fix < 1.0.11",
    "Alpha-0.8 < 0.8 < Beta_0.9 < 0.9",
    "1.2PreRelease < 1.2",
    # words, letters and numbers that say after
    "1.0 < 1.0 final < 1.0a < 1.0b < 1.0c < 1.0 hotfix < 1.0 hotfix 2 < 1.0-1 < 1.0-2 < 1.0-10 < 1.0.1",
    "2024.07.13.0 < 2024.07.13.0-b < 2024.07.13.1",
    "0.9.1 < 0.9.1_hotfix < 0.9.1_hotfix2 < 0.9.2",
    "0.2 beta - Auar < 0,2 - Pyrox",
    "1.2a < 1.2.1",
    "1.10.1-1 < 1.10.1-2 < 1.10.1-10",
    # a leading name or v means nothing
    "v1.4.2.6 < 1.4.2.7 < Version_1.5 < v.2.0 < KSP 2.1",
    # a zero in front makes a fraction
    "1.01 < 1.0.4 < 1.05 < 1.09.1 < 1.1 < 1.2.0.2",
    "4.05 < 4.1",
    # a date in the last place tells builds apart, in another place it is a number
    "1.18 < 1.18.20210523 < 1.18.20210524 < 1.18.1.20210524 < 1.19",
    "20160603 < 20170311",
    "2021.04.19 < 2021.10.5 < 2022.1.1",
    # no number at all
    "beta < v < V1",
    "GRAPES < 1.0.2.1",
    # epochs come first
    "2.7 < 1:1.0 < 1:1.1 < 2:0.1",
]
SAME = [
    "1 = 1.0 = v1.0.0 = V1 = Version 1.0",
    "1.0 BETA 2 = 1.0-beta2 = 1.0_beta.2 = 1.0b2",
    "0:1.0 = 1.0",
    "1.0 fix = 1.0 patch",
]


@pytest.mark.parametrize("chain", ASCENDING)
def test_versions_ascend_as_people_mean_them(chain: str) -> None:
    versions = chain.split(" < ")
    for position, older in enumerate(versions):
        for newer in versions[position + 1 :]:
            assert HYBRID.compare(older, newer) == -1, (older, newer)


@pytest.mark.parametrize("group", SAME)
def test_spellings_of_one_version_are_equal(group: str) -> None:
    assert len({HYBRID.key(version) for version in group.split(" = ")}) == 1


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("1.12.*", "1.12-dev|1.12 beta|1.12|1.12.0|1.12a|1.12.5|1.12.99", "1.11.9|1.13-alpha|1.13|1.1|1.120"),
        ("1.12.x", "1.12.5", "1.13"),
        ("1.*", "1-wip|1.0|1.99", "0.9|2-alpha|2"),
        ("1.0.*", "1.0|1.0.5|1 beta", "1.1|0.9"),
        (">1.12.*", "1.13 beta|2", "1.12.9"),
        ("<=1.12.*", "1.12.9|1.0", "1.13 alpha"),
        (">=1.12.*", "1.12-dev|1.13", "1.11"),
        ("<1.12.*", "1.11", "1.12-dev"),
        ("!=1.12.*", "1.11|1.13", "1.12|1.12.3"),
        ("2:1.9.*", "2:1.9.4", "1.9.4|2:1.10"),
        ('>="1.0 Public Beta" <2.0', "1.0 public beta 2|1.0|1.9", "1.0 alpha|2.0"),
    ],
)
def test_ranges_hold_what_they_say(text: str, inside: str, outside: str) -> None:
    versions = HYBRID.parse_range(text)
    assert [v for v in inside.split("|") if not versions.contains(HYBRID.key(v))] == []
    assert [v for v in outside.split("|") if versions.contains(HYBRID.key(v))] == []


def test_a_range_of_a_whole_line_prints_as_it_was_written() -> None:
    assert HYBRID.format_range(HYBRID.parse_range("1.12.x || 1.13.*")) == ">=1.12.* <1.14.*"
    assert HYBRID.format_range(HYBRID.parse_range("1.12.x")) == "1.12.*"
    assert HYBRID.format_range(HYBRID.parse_range(">=1.12.* <2.0")) == ">=1.12.* <2.0"
