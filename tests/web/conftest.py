"""What the tests of the site share: one running site, one Chromium, and visitors in it."""

import os
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright, expect

from loadstone.identity import service as identity
from loadstone.identity.models import Credentials
from loadstone.identity.routes import cookie_name
from tests.conftest import TEMPLATE, _with_database
from tests.web.site import Site, open_site

CHROMIUM_ARGUMENTS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS: Final = 60_000
_FLAWS: Final = (Path(__file__).parent / "flaws.js").read_text(encoding="utf-8")

expect.set_options(timeout=PATIENCE_MS)
Visit = Callable[..., Coroutine[Any, Any, Page]]


@pytest.fixture(scope="session")
def chromium() -> str:
    given = os.environ.get("LOADSTONE_TEST_CHROMIUM")
    found = given or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found:
        pytest.skip("there is no Chromium on the PATH; set LOADSTONE_TEST_CHROMIUM to one to test the site in it")
    return found


@pytest_asyncio.fixture(scope="session")
async def site(chromium: str, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One seeded site for all tests with a browser; each test brings its own members and mods."""
    name = f"site_{os.getpid()}"
    connection = await asyncpg.connect(postgres)
    try:
        await connection.execute(f"create database {name} template {TEMPLATE}")
        async with open_site(tmp_path_factory.mktemp("site"), _with_database(postgres, name)) as opened:
            yield opened
    finally:
        await connection.execute(f"drop database if exists {name} with (force)")
        await connection.close()


@pytest_asyncio.fixture(scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        yield launched
        await launched.close()


@pytest_asyncio.fixture
async def visit(browser: Browser, site: Site) -> AsyncIterator[Visit]:
    """Opens a page for someone: ``await visit("carl", java_script_enabled=False)``.

    The test fails when a page says an error on the console, which breaches of the content policy are as well.
    """
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not _only_a_status(message):
            complaints.append(message.text)

    async def visitor(name: str | None = None, **options: Any) -> Page:
        given: dict[str, Any] = {"viewport": {"width": 1200, "height": 800}, "accept_downloads": True} | options
        context = await browser.new_context(base_url=site.url, **given)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        context.on("console", listen)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        if name:
            given_name = Credentials(name, site.passwords[name])
            opened = await identity.log_in(site.platform, given_name, agent="tests")
            cookie = {"name": cookie_name(site.platform.config), "value": opened.secret, "url": site.url}
            await context.add_cookies([cookie])  # type: ignore[list-item]
        return await context.new_page()

    yield visitor
    for context in contexts:
        await context.close()
    assert complaints == []


def _only_a_status(message: ConsoleMessage) -> bool:
    """Chromium also logs that a page, asked for on purpose, answered 4xx."""
    failed = message.text.startswith("Failed to load resource")
    return failed and not urlsplit(message.location["url"]).path.startswith(("/static/", "/media/"))


async def flaws(page: Page) -> list[str]:
    """What is wrong with the page, in the light and in the dark, at its width and on a phone; see ``flaws.js``."""
    found: list[str] = []
    width = page.viewport_size
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        await page.emulate_media(color_scheme=scheme)
        found += [f"{scheme}: {flaw}" for flaw in await page.evaluate(_FLAWS)]
    await page.set_viewport_size({"width": 390, "height": 844})
    found += [f"phone: {flaw}" for flaw in await page.evaluate(_FLAWS)]
    if width:
        await page.set_viewport_size(width)
    return found
