# ruff: noqa: ARG002 - the methods have OpenFeature's signatures
"""Switches that can be turned without a release: OpenFeature with a provider of our own.

A flag is declared once, with its default and its meaning; the operator overrides it with the key ``flags``.
Who asks (a member, an install) travels as OpenFeature's targeting key, so that later experiments can split by
it; until then every asker gets the same answer.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError, TypeMismatchError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata

from loadstone.kernel.config import ConfigError

_WORDS: Final = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}


class Flag(msgspec.Struct, frozen=True):
    """A switch: its stable name, what it is without an override, what it does."""

    name: str
    default: bool
    meaning: str


FLAGS: Final[dict[str, Flag]] = {}


def flag(name: str, meaning: str, *, default: bool) -> Flag:
    """Declare a flag. Raises :class:`RuntimeError` when the name is taken."""
    if name in FLAGS:
        raise RuntimeError(f"the flag {name} is declared twice")
    FLAGS[name] = Flag(name, default, meaning)
    return FLAGS[name]


QUICK_READS: Final = flag(
    "edge.quick_reads", "Answer anonymous reads of a mod in front of the framework.", default=True
)


def parse_overrides(entries: Sequence[str]) -> dict[str, bool]:
    """``name=on`` and ``name=off`` as a mapping. Raises :class:`ConfigError` for an unknown flag or word."""
    overrides = {}
    for entry in entries:
        name, _, word = entry.partition("=")
        if name.strip() not in FLAGS:
            raise ConfigError(f"flags: there is no flag {name.strip()!r}; there are {', '.join(sorted(FLAGS))}")
        if word.strip().lower() not in _WORDS:
            raise ConfigError(f"flags: {entry!r} is not NAME=on or NAME=off")
        overrides[name.strip()] = _WORDS[word.strip().lower()]
    return overrides


class DeclaredFlags(AbstractProvider):
    """The OpenFeature provider of declared flags and the operator's overrides."""

    def __init__(self, overrides: Mapping[str, bool]) -> None:
        super().__init__()
        self._overrides = dict(overrides)

    def get_metadata(self) -> Metadata:
        return Metadata(name="loadstone")

    def resolve_boolean_details(
        self,
        flag_key: str,
        default_value: bool,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[bool]:
        declared = FLAGS.get(flag_key)
        if declared is None:
            raise FlagNotFoundError(f"there is no flag {flag_key}")
        if flag_key in self._overrides:
            return FlagResolutionDetails(self._overrides[flag_key], reason=Reason.STATIC)
        return FlagResolutionDetails(declared.default, reason=Reason.DEFAULT)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        raise TypeMismatchError(f"{flag_key} is not a text")

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        raise TypeMismatchError(f"{flag_key} is not a number")

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        raise TypeMismatchError(f"{flag_key} is not a number")

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        raise TypeMismatchError(f"{flag_key} is not an object")


class Flags:
    """What a process asks: ``flags.is_on(QUICK_READS, "usr_…")``."""

    def __init__(self, entries: Sequence[str]) -> None:
        from openfeature import api

        self._provider = DeclaredFlags(parse_overrides(entries))
        domain = f"loadstone {id(self)}"  # two platforms in one process, as in tests, keep their own
        api.set_provider(self._provider, domain)
        self._client: OpenFeatureClient = api.get_client(domain)

    def is_on(self, wanted: Flag, asker: str = "") -> bool:
        """Whether the switch is on for who asks; an engine that fails leaves the default (law 4)."""
        context = EvaluationContext(targeting_key=asker) if asker else None
        return self._client.get_boolean_value(wanted.name, wanted.default, context)
