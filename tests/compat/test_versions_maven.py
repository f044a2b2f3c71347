"""Maven's order, checked against its published examples and against a reading of its rules as nested lists."""

from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone.compat.versions import InvalidVersion, scheme

MAVEN = scheme("maven")

ASCENDING = [
    "1-alpha2snapshot 1-alpha2 1-alpha-123 1-beta-2 1-beta123 1-m2 1-m11 1-rc 1-cr2 1-rc123 1-SNAPSHOT 1",
    "1-SNAPSHOT 1 1-sp 1-sp2 1-sp123 1-abc 1-def 1-pom-1 1-1-snapshot 1-1 1-2 1-123",
    "2.0 2.0.a 2-1 2.0.2 2.0.123 2.1.0 2.1-a 2.1b 2.1-c 2.1-1 2.1.0.1 2.2 2.123 11.a2 11.a11 11.b2 11.b11",
    "11.b11 11.m2 11.m11 11 11.a 11b 11c 11m",
    "6.1.0rc3 6.1.0 6.1H.5-beta",
    "20190126.230843 1234567890.12345 123456789012345.1H.5-beta 12345678901234567890.1H.5-beta",
    "1-0.alpha 1-0.beta 1",
    "1.0.RC2 1.0-RC3 1.0.1",
]
SAME = [
    "1 1.0 1.0.0 1-0 1.0-0 1ga 1release 1final 1GA 1.0.0-FINAL",
    "1a 1-a 1.0-a 1.0.0-a 1.0a 1.0.0a",
    "1x 1-x 1.0-x 1.0x 1X",
    "1cr 1rc 1Cr 1rC",
    "1a1 1-alpha-1 1alpha1",
    "1b2 1-beta-2",
    "1m3 1-milestone-3 1MileStone3",
    "0 00 0000000000000000000",
    "1 01 0000000000000000001",
]


@pytest.mark.parametrize("versions", ASCENDING)
def test_the_published_examples_ascend(versions: str) -> None:
    listed = versions.split()
    for position, older in enumerate(listed):
        for newer in listed[position + 1 :]:
            assert (MAVEN.compare(older, newer), MAVEN.compare(newer, older)) == (-1, 1), (older, newer)


@pytest.mark.parametrize("versions", SAME)
def test_spellings_of_one_version_are_equal(versions: str) -> None:
    assert len({MAVEN.key(version) for version in versions.split()}) == 1


def test_a_blank_text_is_no_version() -> None:
    for raw in ("", "   "):
        with pytest.raises(InvalidVersion, match="it is empty"):
            MAVEN.parse(raw)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("[1.0,2.0)", "1.0 1.9.9 2.0-rc1 2.0-SNAPSHOT", "0.9 2.0 2"),
        ("[1.5]", "1.5 1.5.0", "1.4 1.5.1"),
        ("(,1.0],[1.2,)", "0.1 1.0 1.2 9", "1.1 1.0.1"),
        ("[1.0,)", "1.0 77", "1.0-beta"),
        ("(1.0,)", "1.0.1", "1.0"),
        ("1.0", "0.1 1.0 2.0", ""),
        ("*", "0.1 abc", ""),
        ("none", "", "1.0"),
    ],
)
def test_sets_in_brackets_hold_what_they_say(text: str, inside: str, outside: str) -> None:
    versions = MAVEN.parse_range(text)
    assert [v for v in inside.split() if not versions.contains(MAVEN.key(v))] == []
    assert [v for v in outside.split() if versions.contains(MAVEN.key(v))] == []


# An independent reading of the rules: nested lists, compared item by item, nothing standing for what is missing.

QUALIFIERS = ["alpha", "beta", "milestone", "rc", "snapshot", "", "sp"]


def rank(word: str) -> tuple[int, str]:
    word = {"cr": "rc", "ga": "", "final": "", "release": ""}.get(word, word)
    return (QUALIFIERS.index(word), "") if word in QUALIFIERS else (7, word)


class Qualifier(NamedTuple):
    word: str
    number: int | None


def parsed(version: str) -> list[Any]:
    version = version.lower()
    top: list[Any] = []
    stack, current = [top], top
    start, digits, combined = 0, False, False

    def item(text: str, is_digits: bool, is_combined: bool) -> Any:
        if is_combined:
            word = text.rstrip("0123456789-")
            number = int(text[len(word) :].lstrip("-"))
            return Qualifier({"a": "alpha", "b": "beta", "m": "milestone"}.get(word, word), number)
        return int(text) if is_digits else Qualifier(text, None)

    def descend() -> None:
        nonlocal current
        if current:
            current.append([])
            current = current[-1]
            stack.append(current)

    for i, c in enumerate(version):
        if c == ".":
            current.append(0 if i == start else item(version[start:i], digits, combined))
            combined, start = False, i + 1
        elif c == "-":
            if i == start:
                current.append(0)
            else:
                if not digits and i + 1 < len(version) and version[i + 1] in "0123456789":
                    combined = True
                    continue
                current.append(item(version[start:i], digits, combined))
            start = i + 1
            descend()
            combined = False
        elif c in "0123456789":
            if not digits and i > start:
                combined = True
                descend()
            digits = True
        else:
            if digits and i > start:
                current.append(item(version[start:i], True, combined))
                start = i
                descend()
                combined = False
            digits = False
    if start < len(version):
        if not digits:
            descend()
        current.append(item(version[start:], digits, combined))
    for items in reversed(stack):
        normalize(items)
    return top


def normalize(items: list[Any]) -> None:
    for i in range(len(items) - 1, -1, -1):
        if items[i] in (0, []) or items[i] == Qualifier("", None):
            following = items[i + 1] if i + 1 < len(items) else None
            if (
                following is None
                or (isinstance(following, Qualifier) and following[1] is None)
                or (isinstance(following, list) and isinstance(following[0], Qualifier))
            ):
                del items[i]
    if len(items) == 1 and isinstance(items[0], list):
        items[:] = items[0]


def sign(a: Any, b: Any) -> int:
    return int(a > b) - int(a < b)


def first_side(items: list[Any]) -> int:
    return next((side for item in items if (side := compared(item, None))), 0)


def compared(a: Any, b: Any) -> int:
    if a is None:
        return 0 if b is None else -compared(b, None)
    if isinstance(a, int):
        if b is None:
            return sign(a, 0)
        return sign(a, b) if isinstance(b, int) else 1
    if isinstance(a, Qualifier):
        return compared_qualifier(a, b)
    if b is None:
        return first_side(a)
    if isinstance(b, int):
        return -1
    if isinstance(b, Qualifier):
        result = compared(a[0], b) if a else -compared(b, None)
        return result or first_side(a[1:])
    for i in range(max(len(a), len(b))):
        if result := compared(a[i] if i < len(a) else None, b[i] if i < len(b) else None):
            return result
    return 0


def compared_qualifier(a: Qualifier, b: Any) -> int:
    if b is None:
        return sign(rank(a[0]), rank("")) or sign(a[1] or 0, 0)
    if isinstance(b, int):
        return -1
    if isinstance(b, list):
        return -compared(b, a)
    if result := sign(rank(a[0]), rank(b[0])):
        return result
    if a[1] is not None and b[1] is not None:
        return sign(a[1], b[1])
    if rank(a[0]) == rank(""):
        return sign(a[1] or 0, b[1] or 0)
    return sign(a[1] is not None, b[1] is not None)


pieces = st.sampled_from(["0", "1", "2", "10", ".", ".", "-", "-", "a", "alpha", "rc", "ga", "sp", "x", "final", "m"])
versions = st.lists(pieces, min_size=1, max_size=9).map("".join)


@settings(max_examples=600, deadline=None)
@given(versions, versions)
def test_the_order_is_that_of_the_nested_lists(a: str, b: str) -> None:
    assert MAVEN.compare(a, b) == compared(parsed(a), parsed(b)), (a, b, parsed(a), parsed(b))
