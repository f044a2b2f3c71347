"""What tus says in headers, statuses and bodies, for the API's document (tus 1.0.0, protocol and extensions)."""

from typing import Any, Final

from loadstone.publishing import tus

_VERSION: Final = {
    "description": "The version of the protocol.",
    "required": True,
    "schema": {"type": "string", "const": tus.VERSION},
    "example": tus.VERSION,
}
_LENGTH: Final = {
    "description": "How many bytes the upload will have.",
    "required": True,
    "schema": {"type": "integer", "minimum": 1},
    "example": 1048576,
}
_METADATA: Final = {
    "description": "Keys with base64 values, by commas; ``filename`` is the file's name.",
    "schema": {"type": "string", "maxLength": 4096},
    "example": "filename c2hhcnBlci1zd29yZHMuemlw",
}
_OFFSET: Final = {
    "description": "Where the body belongs: as many bytes as have arrived.",
    "required": True,
    "schema": {"type": "integer", "minimum": 0},
    "example": 0,
}
_CHECKSUM: Final = {
    "description": "Algorithm and base64 digest of this body; another body is refused with 460.",
    "schema": {"type": "string", "maxLength": 200},
    "example": "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
}
_GIVES: Final = {
    "Tus-Resumable": "The version of the protocol.",
    "Upload-Offset": "How many bytes are safe.",
    "Upload-Expires": "When an unfinished upload is deleted (RFC 9110 date).",
}
_VERSION_REFUSED: Final = {412: "Tus-Resumable is missing or names another version."}
_SENDING: Final = {
    **_VERSION_REFUSED,
    408: "The connection ended before the body did; what arrived stays.",
    423: "Another request is sending to this upload.",
    460: "The body does not have the checksum of Upload-Checksum; nothing of it was taken.",
    507: "There is no room for the bytes at the moment.",
}

START: Final[dict[str, Any]] = {
    "takes": {
        "Tus-Resumable": _VERSION,
        "Upload-Length": _LENGTH,
        "Upload-Metadata": _METADATA,
        "Upload-Checksum": _CHECKSUM,
    },
    "body": {tus.CONTENT_TYPE: "The first bytes, if you want to send some at once."},
    "gives": {"Location": "The upload's address; the bytes go there by PATCH.", **_GIVES},
    "answers": _SENDING,
}
SEND: Final[dict[str, Any]] = {
    "takes": {"Tus-Resumable": _VERSION, "Upload-Offset": _OFFSET, "Upload-Checksum": _CHECKSUM},
    "body": {tus.CONTENT_TYPE: "The bytes from Upload-Offset on."},
    "gives": _GIVES,
    "answers": _SENDING,
}
ASK: Final[dict[str, Any]] = {
    "takes": {"Tus-Resumable": _VERSION},
    "gives": {**_GIVES, "Upload-Length": "How many bytes it will have.", "Upload-Metadata": "As it was sent."},
    "answers": _VERSION_REFUSED,
}
END: Final[dict[str, Any]] = {
    "takes": {"Tus-Resumable": _VERSION},
    "gives": {"Tus-Resumable": "The version of the protocol."},
    "answers": {**_VERSION_REFUSED, 423: "A request is sending to this upload."},
}
