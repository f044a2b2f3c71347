"""Download tickets: what is asked, what is given, and the links that carry the bytes."""

import datetime as dt
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from loadstone.kernel.errors import ConflictError, ForbiddenError, GoneError
from loadstone.kernel.permissions import permission

Reason = Literal["direct", "dependency", "update", "collection"]
"""Why someone downloads: by hand, because another mod needs it, as an update, with a collection."""
Place = Annotated[int, Meta(ge=0, le=1000, description="The file's place in the release; 0 is the main file.")]
MOST_TICKETS: Final = 1000

FETCH: Final = permission(
    "files.fetch", "Get download links of files that you may see.", scope="downloads", changes=True
)


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a release."""

    release: Annotated[str, Meta(max_length=64)]
    file: Place = 0


class TicketRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which file of the release, and why."""

    file: Place = 0
    reason: Reason = "direct"


class TicketsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Up to 1,000 files at once; a file that is named twice gets one ticket."""

    items: Annotated[list[Wanted], Meta(min_length=1, max_length=MOST_TICKETS)]
    reason: Reason = "direct"


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """A granted download: counted once, however often its link is renewed.

    ``url`` takes GET, HEAD and ranges until ``expires_at``; a transfer that began before goes on. To resume
    later, renew the ticket.
    """

    id: str
    release: str
    file: int
    url: str
    expires_at: dt.datetime
    file_name: str
    size: int
    """In bytes."""
    sha256: str
    md5: str | None = None
    sha1: str | None = None
    sha512: str | None = None


class TicketOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one wanted file: either a ticket or a problem (RFC 9457)."""

    release: str
    file: int
    ticket: Ticket | None = None
    problem: dict[str, Any] | None = None


class Tickets(msgspec.Struct, frozen=True):
    """The outcomes in the order that was asked."""

    items: list[TicketOutcome]


class Link(msgspec.Struct, frozen=True, array_like=True):
    """What a signed link to our own file server says."""

    grant: int
    release: int
    place: int
    right: int
    sha256: bytes
    expires: float
    """Seconds since 1970."""


class ElsewhereError(ConflictError):
    """The release's file was never here; ``url`` says where it is, when that is known."""

    code = "elsewhere"
    title = "This file does not lie here; download at the source"


class BadLinkError(ForbiddenError):
    code = "bad-link"
    title = "This download link was not made here, or was changed on its way; ask for a new ticket"


class ExpiredLinkError(GoneError):
    code = "link-expired"
    title = "This download link has expired; renew its ticket and go on where you stopped"
