"""A folder of small pictures with masks: bright discs on noise."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_discs(folder: Path, number: int, *, side: int = 32, classes: int = 2, seed: int = 0) -> Path:
    """Write images/ and masks/ of discs in a folder; with three classes large ones are the third."""
    generator = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:side, : side + 4]
    for place in range(number):
        image, mask = generator.normal(70, 15, y.shape), np.zeros(y.shape, np.uint8)
        for _ in range(3):
            row, column, radius = generator.integers(4, side - 4), generator.integers(4, side), generator.integers(2, 7)
            inside = (y - row) ** 2 + (x - column) ** 2 <= radius**2
            kind = 1 + int(classes > 2 and radius > 4)
            mask[inside], image[inside] = kind, generator.normal(150 + 40 * kind, 10, int(inside.sum()))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / "images" / f"p{place:02}.png")
        Image.fromarray(mask * (255 if classes == 2 else 10)).save(folder / "masks" / f"p{place:02}.png")
    return folder
