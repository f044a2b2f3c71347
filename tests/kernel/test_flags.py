"""Switches: declared once, overridden by the operator, asked through OpenFeature."""

import pytest

from loadstone.kernel.config import ConfigError
from loadstone.kernel.flags import QUICK_READS, Flag, Flags, flag, parse_overrides


def test_a_flag_has_its_default_until_the_operator_says_otherwise() -> None:
    assert Flags([]).is_on(QUICK_READS)
    assert not Flags(["edge.quick_reads=off"]).is_on(QUICK_READS, "usr_0000000000001")


def test_two_platforms_in_one_process_keep_their_own_switches() -> None:
    off, on = Flags(["edge.quick_reads=off"]), Flags([])
    assert (off.is_on(QUICK_READS), on.is_on(QUICK_READS)) == (False, True)


def test_an_unknown_flag_answers_with_the_askers_default() -> None:
    assert Flags([]).is_on(Flag("no.such", True, "")) is True


def test_a_flag_is_declared_once() -> None:
    with pytest.raises(RuntimeError):
        flag("edge.quick_reads", "again", default=False)


@pytest.mark.parametrize("entry", ["no.such=on", "edge.quick_reads", "edge.quick_reads=maybe", ""])
def test_a_wrong_override_is_named(entry: str) -> None:
    with pytest.raises(ConfigError, match="flags"):
        parse_overrides([entry])
