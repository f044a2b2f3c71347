"""argon2id off the event loop, upgraded on log-in; the worst passwords refused."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import resources
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from loadstone.kernel.errors import UnavailableError

# OWASP's second profile: 19 MiB, t=2, p=1. Two threads bound the memory and the CPU that log-ins take.
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_THREADS: Final = 2
_WAITING_MOST: Final = 32


class PasswordKeeper:
    """Hashes and checks passwords on its own few threads; beyond 32 waiting it says 503."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "argon2")
        self._waiting = 0
        self._decoy = _HASHER.hash("a password that nobody has")

    async def hash(self, password: str) -> str:
        return await self._run(_HASHER.hash, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether they fit. Without a stored hash it takes the same time and says no."""
        fits = await self._run(_verify, stored or self._decoy, password)
        return fits == "yes" and stored is not None

    @staticmethod
    def is_outdated(stored: str) -> bool:
        return _HASHER.check_needs_rehash(stored)

    async def _run(self, work: Callable[..., str], *arguments: str) -> str:
        if self._waiting >= _WAITING_MOST:
            raise UnavailableError("Too many people log in at this moment; try again in a few seconds.")
        self._waiting += 1
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self._waiting -= 1
        return result


def _verify(stored: str, password: str) -> str:
    try:
        _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return "no"
    return "yes"


@cache
def _common() -> frozenset[str]:
    text = resources.files("loadstone.identity").joinpath("common_passwords.txt").read_text("utf-8")
    return frozenset(text.split())


def is_common(password: str, *parts: str) -> bool:
    """Whether the password is a common one, one repeated character, or holds the member's own name."""
    folded = password.casefold()
    if folded in _common() or len(set(folded)) < 4:
        return True
    return any(len(part) >= 4 and folded.strip("0123456789!._-") == part.casefold() for part in parts)
