"""What a person typed, understood."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone.discovery.typed import MOST_TERMS, Typed, understand
from loadstone.discovery.words import MOST_LETTERS, inner_words, key, words


def test_the_last_word_may_be_unfinished_until_a_space_follows() -> None:
    assert understand("sharper swo") == Typed(words=("sharper",), prefix="swo")
    assert understand("sharper swords ") == Typed(words=("sharper", "swords"))


def test_quotes_make_a_phrase_and_a_minus_takes_out() -> None:
    assert understand('"planet pack" -kopernicus stars ') == Typed(
        words=("stars",), phrases=(("planet", "pack"),), excluded=(("kopernicus",),)
    )
    assert understand('-"planet pack" x ') == Typed(words=("x",), excluded=(("planet", "pack"),))


def test_a_quote_without_a_partner_reaches_to_the_end() -> None:
    assert understand('moon "planet pack') == Typed(words=("moon",), phrases=(("planet", "pack"),))


@pytest.mark.parametrize(
    "noise", ["", " ", "-", "--", '"', '""', '"" "" -""', "- - -", "+&|()*?~^:[]{}", "\x00", "\u202e\u200f"]
)
def test_noise_means_nothing(noise: str) -> None:
    assert understand(noise) == Typed()


def test_hyphens_inside_a_word_do_not_take_out() -> None:
    assert understand("rp-1 ") == Typed(words=("rp", "1"))


def test_case_accents_width_and_signs_of_direction_do_not_matter() -> None:
    assert words("ÜBER Ｍｏｄ straße \u202enaïve\u202c") == ["uber", "mod", "strasse", "naive"]


def test_scripts_without_spaces_are_cut_sign_by_sign() -> None:
    assert words("剣のmod") == ["剣", "の", "mod"]
    assert words("한국어 模組") == ["한국어", "模", "組"]


def test_an_identifier_is_cut_where_its_case_changes() -> None:
    assert inner_words("ModuleManager") == ["module", "manager"]
    assert inner_words("KSPRescuePodFix2") == ["ksp", "rescue", "pod", "fix", "2"]


def test_a_key_compares_whole_titles() -> None:
    assert key("  Sharper -- SWORDS!") == key("sharper swords")


@given(st.text(max_size=700))
def test_no_text_is_an_error_and_all_is_bounded(text: str) -> None:
    typed = understand(text)
    assert len(typed.words) <= MOST_TERMS
    for phrase in (*typed.phrases, *typed.excluded):
        assert 1 <= len(phrase) <= MOST_TERMS
    for word in (*typed.words, *([typed.prefix] if typed.prefix else [])):
        assert 0 < len(word) <= MOST_LETTERS
        assert words(word) == [word]


@given(st.text(alphabet=st.characters(codec=None), max_size=200))
def test_cut_words_stay_what_they_are_when_cut_again(text: str) -> None:
    for word in words(text):
        word.encode()
        assert " " not in word


@given(st.text(alphabet='ab"- “\t\n*', max_size=40))
def test_operators_in_any_order_are_no_error(text: str) -> None:
    typed = understand(text)
    assert typed.is_empty == (typed == Typed())
