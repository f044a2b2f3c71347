"""The whole API against its own document: a running server, a small world in it, and generated requests."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx
import hypothesis
import msgspec
import requests
import schemathesis
import uvicorn
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.generation.case import Case
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.transport.serialization import serialize_binary

from loadstone.catalog import authoring
from loadstone.catalog.models import NewChain, NewClaim, NewGame, NewMod
from loadstone.http.app import create_app, openapi_document
from loadstone.identity import service as identity
from loadstone.identity.models import SCOPES, Credentials, NewToken, Registration
from loadstone.kernel.config import Config
from loadstone.kernel.ids import decode
from loadstone.kernel.platform import open_platform
from tests.delivery.releases import publish
from tests.discovery.helpers import catch_up
from tests.factories import PASSWORD

# 503 belongs to the contract: the search index is still being built, a database is away.
ANSWERS_THAT_ARE_MEANT: Final = frozenset({503})
REFUSED_BY_THE_SERVER: Final = b"Invalid HTTP request received."
"""What uvicorn says of bytes that are no HTTP; the application never saw them."""
LONGEST_REQUEST_LINE: Final = 60_000
UNTOUCHED: Final = frozenset({"log_out"})
"""Operations that would end the run's own session."""


@schemathesis.serializer("image/png", "image/jpeg", "image/webp", "image/gif", "application/offset+octet-stream")
def as_bytes(_context: Any, value: Any) -> bytes:
    """Bodies that are no JSON, as they are."""
    return serialize_binary(value)


class World(msgspec.Struct, frozen=True):
    """What lies in the platform: names that path parameters may take, and the token of an admin."""

    token: str
    names: dict[str, str]


async def make_world(config: Config) -> World:
    """An admin who owns a game, a published mod with a chain, a claim and a release with a real file."""
    async with open_platform(config) as platform:
        await identity.make_member(
            platform, Registration("ada", "ada@example.org", PASSWORD), roles=("admin", "moderator")
        )
        ada = (await identity.log_in(platform, Credentials("ada", PASSWORD), agent="contract")).actor
        token = await identity.make_token(platform, ada, NewToken("contract", list(SCOPES)))
        game = await authoring.add_game(
            platform, ada, NewGame(slug="starfall", name="Starfall", builds=["1.0", "1.1"], loaders={"forge": "Forge"})
        )
        mod = await authoring.make_mod(
            platform, ada, game.slug, NewMod(name="Sharper Swords", visibility="published", tags=["swords"])
        )
        number = decode("mod", mod.id)
        chain = await authoring.add_chain(platform, ada, number, NewChain(name="Textures"))
        claims = await authoring.claim(platform, ada, number, None, NewClaim(kind="requires", target="other-mod"))
        release = await publish(platform, dict(msgspec.to_builtins(mod)))
        await catch_up(platform)
        names = {
            "game": game.slug, "mod": mod.id, "release": release.id, "name": "ada", "chain": chain.slug,
            "claim": claims[0].id, "token": token.id,
        }  # fmt: skip
        return World(str(token.secret), names)


@contextlib.contextmanager
def serving(config: Config) -> Iterator[str]:
    """The real application on a real socket in a thread of its own; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = uvicorn.Config(
        create_app(config), port=port, log_level="critical", access_log=False, lifespan="on", ws="none"
    )
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address, thread)
        yield address
    finally:
        server.should_exit = True
        thread.join(30)


def _wait(address: str, thread: threading.Thread) -> None:
    for _ in range(600):
        assert thread.is_alive(), "the server ended before it was ready"
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{address}/readyz").status_code == 200:
                return
        threading.Event().wait(0.05)
    raise AssertionError("the server did not get ready")


def contradictions(address: str, world: World, *, examples: int, seed: int, signed_in: bool) -> list[str]:
    """What generated requests showed that the document does not say; empty when all is as promised."""
    document = openapi_document()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=address)
    found: list[str] = []
    headers = {"Authorization": f"Bearer {world.token}"} if signed_in else {}
    with requests.Session() as session:
        for result in schema.get_all_operations():
            operation: Any = result.ok()  # type: ignore[union-attr]
            if operation.definition.raw["operationId"] in UNTOUCHED:
                continue
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                told: set[str] = set()
                run = _sending(operation.as_strategy(generation_mode=mode), world, session, headers, told)
                _run(run, operation, examples, seed, mode, told)
                found += [f"{operation.label}: {t}" for t in sorted(told)]
    return found


def _run(
    run: Callable[[], None], operation: Any, examples: int, seed: int, mode: GenerationMode, told: set[str]
) -> None:
    settings = hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    try:
        hypothesis.seed(seed)(settings(run))()
    except hypothesis.errors.Unsatisfiable:
        return  # nothing wrong can be generated for an operation that takes nothing
    except schemathesis.errors.SchemathesisError as error:
        if mode is GenerationMode.POSITIVE:
            told.add(f"no request can be generated: {error}")


def _sending(
    strategy: Any, world: World, session: requests.Session, headers: dict[str, str], told: set[str]
) -> Callable[[], None]:
    """Sends each generated case; every second one to things that are really there."""
    turn = iter(range(1_000_000_000))

    @hypothesis.given(case=strategy)
    def send(case: Case[Any]) -> None:
        if next(turn) % 2 and case.path_parameters:
            case.path_parameters = {k: world.names.get(k, v) for k, v in case.path_parameters.items()}
        try:
            answer = case.call(session=session, headers=headers)
        except requests.RequestException as error:
            # uvicorn hangs up on a request line over 64 KiB; on anything shorter it must not.
            if len(case.as_curl_command(headers=headers)) < LONGEST_REQUEST_LINE:
                told.add(f"the connection broke: {error}")
            return
        if answer.status_code in ANSWERS_THAT_ARE_MEANT or answer.content == REFUSED_BY_THE_SERVER:
            return
        try:
            case.validate_response(answer, checks=CHECKS, headers=headers)
        except schemathesis.errors.SchemathesisError as error:
            told.add(f"{answer.status_code}: {error}")
        except BaseExceptionGroup as group:
            told.update(_line(e, answer) for e in group.exceptions)
        except AssertionError as failure:
            told.add(_line(failure, answer))

    return send


def _line(failure: BaseException, answer: Any) -> str:
    text = str(failure).split("Reproduce with:")[0].strip().replace("\n", " ")
    return f"{answer.status_code}: {text[:600]}"


CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def check(config: Config, *, examples: int, seed: int) -> list[str]:
    """Make the world, serve it, ask everything as admin and as nobody."""
    world = asyncio.run(make_world(config))
    found: list[str] = []
    with serving(config) as address:
        for signed_in in (False, True):
            who = "admin" if signed_in else "anonymous"
            told = contradictions(address, world, examples=examples, seed=seed, signed_in=signed_in)
            found += [f"{who}: {t}" for t in told]
    return found
