"""Law 10: time comes from here, so that tests can set it."""

import datetime as dt
from typing import Protocol


class Clock(Protocol):
    """Where the platform reads the time."""

    def now(self) -> dt.datetime:
        """The current time, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)


class SettableClock:
    """A clock that stands still until it is moved; for tests and for previews of scheduled work."""

    def __init__(self, start: dt.datetime) -> None:
        self._now = start

    def now(self) -> dt.datetime:
        return self._now

    def move(self, by: dt.timedelta) -> None:
        self._now += by
