"""Things that tests make often."""

import io
import zipfile
from typing import Any

import httpx
import msgspec

from loadstone.identity.models import Account, Actor, OpenedSession

PASSWORD = "a lodestone points north"


class Person(msgspec.Struct, frozen=True):
    """A member of a test, with a client that sends their token."""

    account: Account
    opened: OpenedSession
    token: str
    http: httpx.AsyncClient

    @property
    def actor(self) -> Actor:
        return self.opened.actor


def zip_bytes(files: dict[str, bytes | str]) -> bytes:
    """A plain zip with these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


async def make_game(admin: Person, slug: str = "starfall", **fields: Any) -> dict[str, Any]:
    """A game by the API."""
    body = {
        "slug": slug,
        "name": slug.title(),
        "builds": ["1.0", "1.1", "1.2"],
        "loaders": {"forge": "Forge", "fabric": "Fabric"},
        "categories": {"weapons": "Weapons", "weapons/swords": "Swords"},
    } | fields
    answer = await admin.http.post("/api/v1/games", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def make_mod(creator: Person, game: str = "starfall", **fields: Any) -> dict[str, Any]:
    """A published mod by the API."""
    body = {"name": "Sharper Swords", "visibility": "published"} | fields
    answer = await creator.http.post(f"/api/v1/games/{game}/mods", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())
