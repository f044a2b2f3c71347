"""The player's commands against the real platform: published by the real pipeline, served over a real socket."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvicorn

from loadstone.cli.install import install
from loadstone.cli.player import list_mods, remove, update, verify
from loadstone.kernel.config import Config
from loadstone.kernel.platform import Platform
from tests.client.helpers import files
from tests.conftest import MakePerson
from tests.factories import Person, make_game, make_mod, zip_bytes
from tests.publishing.conftest import publish, run_jobs, upload


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened


@pytest.fixture
def config(database_url: str, tmp_path: Path, listening: socket.socket) -> Config:
    """As everywhere, with the port that is really listened on: download links name it."""
    port = listening.getsockname()[1]
    return Config(data=tmp_path / "data", database_url=database_url, secret_key="k" * 32, port=port, log_level="error")


@pytest_asyncio.fixture
async def address(app: Any, listening: socket.socket) -> AsyncIterator[str]:
    """The application on a real socket; its lifespan runs already."""
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
    task = asyncio.create_task(server.serve(sockets=[listening]))
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    await task


async def release(
    platform: Platform,
    creator: Person,
    mod: dict[str, Any],
    version: str,
    content: dict[str, bytes | str],
    **fields: Any,
) -> None:
    uploaded = await upload(creator, zip_bytes(content), f"{mod['slug']}-{version}.zip")
    answer = await publish(creator, mod, version, uploaded, **fields)
    assert answer.status_code == 202, answer.text
    await run_jobs(platform)


def document(printed: str) -> dict[str, Any]:
    """The JSON document among the lines that the server logs in this process."""
    return dict(json.JSONDecoder().raw_decode(printed[printed.index("{\n") :])[0])


async def run(command: Callable[..., int], *arguments: Any, **options: Any) -> int:
    """A command as the terminal runs it, beside the server."""
    return await asyncio.to_thread(command, *arguments, yes=True, **options)


async def test_a_published_mod_is_installed_updated_verified_and_removed(
    platform: Platform, person: MakePerson, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await make_game(await person("boss", roles=("admin",)))
    ada = await person("ada")
    base, swords = await make_mod(ada, name="Base"), await make_mod(ada, name="Swords")
    needs = [{"kind": "requires", "target": "base", "range": ">=1.0"}]
    await release(platform, ada, base, "1.0", {"lib/base.dll": b"base"})
    await release(platform, ada, swords, "1.0", {"data/a.txt": "1", "readme.txt": "1"}, claims=needs)
    game = tmp_path / "game"

    assert await run(install, ["starfall/swords"], into=game, server=address, build="1.1") == 0
    assert files(game) == {"lib/base.dll": b"base", "data/a.txt": b"1", "readme.txt": b"1"}

    await release(platform, ada, swords, "1.1", {"data/a.txt": "2", "data/b.txt": "2"}, claims=needs)
    assert await run(update, into=game) == 0
    assert files(game) == {"lib/base.dll": b"base", "data/a.txt": b"2", "data/b.txt": b"2"}

    (game / "data/a.txt").unlink()
    assert await asyncio.to_thread(verify, into=game) == 1
    assert await run(verify, into=game, repair=True) == 0
    assert await asyncio.to_thread(verify, into=game) == 0

    capsys.readouterr()
    assert await asyncio.to_thread(list_mods, into=game, json=True) == 0
    listed = document(capsys.readouterr().out)
    assert [(mod["slug"], mod["version"], mod["requested"]) for mod in listed["mods"]] == [
        ("base", "1.0", False), ("swords", "1.1", True),
    ]  # fmt: skip
    assert listed["build"] == "1.1"

    assert await asyncio.to_thread(remove, ["swords"], into=game) == 0
    assert files(game) == {}
    reasons = await platform.db.fetch("select reason from grants order by id")
    assert [row["reason"] for row in reasons].count("update") == 1
    assert sorted(row["reason"] for row in reasons)[:2] == ["dependency", "direct"]


async def test_what_cannot_be_installed_is_said_with_its_reasons(
    platform: Platform, person: MakePerson, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await make_game(await person("boss", roles=("admin",)))
    ada = await person("ada")
    base, swords = await make_mod(ada, name="Base"), await make_mod(ada, name="Swords")
    await release(platform, ada, base, "1.0", {"base.dll": b"base"})
    claims = [{"kind": "requires", "target": "base", "range": ">=2.0"}]
    await release(platform, ada, swords, "1.0", {"a.txt": "1"}, claims=claims)
    game = tmp_path / "game"

    assert await run(install, ["starfall/swords"], into=game, server=address) == 1
    said = capsys.readouterr().err
    assert "cannot be installed" in said
    assert "Base" in said
    assert await run(install, ["starfall/nothing"], into=game, server=address, json=True) == 1
    answer = document(capsys.readouterr().out)
    assert answer["error"]["code"] == "server-refused"
    assert "nothing" in answer["error"]["detail"]
    assert not game.exists()
