"""A dataset of known truth: shapes with independent factors, so that an audit is held to the truth, not to itself.

One grey image shows one shape; its kind is the class. Position, scale, rotation, brightness and texture are drawn
uniformly and independently of the kind and of each other. Sample i of seed s is a function of (s, i) alone.

With q a place relative to the centre, turned by the rotation and divided by the scale, and d_kind(q) the distance to
the outline of the shape of area 1 (negative inside), a pixel of an image of S x S is

    brightness (1 + texture wave(y)) clamp(1/2 - S scale d_kind(q), 0, 1).

The last factor is the share of the pixel that the shape covers. All kinds have the same area at the same scale, and
the wave has mean 0: the mean grey of an image is about brightness scale^2 and says nothing of the kind. Pixels come
out of +, -, x, /, sqrt, floor, min and max, which IEEE 754 rounds in one way only, so an image has the same bits in a
batch of any size and order.

`ShapeViews` makes views by redrawing nuisances and rendering again. Two views of a sample then share what was not
redrawn and nothing else: with all nuisances redrawn, the kind. Of features that are the factors themselves, the
intraclass correlation is therefore 1 for the kind and 0 for each nuisance that is redrawn.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from barlow.data.arrays import ArraySource
from barlow.data.labels import LabelChoice, Labels, choose_labels
from barlow.data.order import batches_of
from barlow.errors import unknown
from barlow.images.data.options import LoadOptions
from barlow.images.data.pixels import with_channels
from barlow.seams import Batch, Params, Views

RANGES: dict[str, tuple[float, float]] = {
    "position": (-0.12, 0.12),
    "scale": (0.25, 0.40),
    "rotation": (0.0, 1.0),
    "brightness": (0.25, 0.50),
    "texture": (0.0, 1.0),
}
"""Nuisances, each uniform: position (both axes) in sides of the image from its centre, scale (root of the area) in
sides, rotation in turns, brightness (mean grey of the shape) and texture (depth of its stripes) as shares. The largest
shape at the outermost place still lies within the image, and the brightest stripe is white."""
NUISANCES = tuple(RANGES)
COLUMNS = ("kind", "x", "y", "scale", "rotation", "brightness", "texture")
"""Columns of a factor vector."""
NUM_TRAIN, NUM_TEST = 10_000, 2_000
TRAIN_SEED, TEST_SEED = 0, 1
SIZE = 32
"""Side of an image in pixels, unless told."""
MEAN, STD = 0.0407, 0.1205
"""Mean and standard deviation of the pixels over the distribution; a test measures them."""

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
    """What N images show.

    Attributes:
        kind: (N,) positions in `KINDS`: the class.
        position: (N, 2) centre, x to the right, y down, in sides of the image from its centre.
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
        """Return the number of images."""
        return len(self.kind)

    def as_vectors(self) -> Float[Tensor, "n 7"]:
        """Return one row per image, with the columns `COLUMNS`."""
        rest = (self.scale, self.rotation, self.brightness, self.texture)
        return torch.stack([self.kind.to(self.scale.dtype), *self.position.unbind(1), *rest], dim=1)


def drawn_factors(indices: Sequence[int], seed: int = TRAIN_SEED) -> ShapeFactors:
    """Draw the factors of the samples at `indices`, each a function of (seed, i), i >= 0."""
    uniform = _uniform(np.asarray(indices, dtype=np.uint64), seed)
    low, high = np.array([RANGES["position" if name in ("x", "y") else name] for name in COLUMNS[1:]]).T
    kind = np.floor(uniform[:, :1] * len(KINDS))
    return factors_of(torch.from_numpy(np.hstack([kind, low + (high - low) * uniform[:, 1:]]).astype(np.float32)))


def _uniform(indices: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.float64]:
    """Return one row of numbers in [0, 1) per index: SplitMix64 (Steele et al. 2014) at counters of their own."""
    start = _mixed(np.array([seed % 2**64], dtype=np.uint64))
    counter = indices[:, None] * np.uint64(len(COLUMNS)) + np.arange(len(COLUMNS), dtype=np.uint64)
    bits = _mixed(start + counter * np.uint64(0x9E3779B97F4A7C15))
    return np.asarray((bits >> np.uint64(11)) * 2.0**-53)


def _mixed(bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(bits ^ (bits >> np.uint64(31)))


def factors_of(vectors: Tensor) -> ShapeFactors:
    """Read (N, 7) rows as `ShapeFactors.as_vectors` makes them, on any device; anything else is refused."""
    if vectors.ndim != 2 or vectors.shape[1] != len(COLUMNS) or not vectors.is_floating_point():
        raise ValueError(
            f"vectors: got {vectors.dtype} of shape {tuple(vectors.shape)}, wanted (N, {len(COLUMNS)}) floats: "
            f"{', '.join(COLUMNS)}, as the samples of ShapesSource.as_factors() are"
        )
    kind = vectors[:, 0].long()
    if len(kind) and not 0 <= int(kind.min()) <= int(kind.max()) < len(KINDS):
        raise ValueError(f"vectors: kinds from {int(kind.min())} to {int(kind.max())}, wanted 0 to {len(KINDS) - 1}")
    return ShapeFactors(kind, vectors[:, 1:3], *vectors[:, 3:].unbind(1))


def render(factors: ShapeFactors, size: int = SIZE) -> Float[Tensor, "n 1 s s"]:
    """Draw images of `size` pixels by the formula above, in [0, 1], black around the shape, on the factors' device."""
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


class ShapesSource:
    """A `Source` of images of shapes, rendered when they are asked for; only the labels are in memory.

    Attributes:
        name: "shapes".
        labels: (len,) int64 kinds, or None.
        class_names: the kinds.
        bad: always empty.
    """

    def __init__(
        self,
        num_samples: int = NUM_TRAIN,
        *,
        seed: int = TRAIN_SEED,
        size: int = SIZE,
        channels: int = 1,
        labels: LabelChoice = "auto",
    ) -> None:
        """Describe the set; nothing is rendered.

        Args:
            num_samples: length of the source.
            seed: another one gives other samples of the same distribution.
            size: side of the images in pixels.
            channels: 1, or 3 equal ones; 0 is 1.
            labels: as for `load_source`.

        Raises:
            ValueError: fewer than 1 sample or pixel, another number of channels, or labels that do not fit.
        """
        for argument, value in (("num_samples", num_samples), ("size", size)):
            if value < 1:
                raise ValueError(f"{argument}: got {value}, wanted at least 1")
        if channels not in (0, 1, 3):
            raise ValueError(f"channels: got {channels}, wanted 1 (grey) or 3 (RGB)")
        self.name = "shapes"
        self.seed, self.size, self.channels = seed, size, channels
        self._num_samples = num_samples
        chosen = choose_labels(labels, Labels(self.factors.kind, tuple(KINDS)), "", num_samples)
        self.labels = chosen.values
        self.class_names: Sequence[str] = chosen.class_names
        self.bad: dict[int, str] = {}

    @property
    def factors(self) -> ShapeFactors:
        """The factors of every sample, drawn when asked for."""
        return drawn_factors(range(self._num_samples), self.seed)

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._num_samples

    def describe(self, index: int) -> str:
        """Return the factors of sample `index` in words."""
        kind, x, y, *rest = drawn_factors([index], self.seed).as_vectors()[0].tolist()
        named = ", ".join(f"{name} {value:.2f}" for name, value in zip(COLUMNS[3:], rest, strict=True))
        return f"sample {index}: {list(KINDS)[int(kind)]} at ({x:+.2f}, {y:+.2f}), {named}"

    def batches(self, order: Sequence[int], batch_size: int) -> Iterator[Batch]:
        """Yield the images of `order` in that order.

        Args:
            order: positions, in any order.
            batch_size: positions per batch.

        Returns:
            An iterator over batches of (N, C, S, S) uint8.

        Raises:
            ValueError: a batch size below 1, or a position outside the source.
        """
        return map(self._batch, batches_of(order, batch_size, len(self)))

    def _batch(self, positions: list[int]) -> Batch:
        grey = render(drawn_factors(positions, self.seed), self.size)
        images = (grey * 255).round().to(torch.uint8)
        return Batch(with_channels(images, self.channels), torch.tensor(positions, dtype=torch.int64))

    def as_factors(self) -> ArraySource:
        """Return the same samples as (N, 7) factor vectors, which `shape_views` renders."""
        vectors = self.factors.as_vectors()
        labels = Labels(self.labels, tuple(self.class_names))
        return ArraySource(vectors, name=self.name, labels=labels, describe=self.describe)


def shapes(options: LoadOptions) -> ShapesSource:
    """Make the source of the name "shapes": its two splits are two seeds."""
    num_samples, seed = (NUM_TRAIN, TRAIN_SEED) if options.split == "train" else (NUM_TEST, TEST_SEED)
    return ShapesSource(num_samples, seed=seed, channels=options.channels, labels=options.labels)


@dataclass(frozen=True)
class ShapeViews:
    """A `View` of factor vectors that redraws nuisances and renders normalised images.

    Attributes:
        redraw: names of the nuisances that are redrawn; the others stay those of the sample.
    """

    redraw: tuple[str, ...] = NUISANCES
    size: int = SIZE

    def __post_init__(self) -> None:
        for name in self.redraw:
            if name not in NUISANCES:
                raise unknown("redraw", name, NUISANCES)

    def sample(self, batch: Tensor, generator: torch.Generator) -> Params:
        """Draw the nuisances of one view of each sample, each from a generator of its own, on the CPU.

        By nuisance in `redraw`: {"value": (N,)}, or (N, 2) for the position.
        """
        seeds = torch.randint(2**63 - 1, (len(NUISANCES),), generator=generator).tolist()
        drawn = {}
        for seed, (name, (low, high)) in zip(seeds, RANGES.items(), strict=True):
            if name in self.redraw:
                shape = (len(batch), 2) if name == "position" else (len(batch),)
                uniform = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
                drawn[name] = {"value": (low + (high - low) * uniform).to(batch.device)}
        return drawn

    def apply(self, batch: Tensor, params: Params) -> Float[Tensor, "n 1 s s"]:
        """Render (N, 7) vectors with the factors in `params` in place of their own, and normalise.

        `params` are as `sample` returns them, whole, or with nuisances replaced or left out.
        """
        values = {name: drawn["value"] for name, drawn in params.items()}
        with torch.no_grad(), torch.autocast(batch.device.type, enabled=False):
            return (render(replace(factors_of(batch), **values), self.size) - MEAN) / STD


def shape_views(redraw: Sequence[str] = NUISANCES, size: int = SIZE) -> Views:
    """Return two exchangeable views of factor vectors, and the plain one that renders a sample as it is.

    Args:
        redraw: names of the nuisances in which the views of a sample differ.
        size: side of the views in pixels.

    Raises:
        ValueError: a nuisance that is not there.
    """
    view = ShapeViews(tuple(redraw), size)
    return Views((view, view), plain=partial(view.apply, params={}))
