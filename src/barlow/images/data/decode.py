"""One image file becomes one uint8 tensor, upright, with the number of channels that was asked for."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from barlow.images.data.pixels import MAX_VALUE, ValueRange, WhiteLevels, range_of

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM")
"""Decoders that may be used. A closed list: Pillow also knows formats that start other programs (EPS).
The JPEGs of phones that hold several images (MPO) come through the decoder of JPEG."""
SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm",
))  # fmt: skip
"""Endings of file names that are taken for images, in lower case."""
DECODE_SIZE = 448
"""Default cap of the short side in pixels: twice 224, the largest side that a network sees by default. Random
crops of at least a quarter of the area then still have a pixel for each of the network's."""
GREY_MODES = frozenset(("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"))
"""Pillow's modes without colour."""


def read_image(
    path: str, channels: int, decode_size: int = DECODE_SIZE, white: WhiteLevels | None = None
) -> UInt8[Tensor, "c h w"]:
    """Decode the first frame of a file in one of `FORMATS`, whatever its name ends with.

    Errors of the decoder go on as they are.
    """
    try:
        with _opened(path) as image:
            # JPEG can be decoded at 1/2, 1/4 or 1/8 of its size, for a fraction of the time.
            image.draft("L" if channels == 1 else None, decoded_size(image.size, decode_size))
            return image_to_tensor(image, channels, decode_size, white)
    except UnidentifiedImageError as error:
        # Pillow's own message has the path only, which the reader of the error knows.
        empty = Path(path).stat().st_size == 0
        raise ValueError("the file is empty" if empty else "no image of a known format inside") from error


def read_range(path: str) -> ValueRange:
    """Return the range of the values in an image file as they are stored."""
    with _opened(path) as image:
        return range_of(np.asarray(image))


@contextmanager
def _opened(path: str) -> Iterator[Image.Image]:
    # Pillow warns of metadata it cannot read and of images over 89 megapixels; neither spoils the pixels,
    # and from 179 megapixels on it raises DecompressionBombError instead.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        with Image.open(path, formats=FORMATS) as image:
            yield image


def image_to_tensor(
    image: Image.Image, channels: int, decode_size: int = 0, white: WhiteLevels | None = None
) -> UInt8[Tensor, "c h w"]:
    """Convert a Pillow image of any mode to uint8, upright, its short side at most `decode_size` (0: no cap).

    Transparent pixels are laid on white: that is what most images with transparency (logos, drawings, cut-out products)
    are made for and shown on, and what lies in fully transparent pixels is arbitrary, often black. Grey of colour is
    ITU-R 601 luma; RGB of grey repeats it. `white` is that of grey with more than 8 bits, by default 65535, or 1 for
    floats. Modes and ranges of values without an 8-bit meaning are refused.
    """
    image = _to_mode(_upright(image), "L" if channels == 1 else "RGB", white or WhiteLevels())
    size = decoded_size(image.size, decode_size)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    pixels = torch.from_numpy(np.array(image))
    return pixels[None] if channels == 1 else pixels.permute(2, 0, 1).contiguous()


def decoded_size(size: tuple[int, int], decode_size: int) -> tuple[int, int]:
    """Return (width, height) shrunk so that the short side is at most `decode_size` (0: no cap); never enlarged."""
    short = min(size)
    if decode_size == 0 or short <= decode_size:
        return size
    return round(size[0] * decode_size / short), round(size[1] * decode_size / short)


def has_high_bit_depth(image: Image.Image) -> bool:
    """Return whether an image has one channel with more than 8 bits, integers or floats."""
    return image.mode.startswith("I") or image.mode == "F"


def loses_bits(image: Image.Image) -> bool:
    """Return whether an image that was opened and not yet read has 16 bits, of which Pillow keeps the upper 8."""
    return not has_high_bit_depth(image) and re.search(r";16[BLN]", str(getattr(image, "tile", ""))) is not None


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # first, so that broken pixels raise here and only metadata can fail below
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image  # metadata that cannot be read do not spoil the pixels; they may raise anything


def _to_mode(image: Image.Image, mode: str, white: WhiteLevels) -> Image.Image:
    if has_high_bit_depth(image):
        image = _to_8_bit(image, white)
    elif image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        background = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(background, image)
    elif image.mode == "LAB":
        image = image.convert("RGB")  # the only way out of it
    return image if image.mode == mode else image.convert(mode)


def _to_8_bit(image: Image.Image, white: WhiteLevels) -> Image.Image:
    values = np.asarray(image).astype(np.float64)
    low, high = float(values.min()), float(values.max())
    top, whitest = (white.floating, white.floating) if image.mode == "F" else (MAX_VALUE, white.integer)
    if not (low >= 0 and high <= top):
        raise ValueError(f"pixel values from {low:g} to {high:g}, wanted 0 to {top:g}")
    return Image.fromarray(np.rint(np.minimum(values * (255.0 / whitest), 255)).astype(np.uint8))
