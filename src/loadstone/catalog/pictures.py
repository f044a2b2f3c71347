"""A mod's gallery: pictures are made anew in a jail before anyone sees them."""

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator
from typing import Final

from loadstone.catalog import service, store, writes
from loadstone.catalog.authoring import mod_tags
from loadstone.catalog.models import BadImageError, Image, TooManyImagesError
from loadstone.catalog.picture_jail import HEADER
from loadstone.identity.models import Actor
from loadstone.kernel.errors import NotFoundError, TooLargeError, UnavailableError
from loadstone.kernel.ids import InvalidIdError, decode
from loadstone.kernel.platform import Platform

MOST_BYTES: Final = 12 << 20
MOST_IMAGES: Final = 30
_SECONDS: Final = 30
_AT_ONCE: Final = asyncio.Semaphore(2)


async def add(platform: Platform, actor: Actor, mod_id: int, data: bytes, caption: str) -> Image:
    """Append a picture to the gallery. Raises :class:`BadImageError`, :class:`TooManyImagesError`."""
    row = await service.edit_mod(platform, actor, mod_id)
    if len(data) > MOST_BYTES:
        raise TooLargeError(f"A picture may have {MOST_BYTES} bytes.")
    width, height, picture = await _make_anew(data)
    sha256, size = await platform.blobs.put_stream(_one(picture), hashlib.sha256(picture).hexdigest())
    id_ = platform.ids.new()
    async with platform.transaction() as tx:
        if not await writes.insert_image(
            tx, id_=id_, mod_id=mod_id, sha256=bytes.fromhex(sha256), size=size, width=width, height=height,
            caption=caption, most=MOST_IMAGES,
        ):  # fmt: skip
            raise TooManyImagesError(f"A gallery has at most {MOST_IMAGES} pictures; remove one first.")
        await tx.emit(
            "image.added", subject=id_, game=row.game_id, actor=actor.member, data={"mod": mod_id},
            tags=mod_tags(mod_id, row.game_slug),
        )  # fmt: skip
    return next(i for i in await service.images(platform, mod_id) if decode("image", i.id) == id_)


async def remove(platform: Platform, actor: Actor, mod_id: int, image: str) -> None:
    """Take a picture out of the gallery."""
    row = await service.edit_mod(platform, actor, mod_id)
    id_ = _number(image)
    async with platform.transaction() as tx:
        if not await writes.delete_image(tx, mod_id, id_):
            raise NotFoundError("The mod has no such picture.")
        await tx.emit(
            "image.removed", subject=id_, game=row.game_id, actor=actor.member, data={"mod": mod_id},
            tags=mod_tags(mod_id, row.game_slug),
        )  # fmt: skip


async def read(platform: Platform, actor: Actor, name: str) -> tuple[bytes, str, bool]:
    """A picture's WebP bytes, its SHA-256, and whether everyone may see it.

    The mod's visibility decides (law 3). Raises :class:`NotFoundError`.
    """
    row = await store.image(platform.db, _number(name.removesuffix(".webp")))
    if row is None:
        raise NotFoundError("There is no such picture.")
    mod = await service.see_mod(platform, actor, row["mod_id"])
    sha256 = row["sha256"].hex()
    data = b"".join([chunk async for chunk in platform.blobs.chunks(sha256)])
    return data, sha256, mod.mod.visibility == "published"


def _number(name: str) -> int:
    try:
        return decode("image", name)
    except InvalidIdError:
        raise NotFoundError("There is no such picture.") from None


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _make_anew(data: bytes) -> tuple[int, int, bytes]:
    if _AT_ONCE.locked():
        raise UnavailableError("Too many pictures are being made at this moment; try again shortly.")
    async with _AT_ONCE:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "loadstone.catalog.picture_jail", str(os.getpid()),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env={"PYTHONPATH": os.pathsep.join(sys.path)}, start_new_session=True,
        )  # fmt: skip
        try:
            made, _ = await asyncio.wait_for(process.communicate(data), _SECONDS)
        except TimeoutError:
            raise BadImageError("The picture took too long to read; save it as PNG or JPEG and try again.") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if process.returncode != 0 or len(made) <= HEADER.size:
        raise BadImageError
    width, height = HEADER.unpack_from(made)
    return width, height, made[HEADER.size :]
