"""What a version text suggests beside its order: a channel and a line."""

import re

from loadstone.compat.versions.base import Channel

_LOOKED_AT = 256
_ALPHA = re.compile(
    r"(?<![a-z])(?:pre[-_. ]?alpha|alpha|a(?=[-_.]?[0-9])|wip|dev|snapshot|nightly|canary|experimental|test)"
    r"(?![a-z])"
)
_BETA = re.compile(
    r"(?<![a-z])(?:beta|b(?=[-_.]?[0-9])|rc|cr|pre|pre[-_. ]?release|preview|candidate|milestone|unofficial)"
    r"(?![a-z])"
)
_NUMBERS = re.compile(r"([0-9]+)(?:[.,_]([0-9]+))?")


def channel_of(text: str) -> Channel:
    """The channel that words like "alpha", "wip" or "rc2" in `text` suggest; without any it is a release."""
    lowered = text[:_LOOKED_AT].lower()
    if _ALPHA.search(lowered):
        return "alpha"
    return "beta" if _BETA.search(lowered) else "release"


def prerelease_channel(identifiers: str | None) -> Channel:
    """The channel of a text known to be the pre-release part of a version; None or "" is a release."""
    if not identifiers:
        return "release"
    return "alpha" if channel_of(identifiers) == "alpha" else "beta"


def line_of(text: str) -> str:
    """The first two numbers of `text`, zero where the second is missing: the branch "1.8" of "v1.8.1"."""
    found = _NUMBERS.search(text[:_LOOKED_AT])
    if found is None:
        return ""
    return line(found[1], found[2] or "0")


def line(major: str, minor: str) -> str:
    return f"{major.lstrip('0') or '0'}.{minor.lstrip('0') or '0'}"
