"""Weighted nearest neighbours by cosine similarity: how good features are without any fitting to labels.

Source: Wu, Xiong, Yu and Lin, "Unsupervised feature learning via non-parametric instance discrimination" (CVPR
2018), section 3.4; its numbers, k = 200 and temperature 0.07, are the defaults here.

Cosine similarity sees h as it lies: where a few directions have most of the variance, as after short training, they
decide alone who is whose neighbour, and what the others know is lost. So an evaluation also tries whitened features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from scipy.linalg import eigh
from torch import Tensor
from torch.nn.functional import normalize

from barlow.evaluation.splits import Split

CHUNK_BYTES = 128 * 2**20
"""Memory for the similarities of one chunk of queries."""
NUM_NEIGHBOURS = (1, 5, 20, 50, 200)
"""Values of k to choose from; 200 is the published one."""
TEMPERATURES = (0.02, 0.07, 0.5)
"""Temperatures to choose from: sharp, published, and nearly an unweighted vote."""


WHITENINGS = (0.0, 0.5, 1.0)
"""Powers of the spread to divide by: features as they are, half whitened, whitened."""
MOST_DIRECTIONS = 256
"""Directions that are whitened at most, the strongest: the rest of raw pixels is noise, which whitening would raise."""
WHITENED_BY = 10_000
"""Samples that are enough to know 256 directions by."""
NEGLIGIBLE = 1e-6
"""Variance beside the largest below which a direction is rounding."""


@dataclass(frozen=True)
class KnnSetting:
    """A choice of k, T (in units of cosine similarity) and whitening, and its accuracy in [0, 1] on validation data."""

    num_neighbours: int
    temperature: float
    whitening: float
    validation_accuracy: float


@dataclass(frozen=True)
class Whitening:
    """Principal directions (d, r) of training features, their standard deviations (r,) and mean (d,)."""

    mean: Float[Tensor, " d"]
    directions: Float[Tensor, "d r"]
    spreads: Float[Tensor, " r"]

    def __call__(self, h: Float[Tensor, "n d"], power: float) -> Float[Tensor, "n r"]:
        """Return ((h - mean) V) / spread^power; with power 0 the features themselves, uncentred, as published."""
        return (h - self.mean) @ (self.directions / self.spreads.pow(power)) if power else h


def fit_whitening(train_h: Float[Tensor, "n d"], *, most: int = MOST_DIRECTIONS) -> Whitening:
    """Find the strongest directions of training features, `most` or as many as differ from rounding.

    Features that are all equal have one direction of spread 1, in which they are all 0.
    """
    rows = train_h[:: max(1, len(train_h) // WHITENED_BY)].double()
    mean = rows.mean(dim=0)
    variances, directions = _principal(rows - mean, most)
    kept = (
        np.flatnonzero(variances > NEGLIGIBLE * variances[-1]) if variances[-1] > 0 else np.array([len(variances) - 1])
    )
    spreads = np.sqrt(variances[kept]) if variances[-1] > 0 else np.ones(1)
    return Whitening(mean.float(), directions[:, torch.from_numpy(kept)].float(), torch.from_numpy(spreads).float())


def _principal(centred: Float[Tensor, "n d"], most: int) -> tuple[NDArray[np.float64], Float[Tensor, "d r"]]:
    """Return the largest variances, ascending, and their directions: of the smaller of the two Gram matrices."""
    n, d = centred.shape
    gram = (centred @ centred.T if n < d else centred.T @ centred) / n
    variances, vectors = eigh(gram.numpy(), subset_by_index=[max(0, len(gram) - most), len(gram) - 1])
    directions = torch.from_numpy(vectors)
    if n < d:  # X X^T u = n s u, so that X^T u is the direction of variance s
        lengths = np.sqrt(n * np.maximum(variances, np.finfo(float).tiny))
        directions = centred.T @ directions / torch.from_numpy(lengths)
    return variances, directions


def nearest(
    train_h: Float[Tensor, "n d"], queries: Float[Tensor, "q d"], num_neighbours: int
) -> tuple[Float[Tensor, "q k"], Int64[Tensor, "q k"]]:
    """Find the k training samples, of 1..n, with the largest cosine similarity to each query.

    Returns (similarities, positions in `train_h`), most similar first; of equally similar samples the one that comes
    first in `train_h`.
    """
    if not 1 <= num_neighbours <= len(train_h):
        raise ValueError(f"num_neighbours: got {num_neighbours}, wanted 1 to {len(train_h)}, the samples there are")
    columns = normalize(train_h, dim=1).T.contiguous()
    chunks = torch.split(normalize(queries, dim=1), max(1, CHUNK_BYTES // (4 * len(train_h))))
    found = [_top(chunk @ columns, num_neighbours) for chunk in chunks]
    similarities, positions = zip(*found, strict=True)
    return torch.cat(similarities), torch.cat(positions)


def knn_predict(
    train_h: Float[Tensor, "n d"],
    train_y: Int64[Tensor, " n"],
    test_h: Float[Tensor, "m d"],
    *,
    num_neighbours: int = 200,
    temperature: float = 0.07,
) -> Int64[Tensor, " m"]:
    """Predict the class with the largest sum of exp(similarity / T) over the k nearest training samples.

    Where there are fewer training samples than k, all of them vote; of classes with the same sum the smallest wins.
    """
    similarities, positions = nearest(train_h, test_h, min(num_neighbours, len(train_h)))
    return _vote(similarities, train_y[positions], temperature, int(train_y.max()) + 1)


def knn_accuracy(
    train_h: Float[Tensor, "n d"],
    train_y: Int64[Tensor, " n"],
    test_h: Float[Tensor, "m d"],
    test_y: Int64[Tensor, " m"],
    *,
    num_neighbours: int = 200,
    temperature: float = 0.07,
) -> float:
    """Return the share of test samples, in [0, 1], whose class `knn_predict` gets right."""
    found = knn_predict(train_h, train_y, test_h, num_neighbours=num_neighbours, temperature=temperature)
    return float((found == test_y).double().mean())


def choose_knn(
    train_h: Float[Tensor, "n d"],
    train_y: Int64[Tensor, " n"],
    split: Split,
    *,
    num_neighbours: Sequence[int] = NUM_NEIGHBOURS,
    temperatures: Sequence[float] = TEMPERATURES,
    whitenings: Sequence[float] = (0.0,),
    whitening: Whitening | None = None,
) -> KnnSetting:
    """Choose k, T and the power of `whitening` by their accuracy on the validation part of the training data.

    Values of k above the size of the fitting part are left out (ValueError: none is left). Of equally good choices the
    first power, then the smallest k, then the first T.
    """
    possible = sorted(k for k in num_neighbours if k <= len(split.fit))
    if not possible:
        raise ValueError(f"num_neighbours: {list(num_neighbours)} are all more than {len(split.fit)} samples")
    wanted, num_classes = train_y[split.validation], int(train_y.max()) + 1
    settings = []
    for power in whitenings:
        h = whitening(train_h, power) if whitening else train_h
        similarities, positions = nearest(h[split.fit], h[split.validation], possible[-1])
        votes = train_y[split.fit][positions]
        for k, temperature in product(possible, temperatures):
            found = _vote(similarities[:, :k], votes[:, :k], temperature, num_classes)
            settings.append(KnnSetting(k, temperature, power, float((found == wanted).double().mean())))
    return max(settings, key=lambda setting: setting.validation_accuracy)


def _top(similarities: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and columns of the k largest of each row, ties in the order of the columns.

    `topk` leaves open which of equal values it takes: those on the edge are chosen here.
    """
    most = min(k + 1, similarities.shape[1])
    values, columns = similarities.topk(most, dim=1)
    if most > k:
        undecided = (values[:, k] == values[:, k - 1]).nonzero()[:, 0]
        values, columns = values[:, :k], columns[:, :k].clone()
        for row in undecided.tolist():
            edge = values[row, k - 1]
            above = (similarities[row] > edge).nonzero()[:, 0]
            equal = (similarities[row] == edge).nonzero()[:, 0]
            columns[row] = torch.cat([above, equal[: k - len(above)]])
    columns = columns.sort(dim=1).values
    values, order = similarities.gather(1, columns).sort(dim=1, descending=True, stable=True)
    return values, columns.gather(1, order)


def _vote(similarities: Tensor, labels: Tensor, temperature: float, num_classes: int) -> Tensor:
    """Class with the largest sum of weights per row, the smallest of equals."""
    if not temperature > 0:
        raise ValueError(f"temperature: got {temperature}, wanted a positive number")
    # Relative to the most similar one: the same winner, and no overflow at low temperatures.
    weights = ((similarities - similarities[:, :1]) / temperature).exp()
    sums = weights.new_zeros(len(weights), num_classes).scatter_add_(1, labels, weights)
    return sums.argmax(dim=1)  # the first of equal sums
