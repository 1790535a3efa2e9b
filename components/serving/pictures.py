"""Pictures in requests: data URIs, checked before they are unpacked."""

import base64
import binascii
import io
from typing import Any

from components.serving.api_errors import ApiError

DATA = "data:image/"
MOST_PIXELS = 16 * 2**20
"""A larger picture is refused before it is unpacked."""


def picture(uri: str, param: str = "messages") -> Any:
    """The picture of a data URI, RGB. Raises ApiError (400) that names `param`."""
    from PIL import Image, UnidentifiedImageError

    head, comma, content = uri.partition(",")
    if not comma or not head.startswith(DATA) or not head.endswith(";base64"):
        raise ApiError(400, "An image is data:image/png;base64,... (or jpeg, webp).", param=param)
    try:
        image = Image.open(io.BytesIO(base64.b64decode(content, validate=True)))
        if image.width * image.height > MOST_PIXELS:
            raise ApiError(400, f"The image has {image.width} x {image.height} pixels: too large.", param=param)
        return image.convert("RGB")
    except (binascii.Error, UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise ApiError(400, "The image cannot be read: PNG, JPEG or WebP in base64 is expected.", param=param) from None
