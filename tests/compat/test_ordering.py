"""The question to an author whose new version sorts before its predecessor."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone.compat.ordering import Cause, ask_about_order
from loadstone.compat.versions import InvalidVersion, scheme

HYBRID = scheme("hybrid")


def test_a_newer_version_raises_no_question() -> None:
    assert ask_about_order(HYBRID, "1.2.1", "1.2.0") is None
    assert ask_about_order(HYBRID, "1.10", "1.9", ["1.8"]) is None


@pytest.mark.parametrize(
    ("version", "predecessor", "meant"),
    [
        ("1.2.1", "1.22.0", "1.22.1"),
        ("v1.0.0", "v1.1.0", "v1.2.0"),
        ("0.7", "0.65", "0.70"),
        ("1.4", "1.31", "1.40"),
        ("Beta_v0.5", "Beta_v0.42", "Beta_v0.50"),
        ("1.8", "1.79", "1.80"),
        ("1.01.2", "1.10.1", "1.10.2"),
        ("2.4.0", "2.41.0", "2.42.0"),
    ],
)
def test_a_slip_is_recognised_and_mended(version: str, predecessor: str, meant: str) -> None:
    question = ask_about_order(HYBRID, version, predecessor)
    assert question is not None
    assert question.cause is Cause.TYPO
    assert meant in question.suggestions
    assert f"Did you mean {question.suggestions[0]}?" in question.sentence
    assert all(HYBRID.compare(predecessor, suggestion) == -1 for suggestion in question.suggestions)


@pytest.mark.parametrize(
    ("version", "predecessor", "earlier", "line"),
    [
        ("1.8.2", "1.12.0", ["1.8.0", "1.8.1", "1.10.0"], "1.8"),
        ("release-1.8.1-139", "release-1.12.1-138", ["release-1.8.1-138", "release-1.12.1-137"], "1.8"),
        ("1.1.1", "2.0.0", ["1.0", "1.1.0"], "1.1"),
    ],
)
def test_the_next_release_of_an_older_line_is_a_back_port(
    version: str, predecessor: str, earlier: list[str], line: str
) -> None:
    question = ask_about_order(HYBRID, version, predecessor, earlier)
    assert question is not None
    assert (question.cause, question.line) == (Cause.BACK_PORT, line)
    assert f"continues the line {line}" in question.sentence


@pytest.mark.parametrize(
    ("version", "predecessor", "earlier"),
    [
        ("0.1", "1.9.1", ["1.9.0"]),
        ("1.0.8", "7.0", ["6.0", "5.0"]),
        ("1.0.2", "2019.12.24", []),
        ("0.0.4.1", "0.4.0-181", []),
        ("GRAPES", "1.0.2", []),
    ],
)
def test_what_resembles_nothing_before_is_a_new_numbering(version: str, predecessor: str, earlier: list[str]) -> None:
    question = ask_about_order(HYBRID, version, predecessor, earlier)
    assert question is not None
    assert (question.cause, question.epoch) == (Cause.NEW_NUMBERING, 1)
    assert "epoch 1" in question.sentence


def test_a_second_new_numbering_opens_the_next_epoch() -> None:
    question = ask_about_order(HYBRID, "3:1.0", "4:7.2")
    assert question is not None
    assert question.epoch == 5


def test_a_predecessor_that_stands_alone_may_have_been_the_slip() -> None:
    question = ask_about_order(HYBRID, "0.6.18.3", "0.16.8.2", ["0.6.17.0", "0.6.18.0", "0.6.18.1"])
    assert question is not None
    assert question.cause is Cause.TYPO
    assert "yank 0.16.8.2" in question.sentence
    assert question.suggestions == ()


def test_two_spellings_of_one_version_are_asked_about() -> None:
    question = ask_about_order(HYBRID, "v1.2.0", "1.2")
    assert question is not None
    assert question.cause is Cause.TYPO
    assert "stand in the same place" in question.sentence
    assert question.suggestions[0] == "v1.3"


def test_earlier_texts_of_another_scheme_are_passed_over() -> None:
    semver = scheme("semver")
    question = ask_about_order(semver, "1.0.5", "2.0.0", ["not a version", "1.0.4"])
    assert question is not None
    assert question.cause is Cause.BACK_PORT
    with pytest.raises(InvalidVersion):
        ask_about_order(semver, "not a version", "2.0.0")


def test_all_three_causes_are_always_offered() -> None:
    question = ask_about_order(HYBRID, "0.1", "1.9.1")
    assert question is not None
    assert sorted(question.causes) == sorted(Cause)


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20), st.lists(st.text(max_size=8), max_size=3))
def test_any_texts_get_an_answer(version: str, predecessor: str, earlier: list[str]) -> None:
    question = ask_about_order(HYBRID, version, predecessor, earlier)
    assert (question is None) == (HYBRID.compare(predecessor, version) == -1)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("raw", ["9" * 100_000, "1." * 50_000, "1.0" + "a" * 100_000])
def test_long_versions_are_answered_at_once(raw: str) -> None:
    question = ask_about_order(HYBRID, "0." + raw, "1" + raw, [raw] * 3)
    assert question is not None
    assert len(question.sentence) < 1000
