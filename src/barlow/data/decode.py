"""One picture file becomes one uint8 tensor, upright, with the number of channels that was asked for."""

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

from barlow.data.bit_depth import LARGEST, ValueRange, WhiteLevels, range_of

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM")
"""Decoders that may be used. A closed list: Pillow also knows formats that start other programs (EPS).
The several-pictures JPEGs of phones (MPO) come through the decoder of JPEG."""

SUFFIXES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".bmp",
        ".dib",
        ".gif",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
    )
)
"""Endings of file names that are taken for pictures, in lower case."""

DECODE_SIZE = 448
"""Default cap of the short side in pixels: twice 224, the largest side that a network sees by default. Random
crops of at least a quarter of the area then still have a pixel for each of the network's."""

GREY_MODES = frozenset(("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"))
"""Pillow's modes without colour."""


def capped(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Return `size` shrunk so that its short side is at most `short_side`; never enlarged.

    Args:
        size: (width, height) in pixels.
        short_side: cap in pixels; 0 for no cap.

    Returns:
        (width, height) with the same aspect ratio to a pixel.
    """
    short = min(size)
    if short_side == 0 or short <= short_side:
        return size
    return round(size[0] * short_side / short), round(size[1] * short_side / short)


def is_deep(image: Image.Image) -> bool:
    """Return whether a picture has one channel with more than 8 bits, whole numbers or fractions."""
    return image.mode.startswith("I") or image.mode == "F"


def loses_bits(image: Image.Image) -> bool:
    """Return whether a picture that was opened and not yet read has 16 bits, of which Pillow keeps the upper 8."""
    return not is_deep(image) and re.search(r";16[BLN]", str(getattr(image, "tile", ""))) is not None


def read_range(path: str) -> ValueRange:
    """Return the range of the values in a picture as they are stored.

    Args:
        path: file in one of `FORMATS`.

    Raises:
        Exception: whatever the decoder makes of a broken file.
    """
    with _opened(path) as image:
        return range_of(np.asarray(image))


def read_picture(
    path: str, channels: int, decode_size: int = DECODE_SIZE, white: WhiteLevels | None = None
) -> UInt8[Tensor, "c h w"]:
    """Decode one file.

    Args:
        path: file in one of `FORMATS`, whatever its name ends with.
        channels: 1 (grey) or 3 (RGB).
        decode_size: cap of the short side in pixels; 0 for no cap.
        white: of pictures with more than 8 bits; default: 65535, or 1 for fractions.

    Returns:
        The first frame, upright.

    Raises:
        Exception: whatever the decoder makes of a broken file.
    """
    try:
        with _opened(path) as image:
            # JPEG can be decoded at 1/2, 1/4 or 1/8 of its size, for a fraction of the time.
            image.draft("L" if channels == 1 else None, capped(image.size, decode_size))
            return picture_to_tensor(image, channels, decode_size, white)
    except UnidentifiedImageError as error:
        # Pillow's own message has the path only, which the reader of the error knows.
        empty = Path(path).stat().st_size == 0
        raise ValueError("the file is empty" if empty else "no picture of a known format inside") from error


@contextmanager
def _opened(path: str) -> Iterator[Image.Image]:
    # Pillow warns of metadata it cannot read and of pictures over 89 megapixels; neither spoils the pixels,
    # and from 179 megapixels on it raises DecompressionBombError instead.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        with Image.open(path, formats=FORMATS) as image:
            yield image


def picture_to_tensor(
    image: Image.Image, channels: int, decode_size: int = 0, white: WhiteLevels | None = None
) -> UInt8[Tensor, "c h w"]:
    """Bring a Pillow image of any mode to uint8 with 1 or 3 channels, upright, its short side capped.

    Transparent pixels are laid on white: that is what most pictures with transparency (logos, drawings,
    cut-out products) are made for and shown on, and what lies in fully transparent pixels is arbitrary, often
    black. Grey with more than 8 bits is scaled so that `white` becomes 255, the same for all pictures of a
    source: per-picture stretching would destroy the brightness relations between them.

    Args:
        image: first frame is used.
        channels: 1 (grey, ITU-R 601 luma of coloured pictures) or 3 (RGB, grey repeated).
        decode_size: cap of the short side in pixels; 0 for no cap.
        white: of pictures with more than 8 bits; default: 65535, or 1 for fractions.

    Returns:
        The pixels.

    Raises:
        ValueError: a mode or a range of values that has no 8-bit meaning.
    """
    image = _to_mode(_upright(image), "L" if channels == 1 else "RGB", white or WhiteLevels())
    size = capped(image.size, decode_size)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    pixels = torch.from_numpy(np.array(image))
    return pixels[None] if channels == 1 else pixels.permute(2, 0, 1).contiguous()


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # first, so that broken pixels raise here and only metadata can fail below
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image  # metadata that cannot be read do not spoil the picture; they may raise anything


def _to_mode(image: Image.Image, mode: str, white: WhiteLevels) -> Image.Image:
    if is_deep(image):
        image = _to_8_bit(image, white)
    elif image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        background = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(background, image)
    elif image.mode == "LAB":
        image = image.convert("RGB")  # the only way out of it
    return image if image.mode == mode else image.convert(mode)


def _to_8_bit(image: Image.Image, white: WhiteLevels) -> Image.Image:
    """Scale deep grey; whole numbers above their white are as bright as it is."""
    values = np.asarray(image).astype(np.float64)
    low, high = float(values.min()), float(values.max())
    top, whitest = (white.fraction, white.fraction) if image.mode == "F" else (LARGEST, white.whole)
    if not (low >= 0 and high <= top):
        raise ValueError(f"pixel values from {low:g} to {high:g}, wanted 0 to {top:g}")
    return Image.fromarray(np.rint(np.minimum(values * (255.0 / whitest), 255)).astype(np.uint8))
