"""What every version scheme promises: a total order, storable keys, and an answer to any text in little time."""

import re
from functools import cmp_to_key
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone.compat.versions import SCHEMES, InvalidVersion, UnknownScheme, Version, scheme

PIECES = [
    *("0", "1", "2", "9", "10", "007", "20240716", "2147483648", "9" * 25),
    *(".", ".", "-", "-", "_", " ", ":", "+", ",", "v", "V"),
    *("a", "b", "x", "alpha", "Beta", "rc", "pre", "unofficial", "hotfix", "final", "SNAPSHOT", "sp", "ga"),
    *("\x00", "\u202e", "é", "٣", "\U0001f600", "\ud800"),
]
texts = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=8).map("".join),
    st.from_regex(r"\A[0-9]{1,2}(\.[0-9]{1,2}){0,3}(-(alpha|beta|rc)(\.[0-9]{1,2})?)?\Z"),
    st.from_regex(r"\A-?[0-9]{1,20}\Z"),
    st.text(max_size=12),
)
names = st.sampled_from(sorted(SCHEMES))


def keys_of(name: str, *raws: str) -> list[bytes] | None:
    try:
        return [scheme(name).key(raw) for raw in raws]
    except InvalidVersion:
        return None


@settings(max_examples=400, deadline=None)
@given(names, texts, texts, texts)
def test_the_order_is_total(name: str, a: str, b: str, c: str) -> None:
    if keys_of(name, a, b, c) is None:
        return
    order = scheme(name)
    assert order.compare(a, b) == -order.compare(b, a)
    assert order.compare(a, a) == 0
    oldest, middle, newest = sorted((a, b, c), key=cmp_to_key(order.compare))
    assert order.compare(oldest, middle) <= 0
    assert order.compare(middle, newest) <= 0
    assert order.compare(oldest, newest) <= 0
    if order.compare(oldest, middle) == 0 == order.compare(middle, newest):
        assert order.compare(oldest, newest) == 0


@settings(max_examples=300, deadline=None)
@given(names, texts, texts)
def test_stored_bytes_sort_as_the_versions_do(name: str, a: str, b: str) -> None:
    if keys_of(name, a, b) is None:
        return
    order = scheme(name)
    left, right = order.sort_bytes(a), order.sort_bytes(b)
    assert (left > right) - (left < right) == order.compare(a, b)
    assert (left == right) == (hash(order.key(a)) == hash(order.key(b)) and order.key(a) == order.key(b))


def parsed(name: str, raw: str) -> Version | None:
    """None after an error that says why, in a few printable words."""
    try:
        return scheme(name).parse(raw)
    except InvalidVersion as error:
        explained = bool(error.reason) and str(error).isprintable() and len(str(error)) < 500
    assert explained
    return None


@settings(max_examples=300, deadline=None)
@given(names, texts)
def test_what_parses_has_a_key_and_keeps_its_text(name: str, raw: str) -> None:
    version = parsed(name, raw)
    if version is None:
        return
    assert (version.raw, version.scheme, version.key) == (raw, name, scheme(name).key(raw))
    assert version.channel in {"release", "beta", "alpha"}
    assert version.epoch >= 0


HOSTILE = {
    "digits": "9" * 100_000,
    "zeros": "0" * 100_000,
    "long numbers": ".".join(["9" * 50_000] * 2),
    "many numbers": "1." * 50_000 + "1",
    "many dashes": "-" * 100_000,
    "many dots": "." * 100_000,
    "letters": "a" * 100_000,
    "alternating": "a1" * 50_000,
    "long pre-release": "1.0.0-" + "a." * 50_000 + "!",
    "long tags": "1.2.3-" + "a-" * 50_000,
    "almost a comma list": "1, " * 33_000,
    "pre pre pre": "1.0 " + "pre-" * 25_000,
    "spaces": " " * 100_000,
    "a bound of words": "1.0" + " alpha" * 16_000,
    "nul": "1.0\x00" * 20_000,
    "right to left": "\u202e1.0\u202c",
    "lone surrogate": "1.\ud800",
    "empty": "",
    "blank": " \t\n",
    "minus": "-",
    "epoch of digits": "1" * 100_000 + ":1.0",
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", sorted(SCHEMES))
@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_texts_get_an_order_or_a_precise_error(name: str, raw: str) -> None:
    version = parsed(name, raw)
    if version is not None:
        assert scheme(name).compare(raw, raw) == 0
        assert version.key == scheme(name).key(raw)


@pytest.mark.parametrize("name", ["hybrid", "ckan", "loot", "maven"])
def test_numbers_of_any_length_order_by_value(name: str) -> None:
    shorter, longer = "9" * 100_000, "1" + "0" * 100_000
    assert scheme(name).compare(shorter, longer) == -1
    assert scheme(name).compare("000" + shorter, shorter) == 0


def test_an_unknown_scheme_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownScheme, match=r"no version scheme 'pep440'.*hybrid, semver"):
        scheme("pep440")


def test_every_promised_scheme_is_there() -> None:
    promised = {"hybrid", "semver", "maven", "fabric", "smapi", "factorio", "ckan", "loot", "int64"}
    assert set(SCHEMES) == promised
    assert all(SCHEMES[name].name == name for name in promised)


def test_versions_of_one_scheme_compare_and_of_two_do_not() -> None:
    older, newer = scheme("semver").parse("1.2.3"), scheme("semver").parse("1.10.0")
    assert older < newer
    assert newer > older
    assert older <= older
    assert newer >= older
    assert scheme("semver").parse("1.2.3+linux").same_place_as(older)
    with pytest.raises(TypeError, match="no common order"):
        _ = older < scheme("maven").parse("1.2.3")


def test_equal_texts_make_equal_versions() -> None:
    assert scheme("hybrid").parse("1.0") == scheme("hybrid").parse("1.0")
    assert scheme("hybrid").parse("1.0") != scheme("hybrid").parse("v1.0")
    assert len({scheme("hybrid").parse("1.0"), scheme("hybrid").parse("1.0")}) == 1


@pytest.mark.parametrize(
    ("name", "raw", "epoch", "channel", "line"),
    [
        ("hybrid", "v1.8.1.52", 0, "release", "1.8"),
        ("hybrid", "2:1.0 beta", 2, "beta", "1.0"),
        ("hybrid", "Alpha-0.8", 0, "alpha", "0.8"),
        ("hybrid", "0.3 pre-alpha", 0, "alpha", "0.3"),
        ("hybrid", "1.0 wip", 0, "alpha", "1.0"),
        ("hybrid", "1.2.0-unofficial.3", 0, "beta", "1.2"),
        ("hybrid", "1.2a", 0, "release", "1.2"),
        ("hybrid", "7", 0, "release", "7.0"),
        ("hybrid", "GRAPES", 0, "release", ""),
        ("semver", "1.2.3", 0, "release", "1.2"),
        ("semver", "1.2.3-alpha.1", 0, "alpha", "1.2"),
        ("semver", "1.2.3-7", 0, "beta", "1.2"),
        ("semver", "1.2.3+alpha", 0, "release", "1.2"),
        ("fabric", "1.4-", 0, "beta", "1.4"),
        ("fabric", "2", 0, "release", "2.0"),
        ("maven", "1.0-SNAPSHOT", 0, "alpha", "1.0"),
        ("smapi", "1.6-unofficial.2-someone", 0, "beta", "1.6"),
        ("factorio", "0.17.60", 0, "release", "0.17"),
        ("ckan", "3:2.9.20210712", 3, "release", "2.9"),
        ("loot", "1.0.0-rc1", 0, "beta", "1.0"),
        ("int64", "36028797018963968", 0, "release", "1.0"),
        ("int64", "4.1.2.3", 0, "release", "4.1"),
    ],
)
def test_a_text_suggests_epoch_channel_and_line(name: str, raw: str, epoch: int, channel: str, line: str) -> None:
    version: Version = scheme(name).parse(raw)
    assert (version.epoch, version.channel, version.line) == (epoch, channel, line)


ASCENDING = {
    "semver": [
        "1.0.0-alpha < 1.0.0-alpha.1 < 1.0.0-alpha.beta < 1.0.0-beta < 1.0.0-beta.2 < 1.0.0-beta.11 < 1.0.0-rc.1",
        "1.0.0-rc.1 < 1.0.0 < 1.0.1 < 1.2.0 < 1.10.0 < 2.0.0 < 99999999999999999999.0.0",
        "1.0.0-1 < 1.0.0-2 < 1.0.0-10 < 1.0.0-- < 1.0.0-0a < 1.0.0-A < 1.0.0-a < 1.0.0-a.0 < 1.0.0",
    ],
    "fabric": [
        "1.4- < 1.4-0 < 1.4-alpha < 1.4-beta.2 < 1.4-beta.11 < 1.4 < 1.4.0.1 < 1.4.1- < 1.4.1 < 1.5",
        "0.3.1-beta.8.8 < 0.3.1-beta.8.a < 0.3.1-beta.8.d < 0.3.1-beta.8.d.10 < 0.3.1-beta.9 < 0.3.1-beta.-final-",
    ],
    "smapi": [
        "1.0-unofficial.1 < 1.0-unofficial.2 < 1.0-1 < 1.0-alpha < 1.0-beta < 1.0-beta-unofficial < 1.0-beta.2",
        "1.0-beta.2 < 1.0-beta-10 < 1.0 < 1.0.0.5 < 1.0.1 < 1.1 < 2.0",
    ],
    "factorio": ["0.6.4 < 0.17.59 < 0.17.60 < 1.0.0 < 1.1.0 < 2.0.65535"],
    "ckan": [
        "1.0 < 1.0_beta < 1.0.repackaged < 1.0.1 < 1.0.1_beta < 1.1.0.0 < 1.1.1 < 1.20 < 1.22a",
        "1.2.0 < 1:1.2.0 < 2:0.1 < 10:0.1",
        "apple < banana",
        "v6a5 < v6a12",
    ],
    "loot": [
        "0.0.5-5 < 0.0.5-5.0 < 0.0.5-10 < 0.0.5-78b < 0.0.5-a < 0.0.5-b < 0.0.5 < 0.0.10-5 < 0.0.10",
        "0.78b < 0.86 < 0.86a < 0.86b < 1.0.0alpha.2 < 1.0.0beta.2 < 1.0.1 < 9a < 10 < 10a",
    ],
    "int64": ["-1 < 0 < 1 < 36028797018963967 < 1.0.0.0 < 1.0.0.1 < 1.0.1.0 < 1.1.0.0 < 2.0.0.0"],
}
SAME = {
    "semver": ["1.0.0 = 1.0.0+a = 1.0.0+b.1"],
    "fabric": ["1 = 1.0 = 1.0.0.0 = 01.0+anything goes"],
    "smapi": ["1.0 = 1.0.0 = 1.0.0.0 = 1.0+build.1", "1.0-Beta.1 = 1.0-beta-1", "1.0-beta = 1.0-beta   "],
    "factorio": ["0.06.01 = 0.6.1", "1.1 = 1.1.0"],
    "ckan": ["1.01 = 1.1 = 01.1", "v = v0", "0:1.0 = 1.0"],
    "loot": ["1-beta = 1.0.0-BETA", "0, 2, 0, 12 = 0.2.0.12", " = 0 = 0.0", "0.0.1+alpha = 0.0.1+1"],
    "int64": ["36028797018963968 = 1.0.0.0 = 01.0.0.0", "-0 = 0"],
}


@pytest.mark.parametrize(("name", "chain"), [(name, chain) for name in ASCENDING for chain in ASCENDING[name]])
def test_the_schemes_order_as_published(name: str, chain: str) -> None:
    versions = chain.split(" < ")
    for position, older in enumerate(versions):
        for newer in versions[position + 1 :]:
            assert scheme(name).compare(older, newer) == -1, (older, newer)


@pytest.mark.parametrize(("name", "group"), [(name, group) for name in SAME for group in SAME[name]])
def test_the_schemes_hold_some_spellings_for_one_version(name: str, group: str) -> None:
    for a, b in pairwise(group.split(" = ")):
        assert scheme(name).compare(a, b) == 0, (a, b)


REFUSED = {
    "semver": {
        "": "it is empty",
        "v1.0.0": "leave the v away",
        "1.0": "three numbers",
        "1.2.3.4": "three numbers",
        "01.0.0": "leading zero",
        "1.0.0-01": "what follows",
        "1.2.3-123.": "what follows",
        "1.2.3-": "what follows",
        "1.0.0 ": "what follows",
        "1.0.0\n": "what follows",
        "1.0.0-é": "what follows",
    },
    "fabric": {
        "": "number is missing",
        "0.0.-1": "number is missing",
        "1..0": "number is missing",
        "a.0.0": "only be numbers",
        "2.x": "only be numbers",
        "1.٣": "only be numbers",
        "0.2147483648.0": "larger than 2147483647",
        "1.0-a..b": "between single dots",
    },
    "smapi": {
        "": "it is empty",
        "1": "two or three numbers",
        "1.05": "leading zero",
        "1.2.3.4": "fourth number",
        "0.0.0": "more than zero",
        "1.2.3--tag": "after the numbers",
        "1.2.3-": "after the numbers",
        "2147483648.0": "larger than",
    },
    "factorio": {"1": "three numbers", "1.0.0.0": "three numbers", "1.0.65536": "at most 65535", "1.0.0a": "three"},
    "int64": {
        "": "whole number",
        "1.0.0": "four numbers",
        "9223372036854775808": "64 bits",
        "256.0.0.0": "below 256",
        "1_0": "whole number",
        "٣": "whole number",
    },
    "ckan": {"": "it is empty", "1234567890:1": "epoch"},
    "hybrid": {"": "it is empty"},
    "maven": {"": "it is empty"},
}


@pytest.mark.parametrize(
    ("name", "raw", "reason"),
    [(name, raw, reason) for name, cases in REFUSED.items() for raw, reason in cases.items()],
)
def test_what_is_no_version_is_refused_with_the_reason(name: str, raw: str, reason: str) -> None:
    with pytest.raises(InvalidVersion, match=re.escape(reason)) as caught:
        scheme(name).parse(raw)
    assert (caught.value.code, caught.value.status) == ("invalid_version", 422)


def test_an_error_never_repeats_invisible_characters_or_long_texts() -> None:
    with pytest.raises(InvalidVersion) as caught:
        scheme("semver").parse("\u202e" + "1" * 10_000)
    assert "\\u202e" in str(caught.value)
    assert "9941 more characters" in str(caught.value)
