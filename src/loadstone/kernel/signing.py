"""Short signed texts: cursors, download links, CSRF values. HMAC-SHA-256, one sub-key a purpose."""

import base64
import hashlib
import hmac
from typing import Any, Final, TypeVar

import msgspec

_MAC_OCTETS: Final = 16
T = TypeVar("T")


class BadSignatureError(ValueError):
    """The text was not signed by us for this purpose, or was changed."""


class Signer:
    """Signs by purpose, so that a cursor can never be used as a link."""

    def __init__(self, key: bytes) -> None:
        self._key = hashlib.sha256(b"loadstone signing\0" + key).digest()

    def mac(self, purpose: str, message: bytes) -> bytes:
        """The full 32-byte MAC of a message."""
        sub_key = hmac.digest(self._key, purpose.encode(), "sha256")
        return hmac.digest(sub_key, message, "sha256")

    def sign(self, purpose: str, value: Any) -> str:
        """A URL-safe text that carries the value and its MAC."""
        body = msgspec.msgpack.encode(value)
        return _text(self.mac(purpose, body)[:_MAC_OCTETS] + body)

    def verify(self, purpose: str, text: str, shape: type[T]) -> T:
        """The value of a signed text. Raises :class:`BadSignatureError`."""
        try:
            raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", validate=True)
        except ValueError as error:
            raise BadSignatureError("not a signed text") from error
        mac, body = raw[:_MAC_OCTETS], raw[_MAC_OCTETS:]
        if len(mac) != _MAC_OCTETS or not hmac.compare_digest(mac, self.mac(purpose, body)[:_MAC_OCTETS]):
            raise BadSignatureError("the signature does not fit")
        try:
            return msgspec.msgpack.decode(body, type=shape)
        except msgspec.DecodeError as error:
            raise BadSignatureError("the signed text has another shape") from error

    def digest(self, purpose: str, secret: bytes) -> bytes:
        """How a secret is kept at rest: useless without the key."""
        return self.mac(f"digest {purpose}", secret)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
