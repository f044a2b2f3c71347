"""Public ids: one 63-bit number per thing, printed with a prefix that says what it names.

The number is 41 bits of milliseconds since 2024-01-01 and 22 bits that start at random in each
millisecond and count up, so ids sort by creation time and need no coordination. Printed, it is 13
Crockford base-32 digits behind a prefix: ``mod_0d5n8k2v4xq7a``. A prefix with its underscore can
never be a slug, so an id is accepted wherever a slug or a number is.
"""

import datetime as dt
import random
import secrets
import threading
from collections.abc import Callable
from typing import Final

from loadstone.kernel.clock import Clock, SystemClock

_EPOCH: Final = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES: Final = {c: i for i, c in enumerate(_ALPHABET)} | {"o": 0, "i": 1, "l": 1}
_DIGITS: Final = 13
_RANDOM_BITS: Final = 22

PREFIXES: Final = {
    "game": "game",
    "category": "cat",
    "mod": "mod",
    "chain": "chn",
    "release": "rel",
    "artifact": "art",
    "claim": "clm",
    "team": "team",
    "member": "usr",
    "session": "ses",
    "token": "tok",
    "upload": "upl",
    "grant": "grt",
    "image": "img",
    "event": "evt",
}
"""What each kind of thing is prefixed with in public ids."""


class InvalidIdError(ValueError):
    """The text is not a public id of the wanted kind."""


class IdSource:
    """Makes ids and secrets. One per process; safe between threads.

    ``randomness`` returns ``n`` random bits; tests pass a seeded one.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        randomness: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self._clock = clock or SystemClock()
        self._randomness = randomness
        self._lock = threading.Lock()
        self._last = 0

    def new(self) -> int:
        """A fresh id: positive, below 2**63, greater than all that this source made before."""
        millis = int((self._clock.now() - _EPOCH) / dt.timedelta(milliseconds=1))
        with self._lock:
            fresh = (millis << _RANDOM_BITS) | self._randomness(_RANDOM_BITS - 1)
            self._last = max(fresh, self._last + 1)
            return self._last

    def secret(self, octets: int = 32) -> bytes:
        """Unguessable bytes for tokens, links and nonces."""
        return self._randomness(octets * 8).to_bytes(octets, "big")


def made_at(number: int) -> dt.datetime:
    """The moment inside an id, to the millisecond: a row's partition follows from its id."""
    return _EPOCH + dt.timedelta(milliseconds=number >> _RANDOM_BITS)


def seeded(seed: int, clock: Clock | None = None) -> IdSource:
    """A reproducible source for tests and demo data; never for real secrets."""
    return IdSource(clock, random.Random(seed).getrandbits)  # noqa: S311 - reproducibility is the purpose


def encode(kind: str, number: int) -> str:
    """The public form of an id, e.g. ``encode("mod", 7)`` → ``mod_0000000000007``."""
    digits = []
    for _ in range(_DIGITS):
        digits.append(_ALPHABET[number & 31])
        number >>= 5
    return f"{PREFIXES[kind]}_{''.join(reversed(digits))}"


def decode(kind: str, text: str) -> int:
    """The number behind a public id. Raises :class:`InvalidIdError` for anything else."""
    prefix, _, body = text.partition("_")
    if prefix != PREFIXES[kind] or len(body) != _DIGITS:
        raise InvalidIdError(f"“{text[:64]}” is not the id of a {kind}")
    number = 0
    for digit in body.lower():
        value = _VALUES.get(digit)
        if value is None:
            raise InvalidIdError(f"“{text[:64]}” is not the id of a {kind}")
        number = number << 5 | value
    if number >= 1 << 63:
        raise InvalidIdError(f"“{text[:64]}” is not the id of a {kind}")
    return number


def is_id(kind: str, text: str) -> bool:
    """Whether the text has the shape of an id of this kind."""
    try:
        decode(kind, text)
    except InvalidIdError:
        return False
    return True
