"""Links to a file's bytes: to our own file server, or straight to the object store."""

import datetime as dt
from typing import Final
from urllib.parse import quote

from loadstone.catalog.fetching import Fetchable
from loadstone.delivery.models import BadLinkError, ExpiredLinkError, Link
from loadstone.kernel.platform import Platform
from loadstone.kernel.signing import BadSignatureError

PREFIX: Final = "/files/"
_PURPOSE: Final = "download link"


async def make_link(platform: Platform, grant_id: int, file: Fetchable) -> tuple[str, dt.datetime]:
    """The address of a file's bytes and when it expires, at most 60 seconds from now.

    Our own link names the file and the right that it was given for; the file server asks the visibility
    rule again. A presigned one cannot be taken back: its short life is the bound.
    """
    assert file.sha256 is not None
    seconds = platform.config.download_link_seconds
    now = platform.clock.now()
    expires = now + dt.timedelta(seconds=seconds)
    if not platform.blobs.is_local:
        url = await platform.blobs.presign(file.sha256.hex(), seconds=seconds, file_name=file.file_name, now=now)
        return url, expires
    link = Link(grant_id, file.release_id, file.place, int(file.right), file.sha256, expires.timestamp())
    signed = platform.signer.sign(_PURPOSE, link)
    return f"{platform.config.address}{PREFIX}{signed}/{quote(file.file_name, safe='')}", expires


def read_link(platform: Platform, signed: str) -> Link:
    """What a link of ours says. Raises :class:`BadLinkError`, :class:`ExpiredLinkError`."""
    try:
        link = platform.signer.verify(_PURPOSE, signed, Link)
    except BadSignatureError:
        raise BadLinkError() from None
    if platform.clock.now().timestamp() >= link.expires:
        raise ExpiredLinkError()
    return link
