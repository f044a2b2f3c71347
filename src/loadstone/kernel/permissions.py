"""Law 5: every operation declares its permission beside its route.

A permission is data: who may use it at all, which token scope carries it, and whether it changes
anything. What it needs from the object (own team, …) is decided by the one policy in ``identity``.
"""

from enum import IntEnum
from typing import Final

import msgspec


class Rank(IntEnum):
    """Roles of the whole site, each including those before it."""

    EVERYONE = 0
    MEMBER = 1
    MODERATOR = 2
    ADMIN = 3


class Permission(msgspec.Struct, frozen=True):
    """The right to one kind of operation."""

    name: str
    meaning: str
    rank: Rank = Rank.EVERYONE
    scope: str = ""
    """The scope that a token needs; empty: any token."""
    changes: bool = False
    """Whether it changes anything; a changing route under a permission that does not is refused at start-up."""
    object: str = ""
    """What it is about, when the object decides too: ``team``, ``own``; empty: the rank alone decides."""


_PERMISSIONS: Final[dict[str, Permission]] = {}


def permission(
    name: str,
    meaning: str,
    *,
    rank: Rank = Rank.EVERYONE,
    scope: str = "",
    changes: bool = False,
    about: str = "",
) -> Permission:
    """Declare a permission. Raises :class:`RuntimeError` when the name is taken."""
    if name in _PERMISSIONS:
        raise RuntimeError(f"the permission {name} is declared twice")
    _PERMISSIONS[name] = Permission(name, meaning, rank, scope, changes, about)
    return _PERMISSIONS[name]


def all_permissions() -> list[Permission]:
    """Every declared permission, by name."""
    return sorted(_PERMISSIONS.values(), key=lambda p: p.name)


READ_PUBLIC: Final = permission("public.read", "Read what everyone may see.")
"""For readers behind the visibility rule: anyone may ask, the rule decides what they get."""
ADMINISTER: Final = permission(
    "site.administer",
    "See and steer the site's inner workings.",
    rank=Rank.ADMIN,
    scope="admin",
    changes=True,
)
INSPECT: Final = permission("site.inspect", "See the site's inner workings.", rank=Rank.ADMIN, scope="admin")
