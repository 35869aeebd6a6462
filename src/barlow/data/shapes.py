"""A data set of known truth: shapes with independent factors, so that an audit is held to the truth, not to itself.

One grey picture shows one shape; its kind is the class. Position, scale, rotation, brightness and texture are drawn
uniformly and independently of the kind and of each other. Sample i of seed s is a function of (s, i) alone.

`ShapeViews` makes views by drawing nuisances anew and rendering again. Two views of a sample then share what was not
drawn anew and nothing else: with all nuisances, the kind. Of features that are the factors themselves, the
intraclass correlation is therefore 1 for the kind and 0 for each nuisance that is drawn anew.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from barlow.data.arrays import ArraySource
from barlow.data.labels import LabelChoice, Labels, choose_labels
from barlow.data.named import Request
from barlow.data.order import batches_of
from barlow.data.pixels import with_channels
from barlow.data.shape_pictures import COLUMNS, KINDS, SIZE, ShapeFactors, factors_of, render
from barlow.data.source import Batch
from barlow.views.views import Params, Views

RANGES: dict[str, tuple[float, float]] = {
    "position": (-0.12, 0.12),
    "scale": (0.25, 0.40),
    "rotation": (0.0, 1.0),
    "brightness": (0.25, 0.50),
    "texture": (0.0, 1.0),
}
"""Nuisances, each uniform: position (both axes) in sides of the picture from its centre, scale (root of the area) in
sides, rotation in turns, brightness (mean grey of the shape) and texture (depth of its stripes) as shares. The largest
shape at the outermost place still lies within the picture, and the brightest stripe is white."""

NUISANCES = tuple(RANGES)
NUM_TRAIN, NUM_TEST = 10_000, 2_000
TRAIN_SEED, TEST_SEED = 0, 1
MEAN, STD = 0.0407, 0.1205
"""Mean and standard deviation of the pixels over the distribution; a test measures them."""


def drawn_factors(indices: Sequence[int], seed: int = TRAIN_SEED) -> ShapeFactors:
    """Draw the factors of samples by their positions.

    Args:
        indices: positions i >= 0, in any order, repeats allowed.
        seed: of the data set.

    Returns:
        The factors, each a function of (seed, i).
    """
    uniform = _uniform(np.asarray(indices, dtype=np.uint64), seed)
    low, high = np.array([RANGES["position" if name in ("x", "y") else name] for name in COLUMNS[1:]]).T
    kind = np.floor(uniform[:, :1] * len(KINDS))
    return factors_of(torch.from_numpy(np.hstack([kind, low + (high - low) * uniform[:, 1:]]).astype(np.float32)))


class ShapesSource:
    """A `Source` of pictures of shapes, rendered when they are asked for: in memory is only the label of each.

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
            size: side of the pictures in pixels.
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
        """Yield the pictures of `order` in that order.

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
        pictures = (grey * 255).round().to(torch.uint8)
        return Batch(with_channels(pictures, self.channels), torch.tensor(positions, dtype=torch.int64))

    def as_factors(self) -> ArraySource:
        """Return the same samples as (N, 7) factor vectors, which `shape_views` renders."""
        vectors = self.factors.as_vectors()
        labels = Labels(self.labels, tuple(self.class_names))
        return ArraySource(vectors, name=self.name, labels=labels, describe=self.describe)


def shapes(request: Request) -> ShapesSource:
    """Make the shapes that go by their name: the two splits are two seeds."""
    num_samples, seed = (NUM_TRAIN, TRAIN_SEED) if request.split == "train" else (NUM_TEST, TEST_SEED)
    return ShapesSource(num_samples, seed=seed, channels=request.reading.channels, labels=request.labels)


@dataclass(frozen=True)
class ShapeViews:
    """A `View` of factor vectors that draws nuisances anew and renders, as normalised pictures.

    Attributes:
        redraw: names of the nuisances that are drawn anew; those that are not stay those of the sample.
        size: side of the pictures in pixels.
    """

    redraw: tuple[str, ...] = NUISANCES
    size: int = SIZE

    def __post_init__(self) -> None:
        for name in self.redraw:
            if name not in NUISANCES:
                raise ValueError(f"redraw: got {name!r}, wanted one of {', '.join(NUISANCES)}")

    def sample(self, batch: Tensor, generator: torch.Generator) -> Params:
        """Draw the nuisances of one view of each sample, each from a generator of its own.

        Args:
            batch: (N, 7) factor vectors.
            generator: on the CPU.

        Returns:
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
        """Render the samples with the factors in `params` in place of their own, and normalise.

        Args:
            batch: (N, 7) factor vectors.
            params: as `sample` returns them, whole, or with nuisances replaced or left out.

        Raises:
            ValueError: a batch of something else.
        """
        values = {name: drawn["value"] for name, drawn in params.items()}
        with torch.no_grad(), torch.autocast(batch.device.type, enabled=False):
            return (render(replace(factors_of(batch), **values), self.size) - MEAN) / STD


def shape_views(redraw: Sequence[str] = NUISANCES, size: int = SIZE) -> Views:
    """Return two exchangeable views of factor vectors, and the plain one that renders a sample as it is."""
    view = ShapeViews(tuple(redraw), size)
    return Views((view, view), plain=partial(view.apply, params={}))


def _uniform(indices: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.float64]:
    """Return one row of numbers in [0, 1) per index: SplitMix64 (Steele et al. 2014), its counter given outright."""
    start = _mixed(np.array([seed % 2**64], dtype=np.uint64))
    counter = indices[:, None] * np.uint64(len(COLUMNS)) + np.arange(len(COLUMNS), dtype=np.uint64)
    bits = _mixed(start + counter * np.uint64(0x9E3779B97F4A7C15))
    return np.asarray((bits >> np.uint64(11)) * 2.0**-53)


def _mixed(bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(bits ^ (bits >> np.uint64(31)))
