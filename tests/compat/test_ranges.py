"""Ranges as sets: their algebra, their text in each scheme's syntax, their neutral form."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone.compat.ranges import (
    Interval,
    InvalidRange,
    NeutralInterval,
    NeutralRange,
    Range,
    SortKey,
    from_neutral,
    to_neutral,
)
from loadstone.compat.versions import SCHEMES, InvalidVersion, scheme

POINTS = [SortKey(bytes((n,))) for n in range(8)]


def bound(key: SortKey) -> str:
    return str(key[0])


intervals = st.builds(
    lambda low, low_in, high, high_in: Interval(
        low,
        None if low is None else bound(low),
        low_in and low is not None,
        high,
        None if high is None else bound(high),
        high_in and high is not None,
    ),
    st.none() | st.sampled_from(POINTS),
    st.booleans(),
    st.none() | st.sampled_from(POINTS),
    st.booleans(),
)
ranges = st.lists(intervals, max_size=4).map(Range.of)
# between the points as well: b"\x03" < b"\x03\x80" < b"\x04"
PROBES = [key for point in POINTS for key in (point, SortKey(point + b"\x80"))] + [SortKey(b"")]


def held(versions: Range) -> set[SortKey]:
    return {key for key in PROBES if versions.contains(key)}


@settings(max_examples=300, deadline=None)
@given(ranges, ranges)
def test_the_algebra_is_that_of_sets(a: Range, b: Range) -> None:
    assert held(a.intersect(b)) == held(a) & held(b)
    assert held(a.union(b)) == held(a) | held(b)
    assert held(a.complement()) == set(PROBES) - held(a)


@settings(max_examples=300, deadline=None)
@given(st.lists(intervals, max_size=5))
def test_a_union_is_the_same_in_every_order_and_never_overlaps(parts: list[Interval]) -> None:
    whole = Range.of(parts)
    assert whole.same_versions_as(Range.of(reversed(parts)))
    assert held(whole) == {key for key in PROBES if any(part.contains(key) for part in parts)}
    for left, right in zip(whole.intervals, whole.intervals[1:], strict=False):
        assert left.high_key is not None
        assert right.low_key is not None
        assert (left.high_key, left.high_inclusive) <= (right.low_key, False)


@settings(max_examples=200, deadline=None)
@given(ranges)
def test_complement_twice_is_the_same_set(versions: Range) -> None:
    assert versions.complement().complement().same_versions_as(versions)
    assert versions.intersect(versions.complement()).is_empty
    assert versions.union(versions.complement()).is_any


def test_any_holds_everything_and_none_nothing() -> None:
    assert Range.any().is_any
    assert not Range.any().is_empty
    assert held(Range.any()) == set(PROBES)
    assert Range.none().is_empty
    assert not Range.none().is_any
    assert held(Range.none()) == set()
    assert Range.any().complement() == Range.none()


def test_neighbours_merge_only_where_no_version_lies_between() -> None:
    below, above = Range.at_most(POINTS[3], "3", inclusive=False), Range.at_least(POINTS[3], "3")
    assert below.union(above).is_any
    around = below.union(Range.at_least(POINTS[3], "3", inclusive=False))
    assert not around.is_any
    assert len(around.intervals) == 2
    assert not around.contains(POINTS[3])


# --- texts ---------------------------------------------------------------------------------------------------

VERSIONS = {
    "hybrid": ["1.0", "v2.1 beta", "0.9a", "3:1.2", 'quoted "text"', "0,2 - Pyrox", "any", "none", "*", "1,>2", "é"],
    "semver": ["1.0.0", "1.0.0-rc.1", "0.2.3", "2.0.0-0"],
    "maven": ["1.0", "1.0-rc1", "2-SNAPSHOT", "1.0.x"],
    "fabric": ["1.0", "1.4-", "0.3.1-beta.2", "1.19.2+build with spaces"],
    "smapi": ["1.0", "1.2.3-beta.1", "1.4.0.6", " 1.5 "],
    "factorio": ["1.1.0", "0.17.60", "2.0"],
    "ckan": ["1.0", "2:1.0 Public Beta", "v6a12"],
    "loot": ["1.0", "0, 2, 0, 12", "1.0.0-alpha 1"],
    "int64": ["36028797018963968", "1.0.0.1", "-5"],
}


@st.composite
def scheme_ranges(draw: st.DrawFn) -> tuple[str, Range]:
    name = draw(st.sampled_from(sorted(VERSIONS)))
    key = scheme(name).key
    drawn = draw(st.lists(st.sampled_from(VERSIONS[name]), max_size=4, unique=True))
    parts = []
    for low in drawn:
        high = draw(st.none() | st.sampled_from(VERSIONS[name]))
        inclusive = draw(st.booleans())
        low_range = draw(st.sampled_from([Range.any(), Range.at_least(key(low), low, inclusive=inclusive)]))
        high_range = Range.any() if high is None else Range.at_most(key(high), high, inclusive=not inclusive)
        parts.append(draw(st.sampled_from([low_range.intersect(high_range), Range.exactly(key(low), low)])))
    return name, Range.of(interval for part in parts for interval in part.intervals)


@settings(max_examples=600, deadline=None)
@given(scheme_ranges())
def test_a_printed_range_reads_back_as_the_same_set(case: tuple[str, Range]) -> None:
    name, versions = case
    text = scheme(name).format_range(versions)
    assert scheme(name).parse_range(text).same_versions_as(versions), text


@settings(max_examples=300, deadline=None)
@given(scheme_ranges())
def test_the_neutral_form_survives_json(case: tuple[str, Range]) -> None:
    name, versions = case
    document = msgspec.json.encode(to_neutral(versions))
    read = msgspec.json.decode(document, type=NeutralRange)
    assert from_neutral(read, scheme(name).key).same_versions_as(versions)


def test_the_neutral_form_is_readable() -> None:
    neutral = to_neutral(scheme("semver").parse_range("^1.2.3 || 3.0.0"))
    assert json.loads(msgspec.json.encode(neutral)) == [
        {"low": "1.2.3", "high": "2.0.0-0", "high_inclusive": False},
        {"low": "3.0.0", "high": "3.0.0"},
    ]
    assert to_neutral(Range.any()) == (NeutralInterval(),)
    assert to_neutral(Range.none()) == ()


def test_a_neutral_range_with_overlaps_and_empty_parts_is_mended() -> None:
    key = scheme("semver").key
    untidy = (
        NeutralInterval("2.0.0", "1.0.0"),
        NeutralInterval("1.0.0", "1.5.0"),
        NeutralInterval("1.2.0", "3.0.0", high_inclusive=False),
    )
    assert to_neutral(from_neutral(untidy, key)) == (NeutralInterval("1.0.0", "3.0.0", high_inclusive=False),)
    with pytest.raises(InvalidVersion):
        from_neutral((NeutralInterval("one"),), key)


HOLDS = [
    # npm's own documentation: node-semver, "Advanced Range Syntax"
    ("semver", "1.2.3 - 2.3.4", "1.2.3 2.3.4", "1.2.2 2.3.5"),
    ("semver", "1.2 - 2.3", "1.2.0 2.3.9", "1.1.9 2.4.0 2.4.0-rc.1"),
    ("semver", "1.x", "1.0.0 1.99.0", "0.9.9 1.0.0-rc.1 2.0.0-rc.1 2.0.0"),
    ("semver", "1.2", "1.2.0 1.2.9", "1.3.0"),
    ("semver", "", "0.0.0 9.9.9", ""),
    ("semver", "~1.2.3", "1.2.3 1.2.9", "1.2.2 1.3.0 1.3.0-0"),
    ("semver", "~1", "1.0.0 1.9.0", "2.0.0"),
    ("semver", "^0.2.3", "0.2.3 0.2.9", "0.3.0 0.2.2"),
    ("semver", "^0.0.3", "0.0.3", "0.0.4 0.0.2"),
    ("semver", "^0.0", "0.0.0 0.0.9", "0.1.0"),
    ("semver", "^1.2.3-beta.2", "1.2.3-beta.2 1.2.3-beta.11 1.2.3 1.9.0", "1.2.3-beta.1 2.0.0-alpha"),
    ("semver", ">1.2", "1.3.0", "1.2.9"),
    ("semver", "<=1.2", "1.2.9", "1.3.0-0 1.3.0"),
    ("semver", "<2.0.0", "1.9.9", "2.0.0 2.0.0-rc.1"),
    ("semver", ">=1.2.7 <1.3.0", "1.2.7 1.2.99", "1.2.6 1.3.0 1.3.0-beta"),
    ("semver", "1.2.7 || >=1.2.9 <2.0.0", "1.2.7 1.2.9 1.4.6", "1.2.8 2.0.0"),
    ("semver", ">= 1.0.0, < 2", "1.0.0 1.5.0", "2.0.0"),
    ("semver", "=v1.2.3", "1.2.3", "1.2.4"),
    ("semver", "!=1.2.x", "1.1.9 1.3.0", "1.2.0 1.2.9"),
    ("semver", '<"2.0.0"', "1.9.9 2.0.0-rc.1", "2.0.0"),
    ("semver", "<1.0.0 || >1.0.0", "0.9.0 1.0.1", "1.0.0 1.0.0-rc.1"),
    # fabric.mod.json
    ("fabric", "2.x.x", "2.0.0 2.0.0-alpha 2.9", "1.99 3.0-alpha"),
    ("fabric", ">=1.19 <1.20- || 1.21.x", "1.19 1.19.4 1.21.1-rc.1", "1.20-pre.1 1.20 1.22"),
    ("fabric", "=1.0", "1 1.0.0", "1.0.1"),
    ("fabric", "~2147483647.2147483647", "2147483647.2147483647.5", "2147483647.1"),
    # a manifest's minimum version
    ("smapi", "1.2.3", "1.2.3 1.2.4 2.0", "1.2.3-beta 1.2"),
    ("smapi", "=1.2.3", "1.2.3", "1.2.4"),
    # a dependency in info.json
    ("factorio", ">= 1.1", "1.1.0 2.0.0", "1.0.9"),
    ("factorio", "< 2.0.0", "1.1.110", "2.0.0"),
    ("ckan", ">=1.0 <=2.0", "1.0 1.5beta 2.0", "0.9 2.0a"),
    ("ckan", '="1.0.10 Public Beta"', "1.0.10 Public Beta", "1.0.10"),
    ("loot", "!=1.3", "1.2 1.4", "1.3.0"),
    ("loot", ">= 2.0", "2.0a 3", "2.0-rc"),
    ("int64", ">=1.0.0.0 <72057594037927936", "36028797018963968 1.255.0.0", "5 2.0.0.0"),
    ("hybrid", "1.0 || >2", "v1.0 2.0.1", "1.1 2.0"),
]


@pytest.mark.parametrize(("name", "text", "inside", "outside"), HOLDS)
def test_a_range_holds_what_its_ecosystem_says(name: str, text: str, inside: str, outside: str) -> None:
    order = scheme(name)
    versions = order.parse_range(text)
    split = (lambda listed: [listed] if listed else []) if "Public" in inside else str.split
    assert [v for v in split(inside) if not versions.contains(order.key(v))] == []
    assert [v for v in split(outside) if versions.contains(order.key(v))] == []
    assert order.parse_range(order.format_range(versions)).same_versions_as(versions)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name in SCHEMES for text in ("*", " * ", "none")])
def test_any_and_none_are_written_alike_everywhere(name: str, text: str) -> None:
    versions = scheme(name).parse_range(text)
    assert (versions.is_any, versions.is_empty) == (text.strip() == "*", text == "none")
    assert scheme(name).format_range(versions) == text.strip()


REFUSED = [
    ("hybrid", "", "an alternative is empty"),
    ("hybrid", ",", "an alternative is empty"),
    ("hybrid", "1.0 ||", "an alternative is empty"),
    ("hybrid", ">=", "nothing can be read"),
    ("hybrid", '"open', "nothing can be read"),
    ("hybrid", "~1.0", "no operator ~"),
    ("semver", ">=1.2.3.4", "up to three numbers"),
    ("semver", "^^1", "nothing can be read"),
    ("semver", "1.0.0-01", "what follows"),
    ("semver", '^"1.0.0"', "cannot stand before"),
    ("maven", "", "it is empty"),
    ("maven", "[1.0", "in brackets"),
    ("maven", "[1.0,2.0", "in brackets"),
    ("maven", "(1.0)", "square brackets"),
    ("maven", "[2.0,1.0]", "not below"),
    ("maven", "[1.0,2.0,3.0]", "lower and an upper"),
    ("maven", "[1.0],2.0", "in brackets"),
    ("fabric", ">= 1.0", "without a space"),
    ("fabric", ">=2.x", "cannot stand before it"),
    ("fabric", "x", "cannot be the first number"),
    ("fabric", "2.x.1", "no number may follow"),
    ("fabric", "2.x-alpha", "cannot be followed"),
    ("fabric", ">=abc", "only be numbers"),
    ("smapi", ">=1", "two or three numbers"),
    ("factorio", ">= 1", "three numbers"),
    ("int64", ">=9223372036854775808", "64 bits"),
    ("loot", "^1.0", "no operator ^"),
    ("ckan", ">=1.0 |", "nothing can be read"),
]


@pytest.mark.parametrize(("name", "text", "reason"), REFUSED)
def test_what_is_no_range_is_refused_with_the_reason(name: str, text: str, reason: str) -> None:
    with pytest.raises(InvalidRange) as caught:
        scheme(name).parse_range(text)
    assert reason in caught.value.reason
    assert (caught.value.code, caught.value.status) == ("invalid_version_range", 422)


HOSTILE = ["(" * 2000, ">" * 2000, "!=1 " * 500, "||" * 1000, '"' * 1999, "\\" * 1000, "1" * 100_000, "x." * 1000]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", sorted(SCHEMES))
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_ranges_get_a_set_or_a_precise_error(name: str, text: str) -> None:
    try:
        versions = scheme(name).parse_range(text)
    except InvalidRange as error:
        explained = bool(error.reason) and len(str(error)) < 500
    else:
        explained = scheme(name).parse_range(scheme(name).format_range(versions)).same_versions_as(versions)
    assert explained


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(SCHEMES)), st.text(alphabet='01.x*<>=!~^|,[]() -"\\abv', max_size=14))
def test_any_text_is_a_range_or_refused(name: str, text: str) -> None:
    try:
        versions = scheme(name).parse_range(text)
    except InvalidRange:
        return
    printed = scheme(name).format_range(versions)
    assert scheme(name).parse_range(printed).same_versions_as(versions), (text, printed)
