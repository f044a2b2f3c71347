"""Makes a stranger's picture anew, in a jailed process: standard input → WebP on standard output.

What comes out is pixels and nothing else: no metadata, no second format hidden behind the first. Run as
``python -m loadstone.catalog.picture_jail PARENT``; dies of anything it does not like.
"""

import io
import os
import struct
import sys
from typing import Final

MOST_PIXELS: Final = 40_000_000
LONGEST_SIDE: Final = 1920
MEMORY: Final = 768 << 20
FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")
HEADER: Final = struct.Struct("!HH")
"""Width and height in pixels, before the WebP's bytes."""


def make_anew(data: bytes) -> tuple[int, int, bytes]:
    """Decode, turn upright, shrink to 1920 pixels, encode as WebP. Only the first frame of an animation."""
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
        if opened.width * opened.height > MOST_PIXELS:
            raise ValueError("too many pixels")
        opened.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
        has_alpha = opened.mode in {"RGBA", "LA", "PA"} or "transparency" in opened.info
        picture = ImageOps.exif_transpose(opened).convert("RGBA" if has_alpha else "RGB")
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=82, method=3)
    return picture.width, picture.height, out.getvalue()


def main(parent: int) -> int:
    from PIL import GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin  # noqa: F401 - before the jail

    from loadstone.archives.jail import put_on
    from loadstone.archives.model import Limits

    data = sys.stdin.buffer.read()
    make_anew(_smallest())  # loads the codecs, which the jail would not let it open
    put_on(None, parent, Limits(memory_bytes=MEMORY), 0)
    width, height, picture = make_anew(data)
    view = memoryview(HEADER.pack(width, height) + picture)
    while view:
        view = view[os.write(1, view[: 1 << 16]) :]
    return 0


def _smallest() -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (1, 1)).save(out, "PNG")
    return out.getvalue()


if __name__ == "__main__":
    try:
        status = main(int(sys.argv[1]))
    except BaseException:  # noqa: BLE001 - whatever it was, the picture is refused
        status = 1
    os._exit(status)
