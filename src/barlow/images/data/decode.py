"""One image file becomes one uint8 tensor, upright, with the number of channels that was asked for."""

import importlib
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from barlow.data.bad_samples import NOT_FINITE
from barlow.data.stored.contents import Content
from barlow.images.data.pixels import one_to_bytes
from barlow.images.data.white_level import MAX_VALUE, Spread, WhiteLevels, spread_of

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM")
"""Decoders that may be used. A closed list: Pillow also knows formats that start other programs (EPS).
The JPEGs of phones that hold several images (MPO) come through the decoder of JPEG."""
SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm",
))  # fmt: skip
"""Endings of file names that are taken for images, in lower case."""
JPEG_START, START_OF_SCAN = b"\xff\xd8\xff", b"\xff\xda"
PERHAPS_MORE = (b"Exif", b"http://ns.adobe.com/xap", b"MPF\0", b"Adobe")
"""What the header of a JPEG has in it that may have to be turned, holds several images, or has other colours."""
MANY_PIXELS = 10**7
DECODE_SIZE = 448
"""Default cap of the short side in pixels: twice 224, the largest side that a network sees by default. Random
crops of at least a quarter of the area then still have a pixel for each of the network's."""
GREY_MODES = frozenset(("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"))
"""Pillow's modes without colour."""
DEEP = WhiteLevels(integer=MAX_VALUE, floating=1.0)
"""White of a file that is read by itself."""


def read_image(
    content: Content, channels: int, decode_size: int = DECODE_SIZE, white: WhiteLevels | None = None
) -> UInt8[Tensor, "c h w"]:
    """Decode the first frame of a file in one of `FORMATS`, or of its bytes, whatever its name ends with.

    Errors of the decoder go on as they are, but for empty files, other files, and images over Pillow's limit.
    """
    data = _jpeg_bytes(content)
    if data and (pixels := _decoded_jpeg(data, channels, decode_size)) is not None:
        return pixels
    try:
        with opened(data or content) as image:
            # JPEG can be decoded at 1/2, 1/4 or 1/8 of its size, for a fraction of the time.
            image.draft("L" if channels == 1 else None, decoded_size(image.size, decode_size))
            return image_to_tensor(image, channels, decode_size, white)
    except UnidentifiedImageError as error:
        # Pillow's own message has the path only, which the reader of the error knows.
        empty = not content if isinstance(content, bytes) else Path(content).stat().st_size == 0
        raise ValueError("the file is empty" if empty else "no image of a known format inside") from error
    except Image.DecompressionBombError as error:
        size, limit = re.findall(r"\d+", str(error))[:2]
        raise ValueError(f"{size} pixels, wanted at most {limit}: Pillow decodes no larger ones") from error


def _jpeg_bytes(content: Content) -> bytes:
    """The whole of what begins like a JPEG; nothing of others, and nothing without the extra."""
    if _simplejpeg() is None:
        return b""
    if isinstance(content, bytes):
        return content if content.startswith(JPEG_START) else b""
    with Path(content).open("rb") as file:
        start = file.read(len(JPEG_START))
        return start + file.read() if start == JPEG_START else b""


def _decoded_jpeg(data: bytes, channels: int, decode_size: int) -> UInt8[Tensor, "c h w"] | None:
    """What Pillow's decoder gives, bit for bit, in half the time, where its pixels are wanted as they are stored.

    None where they are not (of another size, to be turned, in other colours, or perhaps: Pillow looks more closely),
    and where it fails.
    """
    module = _simplejpeg()
    header = data[: data.find(START_OF_SCAN)]
    if module is None or any(mark in header for mark in PERHAPS_MORE):
        return None
    try:
        height, width, colours, _ = module.decode_jpeg_header(data, strict=True)
        stored = colours == ("Gray" if channels == 1 else "YCbCr")
        if not stored or decoded_size((width, height), decode_size) != (width, height) or width * height > MANY_PIXELS:
            return None
        pixels = module.decode_jpeg(data, colorspace="GRAY" if channels == 1 else "RGB", strict=True)
    except ValueError:
        return None
    planes = pixels.reshape(-1, channels).T.copy()  # half as long as a transposed copy of three axes
    return torch.from_numpy(planes.reshape(channels, height, width))


@cache
def _simplejpeg() -> Any:
    """The module of the extra [jpeg]; None without it."""
    try:
        return importlib.import_module("simplejpeg")
    except ImportError:
        return None


def read_spread(content: Content) -> Spread | None:
    """Return how the values of an image file with more than 8 bits are spread, as they are stored; None of others."""
    with opened(content) as image:
        return spread_of_image(image) if has_high_bit_depth(image) else None


def spread_of_image(image: Image.Image) -> Spread:
    """Return the same of an image that is open."""
    values = np.asarray(image)[None]
    if not np.isfinite(values).all():
        raise ValueError(NOT_FINITE)
    return spread_of(values, counted=True)


@contextmanager
def opened(content: Content) -> Iterator[Image.Image]:
    """Open an image, whose pixels are read when they are asked for; only the decoders of `FORMATS` are tried."""
    # Pillow warns of metadata it cannot read and of images over 89 megapixels; neither spoils the pixels,
    # and from 179 megapixels on it raises DecompressionBombError instead.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        with Image.open(BytesIO(content) if isinstance(content, bytes) else content, formats=FORMATS) as image:
            yield image


def image_to_tensor(
    image: Image.Image, channels: int, decode_size: int = 0, white: WhiteLevels | None = None
) -> UInt8[Tensor, "c h w"]:
    """Convert a Pillow image of any mode to uint8, upright, its short side at most `decode_size` (0: no cap).

    Transparent pixels are laid on white: that is what most images with transparency (logos, drawings, cut-out products)
    are made for and shown on, and what lies in fully transparent pixels is arbitrary, often black. Grey of colour is
    ITU-R 601 luma; RGB of grey repeats it. `white` is that of grey with more than 8 bits, by default 65535, or 1 for
    floats; what is above it is clipped and counted. Modes and ranges of values without an 8-bit meaning are refused.
    """
    image = _to_mode(_upright(image), "L" if channels == 1 else "RGB", white or DEEP)
    size = decoded_size(image.size, decode_size)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    pixels = np.array(image)
    # NumPy copies turned axes in half of the time that torch takes.
    return torch.from_numpy(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1).copy())


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


def num_pages(image: Image.Image) -> int:
    """Return how many pages or frames an image that was opened has, from its headers; 1 where they cannot be read.

    The second picture in the JPEG of a phone (a preview, a map of depth) is no page.
    """
    if image.format == "MPO":
        return 1
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # broken headers of later pages take nothing from the first
        return 1


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
    values = np.asarray(image)
    return Image.fromarray(one_to_bytes(values, white))
