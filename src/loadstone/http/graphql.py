"""GraphQL over HTTP at ``/graphql``: bounded documents, problems with the same codes as REST."""

import asyncio
from functools import cache
from typing import Annotated, Any, Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody

from loadstone.http.problems import as_problem
from loadstone.identity.models import Actor, Who
from loadstone.kernel.permissions import READ_PUBLIC
from loadstone.kernel.platform import Platform
from loadstone.kernel.rest import Here, act, read

_log = structlog.get_logger()
MOST_ALIASES: Final = 30
MOST_CHARACTERS: Final = 50_000


@cache
def schema() -> Any:
    """The schema, made when it is first needed: strawberry is slow to load, and the site starts without it."""
    import strawberry
    from strawberry.extensions import MaxAliasesLimiter
    from strawberry.schema.config import StrawberryConfig

    from loadstone.catalog.graph import CatalogQuery

    class Schema(strawberry.Schema):
        def process_errors(self, errors: list[Any], execution_context: Any = None) -> None:  # noqa: ARG002
            for error in errors:
                cause = _cause(error)
                if cause is not None and as_problem(cause).status >= 500:
                    _log.error("graphql_failed", exc_info=cause)

    return Schema(
        query=CatalogQuery,
        config=StrawberryConfig(auto_camel_case=False),
        extensions=[lambda: MaxAliasesLimiter(max_alias_count=MOST_ALIASES)],
    )


class Document(msgspec.Struct, frozen=True):
    """A GraphQL request (GraphQL over HTTP §5)."""

    query: Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_CHARACTERS)]
    variables: dict[str, Any] | None = None
    operationName: str | None = None  # noqa: N815 - the specification's name


@act("/graphql", READ_PUBLIC, opt={"asks_only": True}, summary="Ask the graph", tags=["graphql"])
async def graphql(data: JSONBody[Document], actor: Who, platform: Here) -> Response[dict[str, Any]]:
    """A read-only document; the schema is at ``/graphql/schema``. Depth, tokens and aliases are bounded."""
    return Response(await execute(platform, actor, data), media_type="application/json")


@read("/graphql/schema", READ_PUBLIC, summary="The graph's schema", tags=["graphql"], media_type="text/plain")
async def sdl() -> str:
    """The schema in GraphQL's own language."""
    return str((await asyncio.to_thread(schema)).as_str())


@read("/graphql", READ_PUBLIC, include_in_schema=False)
async def playground(
    request: Request[Any, Any, Any],
    actor: Who,
    platform: Here,
) -> Response[str]:
    """A page to try documents on, without a line of script."""
    from loadstone.web.render import page

    text = request.query_params.get("query", "")[:MOST_CHARACTERS]
    result = None
    if text:
        answer = await execute(platform, actor, Document(text))
        result = msgspec.json.format(msgspec.json.encode(answer, enc_hook=str), indent=2).decode()
    return page(request, "graphql.html", document=text, result=result)


async def execute(platform: Platform, actor: Actor, document: Document) -> dict[str, Any]:
    """Run a document; the answer's ``errors`` carry ``extensions.code`` as REST's problems do."""
    from loadstone.catalog.graph import CatalogLoaders
    from loadstone.http.graphql_bounds import BadDocumentError, check_document

    try:
        check_document(document.query, document.variables, document.operationName)
    except BadDocumentError as refusal:
        return {"errors": [{"message": refusal.detail, "extensions": {"code": refusal.code}}]}
    made = await asyncio.to_thread(schema)
    result = await made.execute(
        document.query,
        variable_values=document.variables,
        operation_name=document.operationName,
        context_value={"catalog": CatalogLoaders(platform, actor)},
    )
    answer: dict[str, Any] = {"data": result.data}
    if result.errors:
        answer["errors"] = [_error(e) for e in result.errors]
        if result.data is None:
            del answer["data"]
    return answer


def _cause(error: Any) -> BaseException | None:
    """What went wrong beneath; None where the document itself or its variables are wrong."""
    from graphql import GraphQLError

    cause: BaseException | None = error.original_error
    return None if isinstance(cause, GraphQLError) else cause


def _error(error: Any) -> dict[str, Any]:
    formatted = dict(error.formatted)
    cause = _cause(error)
    if cause is None:
        return formatted | {"extensions": {"code": "invalid-document"}}
    problem = as_problem(cause)
    return formatted | {"message": problem.detail, "extensions": {"code": problem.code, "status": problem.status}}


ROUTES: list[HTTPRouteHandler] = [graphql, sdl, playground]
