"""Who the embedded PostgreSQL runs as.

PostgreSQL refuses to run as root. Root therefore starts it under an account without rights, and the data
belong to that account. No mode of a folder is changed and no account is added; where folders on the way are
closed to the account (a checkout under a 0700 home), the process keeps the one capability to walk through
them (see :mod:`loadstone.kernel.launch`). Where root has no right to change accounts, and for a user id
that has no name, a user namespace makes the process look like an account while the files stay as they are.
"""

import os
import pwd
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from loadstone.kernel.processes import launch_command

_ACCOUNTS: Final = ("loadstone", "postgres", "nobody", "daemon")
_CAP_CHOWN, _CAP_SETGID, _CAP_SETUID, _CAP_SETPCAP = 0, 6, 7, 8
_NEEDED: Final = tuple(1 << bit for bit in (_CAP_CHOWN, _CAP_SETGID, _CAP_SETUID, _CAP_SETPCAP))


class NoIdentityError(Exception):
    """There is nobody whom PostgreSQL could run as; the message says what would help."""


@dataclass(frozen=True)
class Identity:
    """A user that PostgreSQL runs as and to whom its files belong."""

    uid: int
    """Owner of the files, as seen from here."""
    gid: int
    orders: dict[str, Any] = field(default_factory=dict)
    """What ``launch.py`` has to do before it becomes the program; empty for the present user."""

    def command(self, argv: Sequence[str], *, reach: Sequence[Path] = (), death_signal: int | None = None) -> list[str]:
        """The command that runs ``argv`` as this user.

        ``reach`` are the paths that the program needs; ``death_signal`` is sent to it when this process dies.
        """
        orders = dict(self.orders)
        if "account" in orders:
            orders["reach"] = [str(path) for path in reach]
        return launch_command(argv, orders, death_signal=death_signal)

    def give(self, *paths: Path) -> None:
        """Make the paths this user's own."""
        for path in paths:
            if "account" in self.orders:
                os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def give_tree(self, top: Path) -> None:
        """Make a folder and all in it this user's own."""
        for folder, _, files in os.walk(top):
            self.give(Path(folder), *(Path(folder, name) for name in files))


def choose_identity(owner: int | None) -> Identity:
    """The user to run PostgreSQL as.

    ``owner`` is the user id that an existing cluster belongs to, ``None`` for a new one.
    Raises :class:`NoIdentityError`.
    """
    me = os.geteuid()
    if me != 0:
        if owner not in {None, me}:
            raise NoIdentityError(
                f"its files belong to user id {owner} and you are {me}: start as their owner or as root, "
                f"or give them to yourself with chown -R"
            )
        return Identity(me, os.getegid()) if _name_of(me) else _behind_a_namespace()
    account = _account(owner)
    if account and _may_become(account.pw_uid):
        return Identity(account.pw_uid, account.pw_gid, {"account": [account.pw_uid, account.pw_gid]})
    if owner:
        raise NoIdentityError(
            f"its files belong to user id {owner} and root may not become that user here: "
            f"start as that user, or give the files to root with chown -R"
        )
    return _behind_a_namespace()


def _account(owner: int | None) -> pwd.struct_passwd | None:
    if owner:
        known = _name_of(owner)
        return known or pwd.struct_passwd(("", "x", owner, owner, "", "/", "/bin/false"))
    return _unprivileged_account()


def _unprivileged_account() -> pwd.struct_passwd | None:
    everyone = {entry.pw_name: entry for entry in pwd.getpwall() if entry.pw_uid != 0}
    named = next((everyone[name] for name in _ACCOUNTS if name in everyone), None)
    return named or next(iter(everyone.values()), None)


def _name_of(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None


def _may_become(uid: int) -> bool:
    if sys.platform != "linux":
        return True
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    effective = int(status["CapEff"].strip(), 16)
    return all(effective & bit for bit in _NEEDED) and _is_mapped(uid)


def _is_mapped(uid: int) -> bool:
    ranges = (tuple(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines())
    return any(first <= uid < first + length for first, _, length in ranges)


def _behind_a_namespace() -> Identity:
    account = _unprivileged_account()
    if sys.platform != "linux" or account is None:
        raise NoIdentityError(
            f"user id {os.geteuid()} has no account: add one to /etc/passwd, or set LOADSTONE_DATABASE_URL"
        )
    return Identity(os.geteuid(), os.getegid(), {"namespace": [account.pw_uid, account.pw_gid]})
