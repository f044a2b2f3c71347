"""Forms as programs send them: hostile, broken, across sites. The answer is a sentence, never a fault."""

import io
import re
import struct
import zlib
from collections.abc import AsyncIterator, Callable

import httpx
import msgspec
import pytest
import pytest_asyncio
from PIL import Image

from loadstone.catalog import authoring, service
from loadstone.catalog.models import NewMod
from loadstone.identity.models import Actor
from loadstone.identity.routes import cookie_name
from loadstone.kernel.ids import decode
from loadstone.kernel.platform import Platform
from tests.conftest import MakePerson
from tests.factories import PASSWORD, make_game, zip_bytes

BOUNDARY = "the-boundary"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


class Creator(msgspec.Struct, frozen=True):
    """A member in a browser, with a draft of their own."""

    http: httpx.AsyncClient
    actor: Actor
    csrf: str
    mod: str

    @property
    def releases(self) -> str:
        return f"/create/mods/{self.mod}/releases"

    @property
    def images(self) -> str:
        return f"/create/mods/{self.mod}/images"


@pytest_asyncio.fixture
async def creator(client: httpx.AsyncClient, person: MakePerson, platform: Platform) -> AsyncIterator[Creator]:
    await make_game(await person("boss", roles=("admin",)))
    ada = await person("ada")
    draft = await authoring.make_mod(platform, ada.actor, "starfall", NewMod(name="Hidden Reef"))
    client.cookies.set(cookie_name(platform.config), ada.opened.secret)
    client.headers["Accept"] = "text/html"
    page = await client.get("/account")
    csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert csrf
    yield Creator(client, ada.actor, csrf[1], draft.id)


def field(name: str, value: bytes, file_name: str = "") -> bytes:
    """One part of a multipart form."""
    named = f'; filename="{file_name}"' if file_name else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
    return head.encode() + value + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def form(creator: Creator, *parts: bytes) -> bytes:
    return field("csrf", creator.csrf.encode()) + b"".join(parts) + END


def sentence(answer: httpx.Response) -> str:
    """What the page says is wrong."""
    found = re.search(r'role="alert">(.*?)</p>', answer.text) or re.search(r"<h1>(.*?)</h1>", answer.text)
    assert found, answer.text[:500]
    return found[1]


async def count(platform: Platform, table: str) -> int:
    return int(await platform.db.fetchval(f"select count(*) from {table}"))


async def test_a_form_with_a_file_makes_a_release(creator: Creator, platform: Platform) -> None:
    archive = field("file", zip_bytes({"a.txt": "a"}), "C:\\fake\\a.zip")
    answer = await creator.http.post(
        creator.releases, content=form(creator, field("version", b"1.0"), archive), headers=FORM
    )
    assert answer.status_code == 303
    page = await creator.http.get(answer.headers["location"])
    assert "a.zip" in page.text
    assert "fake" not in page.text
    assert list((platform.config.data / "tmp").glob("form-*")) == []


HOSTILE = {
    "no boundary": ({"Content-Type": "multipart/form-data"}, b"x", 415),
    "no form at all": ({"Content-Type": "application/json"}, b"{}", 415),
    "an endless boundary": ({"Content-Type": f"multipart/form-data; boundary={'b' * 5000}"}, b"x", 400),
    "another boundary": (FORM, b"--other\r\n\r\nx\r\n--other--\r\n", 400),
    "empty": (FORM, b"", 400),
    "truncated in a head": (FORM, b"{csrf}--" + BOUNDARY.encode() + b"\r\nContent-Dis", 400),
    "truncated in a file": (FORM, b"{csrf}" + field("file", b"x" * 70_000, "a.zip")[:-40_000], 400),
    "truncated before its end": (FORM, b"{csrf}" + field("version", b"1.0"), 400),
    "a field of a megabyte": (FORM, b"{csrf}" + field("changelog", b"x" * (1 << 20)) + END, 413),
    "a thousand parts": (FORM, b"{csrf}" + b"".join(field(f"f{i}", b"x") for i in range(1000)) + END, 400),
    "a head of a megabyte": (FORM, b"{csrf}" + field("x" * (1 << 20), b"x") + END, 400),
    "a part without a name": (FORM, b"{csrf}--" + BOUNDARY.encode() + b"\r\nX-A: b\r\n\r\nx\r\n" + END, 400),
    "the file before the token": (FORM, field("file", b"x" * 1000, "a.zip") + b"{csrf}" + END, 403),
    "no token": (FORM, field("version", b"1.0") + field("file", b"x", "a.zip") + END, 403),
    "another's token": (FORM, field("csrf", b"0" * 64) + field("file", b"x", "a.zip") + END, 403),
    "no file": (FORM, b"{csrf}" + field("version", b"1.0") + END, 400),
    "an empty file": (FORM, b"{csrf}" + field("version", b"1.0") + field("file", b"", "a.zip") + END, 400),
    "a name that is not UTF-8": (FORM, b"{csrf}" + field("version", b"\xff\xfe") + field("file", b"x", "a") + END, 400),
    "a broken file name": (FORM, b"{csrf}" + field("file", b"x", "a").replace(b'"a"', b'"\xff"') + END, 400),
    "a NUL in a file name": (FORM, b"{csrf}" + field("file", b"x", "a\0.zip") + END, 400),
    "a NUL in a field": (FORM, b"{csrf}" + field("version", b"1\x000") + field("file", b"x", "a.zip") + END, 400),
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_a_hostile_form_with_a_file_is_refused_with_a_sentence_and_leaves_nothing(
    creator: Creator, platform: Platform, what: str
) -> None:
    headers, body, status = HOSTILE[what]
    body = body.replace(b"{csrf}", field("csrf", creator.csrf.encode()))
    answer = await creator.http.post(creator.releases, content=body, headers=headers)
    assert answer.status_code == status, answer.text[:2000]
    assert len(sentence(answer)) > 20
    assert await count(platform, "releases") == 0
    assert list((platform.config.data / "tmp").glob("form-*")) == []


async def test_a_file_over_the_limit_is_refused_while_it_arrives(creator: Creator, platform: Platform) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield field("csrf", creator.csrf.encode()) + field("picture", b"", "a.png")[:-2]
        for _ in range(64):
            yield b"x" * (1 << 20)

    answer = await creator.http.post(creator.images, content=endless(), headers=FORM)
    assert answer.status_code == 413
    assert "A file here may have" in answer.text
    assert list((platform.config.data / "tmp").glob("form-*")) == []


def png(width: int, height: int) -> bytes:
    """A PNG of so many black pixels, with few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes((width // 8 + 1) * height), 9)
    head = struct.pack("!IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def small_picture(kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 36), "teal").save(out, kind)
    return out.getvalue()


PICTURES: dict[str, Callable[[], bytes]] = {
    "a bomb of pixels": lambda: png(30_000, 30_000),
    "an SVG": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "half a picture": lambda: small_picture()[:60],
    "no picture": lambda: b"MZ\x90\x00" + bytes(2000),
    "a page": lambda: b"<!doctype html><script>alert(1)</script>",
    "a kind that is not taken": lambda: small_picture("TIFF"),
}


@pytest.mark.parametrize("what", PICTURES)
async def test_a_bad_picture_is_refused_with_a_sentence(creator: Creator, platform: Platform, what: str) -> None:
    body = form(creator, field("picture", PICTURES[what](), "a.png"))
    answer = await creator.http.post(creator.images, content=body, headers=FORM)
    assert answer.status_code in {400, 422}
    assert "save it anew" in sentence(answer)
    assert await count(platform, "mod_images") == 0


async def test_pictures_of_a_draft_are_for_its_team_alone(
    creator: Creator, platform: Platform, person: MakePerson, app: object
) -> None:
    body = form(creator, field("caption", b"at dusk"), field("picture", small_picture(), "a.png"))
    answer = await creator.http.post(creator.images, content=body, headers=FORM)
    assert answer.status_code == 303
    mod_id = decode("mod", creator.mod)
    url = (await service.images(platform, mod_id))[0].url
    own = await creator.http.get(url)
    assert own.status_code == 200
    assert own.content[8:12] == b"WEBP"
    assert "public" not in own.headers["cache-control"]
    stranger = await person("pia")
    assert (await stranger.http.get(url)).status_code == 404
    mod = await service.see_mod(platform, creator.actor, mod_id)
    assert (await service.first_images(platform, [mod.mod]))[creator.mod].url == url


@pytest.mark.parametrize(
    ("wanted", "goes"),
    [
        ("/account", "/account"),
        ("/search?q=a%26b", "/search?q=a%26b"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example/", "/"),
        ("/\t/evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nSet-Cookie: b=c", "/"),
        ("", "/"),
    ],
)
async def test_logging_in_leads_to_a_page_of_this_site_and_nowhere_else(
    client: httpx.AsyncClient, person: MakePerson, wanted: str, goes: str
) -> None:
    await person("ada")
    answer = await client.post("/login", params={"next": wanted}, data={"login": "ada", "password": PASSWORD})
    assert answer.status_code == 303
    assert answer.headers["location"] == goes


async def test_a_form_from_another_site_is_refused(creator: Creator) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        data = {"csrf": creator.csrf, "name": "taken over"}
        answer = await creator.http.post(f"/create/mods/{creator.mod}", data=data, headers=headers)
        assert answer.status_code == 403
    without = await creator.http.post(f"/create/mods/{creator.mod}", data={"name": "taken over"})
    assert without.status_code == 403
    assert "taken over" not in (await creator.http.get(f"/create/mods/{creator.mod}")).text


async def test_a_form_of_too_many_fields_or_broken_text_is_refused(client: httpx.AsyncClient) -> None:
    kind = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
    for body in ("&".join(f"f{i}=x" for i in range(300)), "login=%ff&password=x", "login=a%00b&password=x"):
        answer = await client.post("/login", content=body, headers=kind)
        assert answer.status_code == 400, body[:50]
        assert sentence(answer)


async def test_two_editors_do_not_overwrite_each_other(creator: Creator) -> None:
    place = f"/create/mods/{creator.mod}"
    etag = re.search(r'name="etag" value="([^"]+)"', (await creator.http.get(place)).text)
    assert etag
    data = {"csrf": creator.csrf, "etag": etag[1].replace("&#34;", '"')}
    first = await creator.http.post(place, data=data | {"name": "First Reef"})
    second = await creator.http.post(place, data=data | {"name": "Second Reef"})
    assert first.status_code == 303
    assert second.status_code == 412
    assert "Second Reef" in second.text
    assert sentence(second)
