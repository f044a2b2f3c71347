"""The keys against a slow, pairwise reading of each published rule that shares no code with them."""

import re
from itertools import zip_longest

from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone.compat.versions import scheme

numbers = st.sampled_from(["0", "1", "2", "9", "10", "11", "100", "20240716"])
identifiers = st.sampled_from(["0", "1", "2", "10", "a", "alpha", "beta", "rc", "A", "-", "a1", "1a", "0a", "x-y"])
prereleases = st.none() | st.lists(identifiers, min_size=1, max_size=3).map(".".join)


def sign(a: object, b: object) -> int:
    return int(a > b) - int(a < b)  # type: ignore[operator]


# --- SemVer 2.0.0, section 11, and Fabric, which pads with zeros and knows an empty pre-release -----------------


def by_precedence(a: tuple[list[int], str | None], b: tuple[list[int], str | None]) -> int:
    for left, right in zip_longest(a[0], b[0], fillvalue=0):
        if left != right:
            return sign(left, right)
    if a[1] is None or b[1] is None:
        return sign(a[1] is None, b[1] is None)
    left_ids, right_ids = ([i for i in pre.split(".") if i] for pre in (a[1], b[1]))
    for left_id, right_id in zip(left_ids, right_ids, strict=False):
        if left_id == right_id:
            continue
        if left_id.isdigit() != right_id.isdigit():
            return -1 if left_id.isdigit() else 1
        return sign(int(left_id), int(right_id)) if left_id.isdigit() else sign(left_id, right_id)
    return sign(len(left_ids), len(right_ids))


def split(raw: str) -> tuple[list[int], str | None]:
    release, dash, pre = raw.partition("-")
    return [int(n) for n in release.split(".")], pre if dash else None


semver_texts = st.tuples(numbers, numbers, numbers, prereleases).map(
    lambda parts: ".".join(parts[:3]) + ("" if parts[3] is None else f"-{parts[3]}")
)
fabric_texts = st.tuples(st.lists(numbers, min_size=1, max_size=5), prereleases | st.just("")).map(
    lambda parts: ".".join(parts[0]) + ("" if parts[1] is None else f"-{parts[1]}")
)


@settings(max_examples=400, deadline=None)
@given(semver_texts, semver_texts)
def test_semver_has_the_precedence_of_its_specification(a: str, b: str) -> None:
    assert scheme("semver").compare(a, b) == by_precedence(split(a), split(b))


@settings(max_examples=400, deadline=None)
@given(fabric_texts, fabric_texts)
def test_fabric_has_the_precedence_of_its_loader(a: str, b: str) -> None:
    assert scheme("fabric").compare(a, b) == by_precedence(split(a), split(b))


# --- CKAN, Spec.md, with the client's rule for dots ---------------------------------------------------------------


def by_turns(a: str, b: str) -> int:
    while a and b:
        text_a, text_b = re.match(r"[^0-9]*", a)[0], re.match(r"[^0-9]*", b)[0]  # type: ignore[index]
        if text_a != text_b:
            return by_text(text_a, text_b)
        a, b = a[len(text_a) :], b[len(text_b) :]
        digits_a, digits_b = re.match(r"[0-9]*", a)[0], re.match(r"[0-9]*", b)[0]  # type: ignore[index]
        if int(digits_a or 0) != int(digits_b or 0):
            return sign(int(digits_a or 0), int(digits_b or 0))
        a, b = a[len(digits_a) :], b[len(digits_b) :]
    return sign(bool(a), bool(b))


def by_text(a: str, b: str) -> int:
    if a and b and a.startswith(".") != b.startswith("."):
        return 1 if a.startswith(".") else -1
    if a.startswith(".") and b.startswith(".") and "." in {a, b}:
        return 1 if a == "." else -1
    return sign(a, b)


ckan_texts = st.lists(
    st.sampled_from(["0", "1", "2", "10", "007", ".", ".", "-", "_", "a", "b", "v", ".beta", " x"]),
    min_size=1,
    max_size=7,
).map("".join)


@settings(max_examples=400, deadline=None)
@given(ckan_texts, ckan_texts)
def test_ckan_compares_text_and_numbers_by_turns(a: str, b: str) -> None:
    assert scheme("ckan").compare(a, b) == by_turns(a, b)


# --- LOOT: release identifiers, then pre-release identifiers ------------------------------------------------------


def by_identifiers(a: str, b: str) -> int:
    (release_a, pre_a), (release_b, pre_b) = loot_split(a), loot_split(b)
    for left, right in zip_longest(release_a, release_b, fillvalue="0"):
        if by_identifier(left, right):
            return by_identifier(left, right)
    if not pre_a or not pre_b:
        return sign(not pre_a, not pre_b)
    for left, right in zip(pre_a, pre_b, strict=False):
        if left.isdigit() != right.isdigit():
            return -1 if left.isdigit() else 1
        compared = sign(int(left), int(right)) if left.isdigit() else sign(left, right)
        if compared:
            return compared
    return sign(len(pre_a), len(pre_b))


def loot_split(raw: str) -> tuple[list[str], list[str]]:
    version = raw.partition("+")[0].lower()
    found = re.search(r"[- :_]", version)
    if found is None or found.end() == len(version):
        return trimmed(re.split("[.,]", version)), []
    pre = re.split(r"[-. :_]", version[found.end() :])
    return trimmed(re.split("[.,]", version[: found.start()])), pre[:-1] if not pre[-1] else pre


def trimmed(identifiers: list[str]) -> list[str]:
    """Blanks around a number mean nothing."""
    return [i.strip() if i.strip().isdigit() else i for i in identifiers]


def by_identifier(a: str, b: str) -> int:
    """A number against a text goes by the text's leading digits; then the text, which has more, is greater."""
    if a.isdigit() and b.isdigit():
        return sign(int(a), int(b))
    if not a.isdigit() and not b.isdigit():
        return sign(a, b)
    if b.isdigit():
        return -by_identifier(b, a)
    leading = re.match(r"[0-9]*", b)[0]  # type: ignore[index]
    return sign(int(a), int(leading)) or -1 if leading else -1


# Only texts on which LOOT's own rule is an order: after digits the same number, no blank among the identifiers.
loot_releases = st.lists(st.sampled_from(["0", "1", "2", "05", "5a", "5b", "beta"]), min_size=1, max_size=4)
loot_prereleases = st.lists(st.sampled_from(["1", "2", "10", "078", "78b", "Alpha", "beta", ""]), max_size=3)
loot_texts = st.tuples(
    loot_releases.map(".".join), st.sampled_from("- _:"), loot_prereleases.map(".".join), st.sampled_from(["", "+1"])
).map(lambda parts: parts[0] + (parts[1] + parts[2] if parts[2] else "") + parts[3])


@settings(max_examples=400, deadline=None)
@given(loot_texts, loot_texts)
def test_loot_compares_identifier_by_identifier(a: str, b: str) -> None:
    assert scheme("loot").compare(a, b) == by_identifiers(a, b)
