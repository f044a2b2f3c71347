"""What the parent asks of the jail. Apart, so that the parent need not load the jail."""

from __future__ import annotations

import msgspec

from loadstone.archives.model import Limits, Profile


class Request(msgspec.Struct, frozen=True):
    """One archive to read: the name its creator gave it, and the laws to read it by."""

    name: str
    limits: Limits
    profile: Profile


def encode_request(name: str, limits: Limits, profile: Profile) -> bytes:
    """The request as MessagePack. The name is cut: only its end says anything."""
    return msgspec.msgpack.encode(Request(name[-200:].encode("utf-8", "replace").decode(), limits, profile))


def decode_request(data: bytes) -> Request:
    """Raises msgspec.DecodeError."""
    return msgspec.msgpack.decode(data, type=Request)
