"""What people do on the site, in real Chromium against the running application and its worker."""

import io
import itertools
import os
import zipfile
from pathlib import Path

import pytest
from playwright.async_api import Page, Request, expect

from loadstone.catalog import authoring
from loadstone.catalog.models import NewMod
from loadstone.identity import service as identity
from loadstone.identity.models import Credentials
from tests.factories import zip_bytes
from tests.web.conftest import Visit, flaws
from tests.web.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

PIECE = 8 << 20
_serial = itertools.count(1)


def fresh(word: str) -> str:
    """A name that no other test on this site uses."""
    return f"{word} {os.getpid()} {next(_serial)}"


async def begin_mod(page: Page, name: str) -> None:
    """Make a mod by the form and end on its manage page."""
    await page.goto("/create")
    await page.get_by_label("For which game?").select_option("starfall")
    await page.get_by_role("button", name="Begin").click()
    await page.get_by_label("Name", exact=True).fill(name)
    await page.get_by_label("Summary").fill("Made by a test.")
    await page.get_by_label("Tags").fill("tested, by hand")
    await page.get_by_role("button", name="Make the mod").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text(name)


async def fill_release(page: Page, version: str, file_name: str, content: bytes) -> None:
    await page.locator("#version").fill(version)
    await page.get_by_label("What changed").fill("It *begins*.")
    await page.locator("#file").set_input_files({"name": file_name, "mimeType": "application/zip", "buffer": content})


async def test_a_visitor_finds_a_mod_with_filters_and_downloads_it(visit: Visit) -> None:
    page = await visit()
    await page.goto("/")
    await page.locator("#hero-find").fill("ember")
    await page.locator("#hero-find").press("Enter")
    await expect(page.get_by_role("link", name="Ember Blades")).to_be_visible()
    await page.goto("/search")
    await page.get_by_label("Game", exact=True).select_option("starfall")
    await page.get_by_label("Order", exact=True).select_option("name")
    await page.get_by_role("button", name="Show").click()
    await expect(page.get_by_role("link", name="Storm Charts")).to_be_visible()
    await expect(page.get_by_role("link", name="Honest Steel")).to_have_count(0)
    await page.get_by_role("navigation", name="Tag").get_by_role("link", name="weapons").click()
    await expect(page.get_by_role("link", name="Storm Charts")).to_have_count(0)
    await page.get_by_role("link", name="Ember Blades").click()
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Download 1.1.0").first.click()
    got = await download.value
    assert got.suggested_filename == "ember-blades-1.1.0.zip"
    with zipfile.ZipFile(await got.path()) as archive:
        assert any(name.endswith("mod.json") for name in archive.namelist())


async def test_someone_registers_logs_out_and_logs_in_again(visit: Visit) -> None:
    page = await visit()
    name, password = fresh("nia").replace(" ", "-"), "a needle that finds north"
    await page.goto("/register")
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("E-mail").fill(f"{name}@example.org")
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Make my account").click()
    await expect(page.get_by_role("heading", name="My mods")).to_be_visible()
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_role("link", name="Log in")).to_be_visible()
    await page.goto("/create")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Log in or send a token first")
    await page.goto("/login?next=/account")
    await page.get_by_label("Name or e-mail").fill(f"{name}@example.org")
    await page.get_by_label("Password").fill("not the password")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await expect(page.get_by_label("Name or e-mail")).to_have_value(f"{name}@example.org")
    assert await flaws(page) == []
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(name)


async def test_a_creator_publishes_a_mod_and_sees_the_upload_and_its_stages(visit: Visit) -> None:
    page = await visit("carl")
    told: list[str] = []

    def tell(words: str) -> None:
        told.append(words)

    await page.expose_function("told", tell)
    name = fresh("Long Shot")
    await begin_mod(page, name)
    await page.evaluate("""() => new MutationObserver((changes) => changes.forEach((c) => told(c.target.textContent)))
        .observe(document.querySelector("[data-progress] p"), {childList: true})""")
    pieces: list[Request] = []
    page.on("request", lambda request: pieces.append(request) if request.method == "PATCH" else None)
    await fill_release(page, "1.0.0", "long-shot.zip", large_zip(2 * PIECE + 1000))
    await page.get_by_role("button", name="Upload and publish").click()
    await expect(page.get_by_text("Stored")).to_be_visible()
    assert len(pieces) == 3
    assert [t.split(" ")[0] for t in told if "%" in t][-1] == "100"
    assert any("s left" in t and not t.startswith("100") for t in told)
    await expect(page.locator("h1 .badge")).to_have_text("published")
    await expect(page.locator(".stages li.done")).to_have_count(4)
    assert await flaws(page) == []
    await page.get_by_role("link", name=name).click()
    await page.get_by_role("button", name="Publish the mod").click()
    await expect(page.locator("h1 .badge")).to_have_text("published")
    where = await page.get_by_role("link", name="See its page").get_attribute("href")
    reader = await visit()
    await reader.goto(str(where))
    await expect(reader.get_by_role("heading", level=1)).to_have_text(name)
    await expect(reader.get_by_role("button", name="Download 1.0.0")).to_be_visible()
    await reader.get_by_role("link", name="Changes").click()
    await expect(reader.locator("em", has_text="begins")).to_be_visible()
    await reader.get_by_role("link", name="Contents").click()
    await expect(reader.get_by_role("cell", name="data/noise.bin")).to_be_visible()


async def test_a_creator_publishes_without_javascript(visit: Visit) -> None:
    page = await visit("carl", java_script_enabled=False)
    await begin_mod(page, fresh("Plain Form"))
    await fill_release(page, "0.1.0", "plain.zip", zip_bytes({"readme.txt": "plain"}))
    await page.get_by_role("button", name="Upload and publish").click()
    await expect(page.locator("h1 .badge")).to_have_text("published")
    await expect(page.get_by_text("plain.zip")).to_be_visible()


@pytest.mark.parametrize("script", [True, False])
async def test_a_refused_archive_shows_its_reason(visit: Visit, script: bool) -> None:
    page = await visit("carl", java_script_enabled=script)
    await begin_mod(page, fresh("Leaking Hull"))
    await fill_release(page, "1.0.0", "hull.zip", zip_bytes({"../../etc/cron.d/evil": "* * * * *"}))
    await page.get_by_role("button", name="Upload and publish").click()
    await expect(page.locator("h1 .badge")).to_have_text("refused")
    await expect(page.locator("p.note")).to_contain_text("..")
    await expect(page.locator(".stages li.refused")).to_have_count(1)
    assert not script or await flaws(page) == []


async def test_a_form_that_is_refused_keeps_the_upload_and_says_what_is_wrong_beside_the_field(visit: Visit) -> None:
    page = await visit("carl")
    await begin_mod(page, fresh("Twice Sent"))
    await page.get_by_label("It requires").fill("no-such-mod-anywhere")
    await fill_release(page, "one point oh", "twice.zip", zip_bytes({"a.txt": "a"}))
    await page.get_by_role("button", name="Upload and publish").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await expect(page.get_by_label("What changed")).to_have_value("It *begins*.")
    assert await flaws(page) == []
    await page.locator("#version").fill("1.0.0")
    await page.get_by_label("It requires").fill("")
    await page.get_by_role("button", name="Upload and publish").click()
    await expect(page.locator("h1 .badge")).to_have_text("published")


async def test_what_is_wrong_stands_beside_the_field(visit: Visit) -> None:
    page = await visit()
    await page.goto("/register")
    await page.get_by_label("Name").fill("no spaces please")
    await page.get_by_label("E-mail").fill("nowhere")
    await page.get_by_label("Password").fill("a needle that finds north")
    await page.locator("form[action='/register']").evaluate("(form) => { form.noValidate = true; }")
    await page.get_by_role("button", name="Make my account").click()
    wrong = page.locator("#name-wrong, #email-wrong")
    await expect(wrong.first).to_be_visible()
    field = page.locator("[aria-invalid=true]").first
    assert await field.get_attribute("aria-describedby") == await wrong.first.get_attribute("id")
    await expect(page.get_by_label("Name")).to_have_value("no spaces please")
    await expect(page.get_by_label("Password")).to_have_value("")
    assert await flaws(page) == []


async def test_a_creator_adds_a_picture_that_the_mods_page_and_its_card_show(visit: Visit, site: Site) -> None:
    page = await visit("carl")
    await begin_mod(page, fresh("Framed"))
    picture = await page.screenshot()
    await page.get_by_label("Caption").fill("What the test saw")
    await page.get_by_label("Picture", exact=True).set_input_files(
        {"name": "seen.png", "mimeType": "image/png", "buffer": picture}
    )
    await page.get_by_role("button", name="Add picture").click()
    shown = page.locator("#gallery img")
    await expect(shown).to_have_attribute("alt", "What the test saw")
    assert await shown.evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 1200
    await page.get_by_role("button", name="Publish the mod").click()
    await page.goto("/games/starfall?sort=new")
    card = page.locator("article", has_text="Framed").first
    await expect(card.locator("img.pic")).to_have_count(1)
    stranger = await visit("pia")
    await stranger.goto("/games/embervale")
    assert await stranger.locator("article img.pic").count() == 2


async def test_an_admin_sees_a_parked_job_and_retries_it(visit: Visit, site: Site, tmp_path: Path) -> None:
    mended = tmp_path / "mended"
    await site.park_a_job(mended)
    page = await visit("ada")
    await page.goto("/admin/jobs")
    job = page.locator("article", has_text="tests.stubborn")
    await expect(job).to_contain_text("the mill has no water")
    assert await flaws(page) == []
    mended.touch()
    await job.get_by_role("button", name="Try again").click()
    await site.until_no_job_is_stubborn()
    await page.goto("/admin/jobs")
    await expect(page.get_by_text("No parked jobs.")).to_be_visible()


async def test_a_stranger_opens_neither_anothers_mod_nor_the_admins_page(visit: Visit, site: Site) -> None:
    carl = await identity.log_in(site.platform, Credentials("carl", site.passwords["carl"]), agent="tests")
    draft = await authoring.make_mod(site.platform, carl.actor, "starfall", NewMod(name=fresh("Secret Hold")))
    expected = {"pia": (404, 403), "mona": (404, 403), None: (401, 401)}
    for name, statuses in expected.items():
        page = await visit(name)
        answers = [await page.goto(path) for path in (f"/create/mods/{draft.id}", "/admin/jobs")]
        assert tuple(answer.status for answer in answers if answer) == statuses, name
        await expect(page.get_by_text("Secret Hold")).to_have_count(0)


async def test_a_token_is_shown_once_and_can_be_revoked(visit: Visit) -> None:
    page = await visit("pia")
    await page.goto("/account")
    await page.get_by_role("button", name="Make the token").click()
    await page.locator("#new-token #name").fill("for the console")
    await page.get_by_label("Download in your name").check()
    await page.get_by_role("button", name="Make the token").click()
    await expect(page.get_by_role("status").locator("pre")).to_contain_text("lds_")
    assert await flaws(page) == []
    await page.goto("/account")
    await expect(page.locator("pre")).to_have_count(0)
    await page.get_by_role("button", name="Revoke").click()
    await expect(page.get_by_text("You have no tokens.")).to_be_visible()


async def test_words_of_strangers_run_nothing(visit: Visit, site: Site) -> None:
    page = await visit("carl")
    hostile = "<script>alert(1)</script>"
    await begin_mod(page, fresh(f"{hostile} Hull"))
    await page.get_by_label("Description").fill(
        f"{hostile}\n\n<img src=x onerror=alert(1)>\n\n[press](javascript:alert(1))\n\n![far](https://example.org/a.png)"
    )
    await page.get_by_role("button", name="Save").click()
    await page.get_by_role("link", name="See its page").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text(hostile)
    await expect(page.locator(".prose")).to_contain_text("<img src=x onerror=alert(1)>")
    await expect(page.locator(".prose img, .prose script, .prose a[href^=javascript]")).to_have_count(0)
    await expect(page.get_by_role("link", name="far")).to_have_attribute("href", "https://example.org/a.png")


def large_zip(octets: int) -> bytes:
    """A zip of about so many bytes that nothing makes smaller."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("data/noise.bin", os.urandom(octets))
    return buffer.getvalue()
