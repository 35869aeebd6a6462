"""Pictures of shapes out of their factors: kind, position, scale, rotation, brightness and texture.

With q a place relative to the centre, turned by the rotation and divided by the scale, and d_kind(q) the distance to
the outline of the shape of area 1 (negative inside), a pixel of a picture of S x S is

    brightness (1 + texture wave(y)) clamp(1/2 - S scale d_kind(q), 0, 1).

The last factor is the share of the pixel that the shape covers. All kinds have the same area at the same scale, and
the wave has mean 0: the mean grey of a picture is about brightness scale^2 and says nothing of the kind.

Pixels come out of +, -, x, /, sqrt, floor, min and max, which IEEE 754 rounds in one way only, so a picture has the
same bits in a batch of any size and order.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

SIZE = 32
"""Side of a picture in pixels, unless told."""
COLUMNS = ("kind", "x", "y", "scale", "rotation", "brightness", "texture")
"""Columns of a factor vector."""

_STRIPES = 6
"""Waves of the texture per side: more than five pixels each at 32 x 32, far enough from aliasing."""

Distance = Callable[[Tensor, Tensor], Tensor]
"""(x, y) in roots of the shape's area -> distance to its outline, negative inside."""


def _disc(x: Tensor, y: Tensor) -> Tensor:
    return _radius(x, y) - 1 / math.sqrt(math.pi)


def _square(x: Tensor, y: Tensor) -> Tensor:
    return _box(x, y, 0.5, 0.5)


def _triangle(x: Tensor, y: Tensor) -> Tensor:
    slanted = x.abs() * math.sqrt(0.75) - y * 0.5
    return torch.maximum(slanted, y) - 3**-0.75


def _cross(x: Tensor, y: Tensor) -> Tensor:
    arm = 3 / math.sqrt(20)
    return torch.minimum(_box(x, y, arm, arm / 3), _box(x, y, arm / 3, arm))


def _ring(x: Tensor, y: Tensor) -> Tensor:
    hole = 0.55  # radius of the hole in radii of the ring
    radius = 1 / math.sqrt(math.pi * (1 - hole**2))
    return (_radius(x, y) - radius * (1 + hole) / 2).abs() - radius * (1 - hole) / 2


def _star(x: Tensor, y: Tensor) -> Tensor:
    """Five points: inside at least four of the five lines that bound it, so the second largest distance decides."""
    tan = math.tan(math.pi / 5)
    inner = 1 / math.sqrt(5 * (tan + tan**2 * math.tan(2 * math.pi / 5)))
    largest = second = torch.full_like(x, -math.inf)
    for turn in range(5):
        angle = 2 * math.pi * turn / 5 - math.pi / 2
        line = x * math.cos(angle) + y * math.sin(angle)
        second = torch.maximum(second, torch.minimum(largest, line))
        largest = torch.maximum(largest, line)
    return second - inner


def _bar(x: Tensor, y: Tensor) -> Tensor:
    return _box(x, y, math.sqrt(0.75), math.sqrt(0.75) / 3)


def _corner(x: Tensor, y: Tensor) -> Tensor:
    """A square without the four ninths of one of its corners."""
    side = 3 / math.sqrt(5)
    return torch.maximum(_box(x, y, side / 2, side / 2), torch.minimum(x, y) + side / 6)


def _radius(x: Tensor, y: Tensor) -> Tensor:
    return (x * x + y * y).sqrt()


def _box(x: Tensor, y: Tensor, half_width: float, half_height: float) -> Tensor:
    return torch.maximum(x.abs() - half_width, y.abs() - half_height)


KINDS: dict[str, Distance] = {
    "disc": _disc,
    "square": _square,
    "triangle": _triangle,
    "cross": _cross,
    "ring": _ring,
    "star": _star,
    "bar": _bar,
    "corner": _corner,
}
"""The classes; each has the area 1."""


@dataclass(frozen=True)
class ShapeFactors:
    """What N pictures show.

    Attributes:
        kind: (N,) positions in `KINDS`: the class.
        position: (N, 2) centre, x to the right, y down, in sides of the picture from its centre.
        scale: (N,) root of the area in sides.
        rotation: (N,) turns.
        brightness: (N,) mean grey of the shape.
        texture: (N,) depth of the stripes, 0 for none.
    """

    kind: Int64[Tensor, " n"]
    position: Float[Tensor, "n 2"]
    scale: Float[Tensor, " n"]
    rotation: Float[Tensor, " n"]
    brightness: Float[Tensor, " n"]
    texture: Float[Tensor, " n"]

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.kind)

    def as_vectors(self) -> Float[Tensor, "n 7"]:
        """Return one row per picture, with the columns `COLUMNS`."""
        rest = (self.scale, self.rotation, self.brightness, self.texture)
        return torch.stack([self.kind.to(self.scale.dtype), *self.position.unbind(1), *rest], dim=1)


def factors_of(vectors: Tensor) -> ShapeFactors:
    """Read factor vectors, on any device.

    Args:
        vectors: (N, 7) rows as `ShapeFactors.as_vectors` makes them.

    Returns:
        The factors.

    Raises:
        ValueError: a tensor of another shape or number format, or a kind that is not there.
    """
    if vectors.ndim != 2 or vectors.shape[1] != len(COLUMNS) or not vectors.is_floating_point():
        raise ValueError(
            f"vectors: got {vectors.dtype} of shape {tuple(vectors.shape)}, wanted (N, {len(COLUMNS)}) fractions: "
            f"{', '.join(COLUMNS)}, as the samples of ShapesSource.as_factors() are"
        )
    kind = vectors[:, 0].long()
    if len(kind) and not 0 <= int(kind.min()) <= int(kind.max()) < len(KINDS):
        raise ValueError(f"vectors: kinds from {int(kind.min())} to {int(kind.max())}, wanted 0 to {len(KINDS) - 1}")
    return ShapeFactors(kind, vectors[:, 1:3], *vectors[:, 3:].unbind(1))


def render(factors: ShapeFactors, size: int = SIZE) -> Float[Tensor, "n 1 s s"]:
    """Draw the pictures that factors describe, by the formula at the top of this file.

    Args:
        factors: of N pictures.
        size: S, side in pixels.

    Returns:
        (N, 1, S, S) float32 in [0, 1], black around the shape, on the device of the factors.

    Raises:
        ValueError: a size below 1.
    """
    if size < 1:
        raise ValueError(f"size: got {size}, wanted at least 1 pixel")
    device = factors.scale.device
    centres = (torch.arange(size, dtype=torch.float32, device=device) + 0.5) / size - 0.5
    x = centres[None, None, :] - factors.position[:, 0, None, None]
    y = centres[None, :, None] - factors.position[:, 1, None, None]
    # One by one: vectorised cosines may round otherwise at the end of a batch than inside it.
    angles = [2 * math.pi * turns for turns in factors.rotation.tolist()]
    cos, sin = (
        torch.tensor([function(angle) for angle in angles], dtype=torch.float32, device=device)[:, None, None]
        for function in (math.cos, math.sin)
    )
    scale = factors.scale[:, None, None]
    across, down = (x * cos + y * sin) / scale, (y * cos - x * sin) / scale
    distance = torch.empty_like(across)
    for number, of_kind in enumerate(KINDS.values()):
        rows = (factors.kind == number).nonzero()[:, 0]
        distance[rows] = of_kind(across[rows], down[rows])
    covered = (0.5 - distance * (scale * size)).clamp(0, 1)
    waves = y * _STRIPES
    wave = ((waves - waves.floor()) - 0.5).abs() * 4 - 1
    grey = factors.brightness[:, None, None] * (wave * factors.texture[:, None, None] + 1)
    return (grey * covered)[:, None]
