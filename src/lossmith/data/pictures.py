"""One image from its bytes, by Pillow: of a few formats that only hold pixels, and nothing of it is lost in silence."""

from __future__ import annotations

import logging
import re
import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lossmith.data.names import short, shown
from lossmith.errors import InputError, installing

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = NDArray[np.uint8]
# Formats of Pillow with the endings of their files. Others start programs (EPS), or are hardly ever images of samples.
FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}
GRAY = ("1", "L", "LA", "La")
COLOR = ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA", "CMYK", "YCbCr", "HSV")
ALPHA = ("LA", "La", "RGBA", "RGBa", "PA")
LEVELS = 65536
LONGEST_ERROR = 300
# About where Pillow warns of decompression bombs.
MOST_PIXELS = 2**26
_LOG = logging.getLogger("lossmith")


class Noticed:
    """What is not kept of some images, each kind told once."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, int]] = {}

    def add(self, kind: str, what: str) -> None:
        """Note that an image is of a kind, which is a clause for the message."""
        first, count = self._found.get(kind, (what, 0))
        self._found[kind] = first, count + 1

    def tell(self) -> None:
        """One warning of each kind, with the first image of it."""
        for kind, (first, count) in self._found.items():
            others = f" and {count - 1} more" * (count > 1)
            _LOG.warning("of %s%s, %s", first, others, kind)


def opened(content: bytes, what: str, noticed: Noticed) -> Image:
    """The image of a file's content, its first frame, upright as its EXIF orientation says.

    Args:
        content: Of a format of ``FORMATS``.
        what: The name by which the user knows it.
        noticed: What is not kept of it.

    Raises:
        InputError: If it is of another format, damaged, or implausibly large.
    """
    image_module, operations = library()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            image = image_module.open(BytesIO(content), formats=tuple(FORMATS))
            width, height = image.size
            _check_size(width, height, what)
            # Decoding empties the list of tiles.
            tiles = list(image.tile)
            image.load()
            deep = image.mode in ("RGB", "RGBA", "LA") and _is_deep(tiles)
            upright: Image = operations.exif_transpose(image)
            frames = image.format not in ("JPEG", "BMP", "PPM") and image.is_animated
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"{what} cannot be read as an image ({first_line(error)}): replace or remove it, or convert it to PNG"
            ) from error
    for kind in dict.fromkeys(first_line(warning.message) for warning in told):
        noticed.add(f"Pillow warns ({kind})", what)
    if frames:
        noticed.add("only the first frame is read", what)
    if deep:
        noticed.add("channels of 16 bits become 8 bits; give floating numbers in an .npz file to keep them", what)
    return upright


def _check_size(width: int, height: int, what: str) -> None:
    if width * height > MOST_PIXELS:
        raise InputError(f"{what} has {width} × {height} pixels, which no sample needs: make it smaller")


def plain(image: Image, what: str, noticed: Noticed) -> Image:
    """The image in mode L or RGB: greys stay grey, what is transparent is shown on white, all else becomes colour.

    Raises:
        InputError: If its white is not known, or its colours are of a kind that is not converted.
    """
    image_module, _ = library()
    if image.mode in ("I", "F"):
        kind = "whole" if image.mode == "I" else "floating"
        raise InputError(
            f"the pixels of {what} are {kind} numbers of 32 bits, of which none is known to be white: save it with 8 "
            "or 16 bits"
        )
    if image.mode.startswith("I;16"):
        if "transparency" in image.info:
            noticed.add("a transparent level of 16 bits is read as any other", what)
        levels = np.asarray(image).astype(np.uint32)
        gray: Image = image_module.fromarray(_eight_bits(levels, what, noticed))
        return gray
    if image.mode not in GRAY + COLOR:
        raise InputError(f"{what} has colours of mode {shown(image.mode)}, which are not converted: save it as RGB")
    if image.mode in ALPHA or "transparency" in image.info:
        seen = image.convert("RGBA")
        if seen.getchannel("A").getextrema() != (255, 255):
            noticed.add("what is transparent is shown on white", what)
            white = image_module.new("RGBA", seen.size, (255, 255, 255, 255))
            on_white: Image = image_module.alpha_composite(white, seen).convert("RGB")
            return on_white.convert("L") if image.mode in GRAY else on_white
    if image.mode in GRAY:
        return image.convert("L")
    # By way of RGBA, since Pillow warns of a palette with transparent entries that becomes RGB at once.
    return (image.convert("RGBA") if image.mode in ("P", "PA") else image).convert("RGB")


def first_line(error: object) -> str:
    """Type and first line of an error, without the addresses of objects in memory."""
    lines = re.sub(r" <[^<>]* at 0x\w*>", "", str(error)).strip().splitlines()
    said = f"{type(error).__name__}: {lines[0]}".rstrip(".") if lines else type(error).__name__
    return shown(short(said, LONGEST_ERROR))


def library() -> tuple[Any, Any]:
    """Pillow's modules ``Image`` and ``ImageOps``.

    Raises:
        InputError: If it is not installed, naming the extra that installs it.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise InputError(
            f"images are read by Pillow, which is not installed: {installing('hub')}; or give the data as an .npz file"
        ) from None
    return Image, ImageOps


def _eight_bits(levels: NDArray[np.uint32], what: str, noticed: Noticed) -> Pixels:
    """Levels 0…65535 as 0…255."""
    reduced: Pixels = ((levels * 255 + 32767) // 65535).astype(np.uint8)
    before, after = (np.count_nonzero(np.bincount(values.ravel(), minlength=LEVELS)) for values in (levels, reduced))
    if after < before:
        noticed.add("greys of 16 bits become 8 bits; give floating numbers in an .npz file to keep all levels", what)
    return reduced


def _is_deep(tiles: list[Any]) -> bool:
    """Whether channels have more than 8 bits in the file, which Pillow reads as 8."""
    parts = [part for tile in tiles for part in (tile[3] if isinstance(tile[3], tuple) else (tile[3],))]
    named = any(isinstance(part, str) and ";16" in part for part in parts)
    return named or any(
        tile[0].startswith("ppm") and isinstance(part, int) and part > 255 for tile in tiles for part in parts
    )
