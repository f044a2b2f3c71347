"""The page that plans an installation, in real Chromium."""

import pytest
from playwright.async_api import expect

from tests.web.conftest import Visit, flaws

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

PAGE = "/games/starfall/resolve"


@pytest.mark.parametrize("asked", ["", "?mod=ember-blades", "?mod=ember-blades&mod=nothing-of-that-name"])
async def test_the_page_is_well_made_in_light_dark_and_on_a_phone(visit: Visit, asked: str) -> None:
    page = await visit()
    await page.goto(PAGE + asked)
    assert await flaws(page) == []


async def test_a_plan_is_asked_for_without_javascript(visit: Visit) -> None:
    page = await visit(java_script_enabled=False)
    await page.goto(PAGE)
    await page.get_by_label("Mod", exact=False).last.fill("ember-blades")
    await page.get_by_role("button", name="Plan").click()
    await expect(page.get_by_role("heading", name="Yes:")).to_be_visible()
    await page.get_by_role("link", name="Do without ember-blades").click()
    await expect(page.get_by_label("Asked for")).to_have_count(0)
