"""Images for the tests, made on the spot."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[Any]


def noise(*shape: int, seed: int = 0) -> Pixels:
    """Return uint8 noise."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_image(path: Path, *, size: tuple[int, int] = (12, 10), seed: int = 0, grey: bool = False) -> Pixels:
    """Write uint8 noise of (width, height) to `path` and return its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if grey else (size[1], size[0], 3)
    pixels = noise(*shape, seed=seed)
    Image.fromarray(pixels).save(path)
    return pixels


def write_folder(root: Path, count: int, **options: Any) -> list[Pixels]:
    """Write `count` PNG files that differ and return their pixels in sorted order of their names."""
    return [write_image(root / f"{number:04d}.png", seed=number, **options) for number in range(count)]


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """Return a PNG file made by hand: Pillow writes neither 16-bit colour nor a false size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
