"""`loadstone resolve`: asking the real platform over a real socket, and the way to the offline command."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvicorn

from loadstone.catalog.models import NewClaim
from loadstone.cli.main import main
from loadstone.kernel.platform import Platform
from tests.conftest import MakePerson
from tests.installs.test_resolve import release, world


@pytest_asyncio.fixture
async def address(app: Any) -> AsyncIterator[str]:
    """The application on a real socket; its lifespan runs already."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
        task = asyncio.create_task(server.serve(sockets=[listening]))
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        await task


def typed(*arguments: str) -> int:
    """The exit status of `loadstone resolve …`."""
    with pytest.raises(SystemExit) as ended:
        main(["resolve", *arguments])
    return int(ended.value.code or 0)


async def run(*arguments: str) -> int:
    """The command as the terminal runs it, beside the server."""
    return await asyncio.to_thread(typed, *arguments)


async def test_a_plan_is_a_table_and_a_refusal_a_tree_with_ways_out(
    platform: Platform, person: MakePerson, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, (swords, shields, base) = await world(person, "Swords", "Shields", "Base")
    await release(platform, base, "1.0")
    await release(platform, base, "2.0")
    await release(platform, swords, "1.0", [NewClaim(kind="requires", target="base", range="<2.0")])
    await release(platform, shields, "1.0", [NewClaim(kind="requires", target="base", range=">=2.0")])

    assert await run("starfall", "swords", "--build", "1.1", "--server", address) == 0
    printed = capsys.readouterr().out
    assert "you asked for it" in printed
    assert "required by Swords" in printed
    assert "2 mods for starfall 1.1." in printed

    assert await run("starfall", "swords", "shields", "--explain", "--server", address) == 1
    printed = capsys.readouterr().out
    assert "There is no plan for starfall, because" in printed
    assert "Swords requires Base <2.0" in printed
    assert "author: clm_" in printed
    assert "1. Do without" in printed

    assert await run("starfall", "base@1.0", "--server", address, "--json") == 0
    printed = capsys.readouterr().out
    document = json.JSONDecoder().raw_decode(printed[printed.index("{\n") :])[0]
    assert [(entry["package"], entry["version"]) for entry in document["plan"]] == [("base", "1.0")]

    assert await run("starfall", "sords", "--server", address) == 1
    assert "this game has no “sords”" in capsys.readouterr().err


def test_without_a_game_and_a_mod_it_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("starfall") == 2
    assert "loadstone resolve GAME MOD" in capsys.readouterr().err


def test_with_a_catalogue_it_is_the_offline_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalogue, requests, results = (tmp_path / name for name in ("rows.jsonl", "in.jsonl", "out.jsonl"))
    catalogue.write_text(
        '{"id": "App", "version": "1", "depends": [{"name": "DLC"}]}\n{"id": "DLC", "version": "1.0", "kind": "dlc"}\n'
    )
    requests.write_text('{"game": ["1.12.5"], "request": ["App"]}\n')
    where = ["--catalogue", str(catalogue), "--requests", str(requests), "--out", str(results)]
    assert typed(*where, "--explain") == 0
    refused = json.loads(results.read_text())
    assert refused["sat"] is False
    assert refused["repairs"][0]["own"] == ["DLC"]
    assert typed(*where, "--own", "DLC") == 0
    assert {entry["id"] for entry in json.loads(results.read_text())["plan"]} == {"App", "DLC"}
    assert typed("--catalogue", str(catalogue)) == 2
    assert "--requests" in capsys.readouterr().err
