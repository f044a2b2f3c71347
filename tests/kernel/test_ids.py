"""Ids and signed texts."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone.kernel import ids
from loadstone.kernel.clock import SettableClock
from loadstone.kernel.signing import BadSignatureError, Signer

NOW = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
numbers = st.integers(min_value=0, max_value=2**63 - 1)
kinds = st.sampled_from(sorted(ids.PREFIXES))


@given(kinds, numbers)
def test_an_id_reads_back(kind: str, number: int) -> None:
    assert ids.decode(kind, ids.encode(kind, number)) == number


@given(kinds, st.text(max_size=40))
def test_no_text_but_an_id_is_one(kind: str, text: str) -> None:
    if ids.is_id(kind, text):
        prefix, _, body = text.partition("_")
        assert prefix == ids.PREFIXES[kind]
        assert len(body) == 13
    else:
        with pytest.raises(ids.InvalidIdError):
            ids.decode(kind, text)


def test_ids_grow_also_within_one_millisecond_and_when_the_clock_goes_back() -> None:
    clock = SettableClock(NOW)
    source = ids.seeded(1, clock)
    made = [source.new() for _ in range(1000)]
    clock.move(dt.timedelta(seconds=-5))
    made += [source.new() for _ in range(10)]
    assert made == sorted(set(made))


def test_a_seed_makes_the_same_ids_again() -> None:
    first, second = (ids.seeded(3, SettableClock(NOW)) for _ in range(2))
    assert [first.new() for _ in range(5)] == [second.new() for _ in range(5)]


values = st.lists(st.one_of(st.integers(-(2**60), 2**60), st.text(max_size=20), st.none()), max_size=5)


@given(values)
def test_a_signed_value_reads_back_for_its_purpose_alone(value: list[object]) -> None:
    signer = Signer(b"a key")
    text = signer.sign("cursor", value)
    assert signer.verify("cursor", text, list) == value
    with pytest.raises(BadSignatureError):
        signer.verify("link", text, list)
    with pytest.raises(BadSignatureError):
        Signer(b"another key").verify("cursor", text, list)


@given(values, st.integers(0, 200), st.integers(1, 255))
def test_a_changed_signed_text_is_refused(value: list[object], at: int, flip: int) -> None:
    import base64

    signer = Signer(b"a key")
    text = signer.sign("cursor", value)
    raw = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    raw[at % len(raw)] ^= flip
    changed = base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")
    with pytest.raises(BadSignatureError):
        signer.verify("cursor", changed, list)


@given(st.text(max_size=200))
def test_no_stray_text_verifies(text: str) -> None:
    with pytest.raises(BadSignatureError):
        Signer(b"a key").verify("cursor", text, list)
