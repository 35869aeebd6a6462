"""Arrays as PNG pictures inside the page: samples, views, neighbours, and a matrix as a heat map."""

import base64
import io
import json

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from barlow.report.formats import number, text

Pixels = NDArray[np.uint8]

LARGEST_SIDE = 160
"""Pictures are shrunk to this: they are shown smaller, and the page stays light."""
TINY_SIDE = 64
"""Up to this side single pixels are shown as squares."""
POSITIVE, NEGATIVE = (30, 125, 210), (220, 105, 30)
"""Colours of the heat map, blue and orange, strong enough on white and on black."""


def png(picture: NDArray[np.generic]) -> str:
    """Return an array (H, W) or (H, W, C) as a `data:` URI; unless C is 3 or 4 the first channel is shown."""
    pixels = np.asarray(picture, dtype=np.uint8)
    if pixels.ndim == 3 and pixels.shape[2] not in (3, 4):
        pixels = pixels[:, :, 0]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def image_tag(picture: NDArray[np.generic], description: str) -> str:
    """Return an `<img>` with the picture inside."""
    height, width = picture.shape[:2]
    tiny = ' class="tiny"' if max(height, width) <= TINY_SIDE else ""
    return f'<img{tiny} src="{png(picture)}" width="{width}" height="{height}" alt="{text(description)}">'


def heat_map(title: str, matrix: NDArray[np.floating], *, unit: str) -> str:
    """Draw a square matrix with signed values: blue above 0, orange below, nothing at 0, in light and dark.

    The colours span the values off the diagonal, all but the most extreme 0.5%; what is beyond is full.

    Args:
        title: what the matrix is.
        matrix: (n, n).
        unit: what rows and columns are, for the hint under the pointer.
    """
    values = np.nan_to_num(np.asarray(matrix, dtype=np.float64))
    rows, columns = np.indices(values.shape)
    off_diagonal = np.abs(values[rows != columns])
    limit = max(float(np.quantile(off_diagonal, 0.995)) if off_diagonal.size else 1.0, 0.02)
    strength = np.clip(np.abs(values) / limit, 0.0, 1.0) * 255
    colors = np.where((values > 0)[..., None], POSITIVE, NEGATIVE)
    pixels = np.concatenate([colors, strength[..., None]], axis=2).round().astype(np.uint8)
    # (H, W) of whole hundredths: what the script shows under the pointer
    cells = json.dumps((100 * values).round().astype(int).tolist(), separators=(",", ":"))
    end = number(limit, 2)
    description = f"{title}: blue positive, orange negative"
    return (
        f'<figure class="chart"><figcaption>{text(title)}</figcaption>'
        f'<div class="heat"><img class="tiny" src="{png(pixels)}" alt="{text(description)}" '
        f'data-unit="{text(unit)}" data-cells="{cells}"></div>'
        f'<div class="ramp"><span>−{end}</span><i></i><span>+{end}</span></div></figure>'
    )
