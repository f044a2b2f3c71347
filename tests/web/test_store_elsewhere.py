"""The site where an object store holds the bytes, at an address that is not the site's."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.async_api import Browser, expect

from loadstone.kernel.config import Config
from loadstone.kernel.platform import open_platform
from tests.delivery.conftest import author, mod
from tests.delivery.releases import publish
from tests.s3 import s3_config, s3_server
from tests.web.conftest import flaws
from tests.web.site import free_port, serving

__all__ = ["author", "mod", "s3_config", "s3_server"]

pytestmark = [pytest.mark.browser, pytest.mark.s3, pytest.mark.timeout(300)]


async def test_the_button_downloads_from_the_store(browser: Browser, s3_config: Config, mod: dict[str, Any]) -> None:
    with free_port() as listening:
        config = msgspec.structs.replace(s3_config, port=listening.getsockname()[1])
        async with open_platform(config) as platform, serving(platform, listening):
            release = await publish(platform, mod)
            page = await browser.new_page(base_url=config.address, accept_downloads=True)
            await page.goto(f"/games/starfall/mods/{mod['slug']}")
            async with page.expect_download() as download:
                await page.get_by_role("button", name="Download 1.0").first.click()
            got = await download.value
            assert got.url.startswith(config.s3_endpoint)
            assert got.suggested_filename == "sharper swords.zip"
            assert Path(await got.path()).read_bytes() == release.content
            await expect(page.get_by_role("heading", level=1)).to_have_text("Your download begins")
            assert await flaws(page) == []
            await page.close()
