"""Every page, in real Chromium: well made, readable in the light and the dark, not wider than a phone."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import Page, expect

from loadstone.catalog import service as catalog
from loadstone.identity.models import ANONYMOUS
from loadstone.kernel.ids import encode
from tests.web.conftest import Visit, flaws
from tests.web.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

MOD = "/games/starfall/mods/ember-blades"
PUBLIC = (
    "/",
    "/games",
    "/games/starfall",
    "/games/starfall?sort=downloads",
    "/search",
    "/search?q=storm&game=starfall&tag=map",
    "/search?q=nothingatallhasthis",
    MOD,
    f"{MOD}?tab=files",
    f"{MOD}?tab=dependencies",
    "/games/starfall/mods/keel-core?tab=dependencies",
    f"{MOD}?tab=changes",
    f"{MOD}?tab=contents",
    "/login",
    "/register",
    "/docs",
    "/docs/catalogue",
    "/graphql",
    "/graphql?query=%7B%20games%20%7B%20items%20%7B%20slug%20%7D%20%7D%20%7D",
    "/nothing-is-here",
    "/account",
)
CREATORS = ("/create", "/create/new?game=starfall", "/account", "{manage}", "{release}", MOD)
ADMINS = ("/admin/jobs", "/admin/jobs?show=waiting", "/admin/jobs?show=running")


async def full(site: Site, address: str) -> str:
    """The address with the ids of this site's own things in it."""
    mod_id = await catalog.resolve_mod(site.platform, "starfall", "ember-blades")
    row = await catalog.see_mod(site.platform, ANONYMOUS, mod_id)
    release = (await catalog.releases(site.platform, row, ANONYMOUS)).items[0]
    places = {"{manage}": f"/create/mods/{encode('mod', mod_id)}", "{release}": f"/create/releases/{release.id}"}
    return places.get(address, address)


@pytest.mark.parametrize("address", PUBLIC)
async def test_a_public_page_is_well_made_in_light_dark_and_on_a_phone(visit: Visit, address: str) -> None:
    page = await visit()
    await page.goto(address)
    assert await flaws(page) == []


@pytest.mark.parametrize("address", CREATORS)
async def test_a_creators_page_is_well_made_in_light_dark_and_on_a_phone(
    visit: Visit, site: Site, address: str
) -> None:
    page = await visit("carl")
    answer = await page.goto(await full(site, address))
    assert answer
    assert answer.status == 200
    assert await flaws(page) == []


@pytest.mark.parametrize("address", ADMINS)
async def test_an_admins_page_is_well_made_in_light_dark_and_on_a_phone(visit: Visit, address: str) -> None:
    page = await visit("ada")
    await page.goto(address)
    assert await flaws(page) == []


async def test_the_check_of_pages_finds_what_is_wrong(visit: Visit) -> None:
    page = await visit()
    await page.goto("/login")
    await page.evaluate("""() => {
        document.querySelector("label[for=login]").remove();
        document.querySelector("h1").className = "pale";
        const sheet = new CSSStyleSheet();
        sheet.replaceSync(".pale { color: rgb(200 200 200); } footer { width: 1300px; }");
        document.adoptedStyleSheets = [sheet];
        document.body.append(document.createElement("img"));
    }""")
    found = "\n".join(await flaws(page))
    for flaw in ("light: no label", "light: contrast 1.", "light: no alt", "light: 1300 px wide", "phone: 1300 px"):
        assert flaw in found


async def test_the_skip_link_is_first_and_leads_to_the_content(visit: Visit) -> None:
    page = await visit()
    await page.goto("/")
    await page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    await expect(skip).to_be_focused()
    await expect(skip).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.locator("#hero-find")).to_be_focused()


@pytest.mark.parametrize("address", ["/", MOD, "/search?q=ember", "/register"])
async def test_the_tab_key_reaches_all_in_the_order_of_the_page_and_shows_where_it_is(
    visit: Visit, address: str
) -> None:
    page = await visit()
    await page.goto(address)
    every = "a[href], button:not(:disabled), input:not([type=hidden]), select, textarea, summary"
    expected = await page.locator(every).count()
    stops = []
    for _ in range(expected):
        await page.keyboard.press("Tab")
        stops.append(await page.evaluate(_WHERE, every))
    assert [stop["at"] for stop in stops] == list(range(expected))
    assert [stop["html"] for stop in stops if not stop["shown"]] == []


_WHERE = """(every) => {
    const element = document.activeElement;
    const ring = [element, element.closest(".mod")].some((e) => e && getComputedStyle(e).outlineStyle === "solid");
    return { at: [...document.querySelectorAll(every)].indexOf(element), shown: ring, html: element.outerHTML };
}"""


async def test_the_log_in_form_works_with_the_keyboard_alone(visit: Visit, site: Site) -> None:
    page = await visit()
    await page.goto("/login")
    while await page.evaluate("document.activeElement.id") != "login":
        await page.keyboard.press("Tab")
    await page.keyboard.type("pia")
    await page.keyboard.press("Tab")
    await page.keyboard.type(site.passwords["pia"])
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Log out")).to_be_visible()


async def test_all_is_there_without_javascript(visit: Visit) -> None:
    page = await visit(java_script_enabled=False)
    await page.goto("/search?q=ember")
    await _follow(page, lambda: page.get_by_role("link", name="Ember Blades").click())
    await _follow(page, lambda: page.get_by_role("link", name="Files").click())
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Download 1.1.0").first.click()
    assert (await download.value).suggested_filename == "ember-blades-1.1.0.zip"


async def _follow(page: Page, act: Callable[[], Any]) -> None:
    async with page.expect_navigation():
        await act()
