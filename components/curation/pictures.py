"""Images as files hold them: opened, looked at, and brought to one size on white."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

KINDS = (".png", ".jpg", ".jpeg", ".webp", ".svg")
MOST_PIXELS = 64 * 2**20
"""Of a file; a larger one is refused before it is unpacked."""
MOST_BYTES = 64 * 2**20


def opened(path: Path, size: int) -> "Image":
    """The image in `path` as RGB, size x size, the whole of it in the middle of white.

    Raises InputError with the reason where it is damaged or huge, or no image at all.
    """
    from PIL import Image, UnidentifiedImageError

    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"the file has {path.stat().st_size:,} bytes, more than {MOST_BYTES:,}")
    try:
        image: Image.Image = Image.open(io.BytesIO(_drawn(path, size)) if path.suffix.lower() == ".svg" else path)
        if image.width * image.height > MOST_PIXELS:
            raise InputError(f"the image has {image.width:,} x {image.height:,} pixels, more than {MOST_PIXELS:,}")
        image.load()
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"no image that can be read: {str(error).splitlines()[0][:120]}") from None
    image = image.convert("RGBA")
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    canvas = Image.new("RGBA", (size, size), "white")
    canvas.alpha_composite(image, ((size - image.width) // 2, (size - image.height) // 2))
    return canvas.convert("RGB")


def _drawn(path: Path, size: int) -> bytes:
    """An SVG as PNG, `size` wide. What it refers to outside itself is not fetched."""
    import resvg_py

    try:
        return bytes(resvg_py.svg_to_bytes(svg_string=path.read_text("utf-8"), width=size))
    except BaseException as error:  # the renderer's own panics are no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise InputError(f"no drawing that can be rendered: {str(error)[:120]}") from None


def as_png(image: "Image") -> bytes:
    """The image as PNG; the same bytes for the same pixels."""
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()
