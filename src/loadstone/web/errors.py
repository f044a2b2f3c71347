"""An error as a page, for people."""

from typing import Any

from litestar import Request, Response

from loadstone.kernel.errors import Problem
from loadstone.web.render import page


def error_page(request: Request[Any, Any, Any], problem: Problem) -> Response[str]:
    """The problem as a page of the site, with its status."""
    return page(
        request,
        "error.html",
        status=problem.status,
        headers=problem.headers | {"Cache-Control": "no-store"},
        problem=problem,
    )
