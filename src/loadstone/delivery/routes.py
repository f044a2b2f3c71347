"""REST of downloads."""

from litestar import Response
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody

from loadstone.delivery import service
from loadstone.delivery.models import FETCH, Ticket, TicketOutcome, TicketRequest, Tickets, TicketsRequest
from loadstone.identity.models import Who
from loadstone.kernel.errors import Problem
from loadstone.kernel.rest import NO_STORE, Here, act, create


@create("/api/v1/releases/{release:str}/tickets", FETCH, summary="Get a download ticket", tags=["downloads"])
async def make_ticket(
    release: FromPath[str], data: JSONBody[TicketRequest], actor: Who, platform: Here
) -> Response[Ticket]:
    """A link to the file's bytes that lives for a minute at most; counted as one download.

    A file that lies elsewhere is refused with the problem ``elsewhere`` and its ``url``, when that is known.
    """
    return Response(await service.grant(platform, actor, release, data), headers=NO_STORE)


@act("/api/v1/tickets", FETCH, summary="Get many download tickets", tags=["downloads"], keyed=True)
async def make_tickets(data: JSONBody[TicketsRequest], actor: Who, platform: Here) -> Response[Tickets]:
    """Tickets for up to 1,000 files in one call, each with its ticket or its problem, in the order asked."""
    outcomes = await service.grant_many(platform, actor, data.items, data.reason)
    items = [
        TicketOutcome(release=w.release, file=w.file, problem=o.body())
        if isinstance(o, Problem)
        else TicketOutcome(release=w.release, file=w.file, ticket=o)
        for w, o in zip(data.items, outcomes, strict=True)
    ]
    return Response(Tickets(items), headers=NO_STORE)


@act("/api/v1/tickets/{ticket:str}/renew", FETCH, summary="Renew a download link", tags=["downloads"])
async def renew_ticket(ticket: FromPath[str], actor: Who, platform: Here) -> Response[Ticket]:
    """A fresh link for a ticket of the last day, to begin or resume with; not counted again."""
    return Response(await service.renew(platform, actor, ticket), headers=NO_STORE)


ROUTES: list[HTTPRouteHandler] = [make_ticket, make_tickets, renew_ticket]
