"""The admin's page of background jobs."""

from typing import Annotated, Any, Literal

from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, QueryParameter

from loadstone.kernel import jobs
from loadstone.kernel.permissions import ADMINISTER, INSPECT
from loadstone.kernel.rest import Here, act, read
from loadstone.web.render import go, page

AnyRequest = Request[Any, Any, Any]
Show = Literal["parked", "waiting", "running"]
STATES: dict[Show, str] = {"parked": "failed", "waiting": "queued", "running": "picked"}


@read("/admin/jobs", INSPECT, include_in_schema=False)
async def jobs_page(
    request: AnyRequest,
    platform: Here,
    show: Annotated[Show, QueryParameter()] = "parked",
    after: Annotated[int | None, QueryParameter(ge=0, le=2**62)] = None,
) -> Response[str]:
    listed = await jobs.listing(platform.db, states=[STATES[show]], after=after, limit=51)
    return page(
        request,
        "jobs.html",
        overview=await jobs.overview(platform.db),
        listed=listed[:50],
        next_after=listed[49].id if len(listed) > 50 else None,
        show=show,
        states={state: name for name, state in STATES.items()},
    )


@act("/admin/jobs/{job:int}/retry", ADMINISTER, include_in_schema=False)
async def retry(job: FromPath[int], platform: Here) -> Response[Any]:
    await jobs.retry(platform.db, job)
    return go("/admin/jobs")


ROUTES: list[HTTPRouteHandler] = [jobs_page, retry]
