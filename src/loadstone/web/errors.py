"""An error as a page, for people."""

from typing import Any

from litestar import Request, Response

from loadstone.kernel.errors import Problem


def error_page(_request: Request[Any, Any, Any], problem: Problem) -> Response[str]:
    """The problem as a small page."""
    from html import escape

    body = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(problem.title)}</title>'
        f'<main><h1>{escape(problem.title)}</h1><p>{escape(problem.detail)}</p><p><a href="/">Home</a></main></html>'
    )
    return Response(body, status_code=problem.status, media_type="text/html", headers=problem.headers)
