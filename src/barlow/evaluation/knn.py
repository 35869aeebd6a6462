"""Weighted nearest neighbours by cosine similarity: how good features are without any fitting.

Source: Wu, Xiong, Yu and Lin, "Unsupervised feature learning via non-parametric instance discrimination" (CVPR
2018), section 3.4; its numbers, k = 200 and temperature 0.07, are the defaults here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import normalize

from barlow.evaluation.splits import Split

CHUNK_BYTES = 128 * 2**20
"""Memory for the similarities of one chunk of queries."""
NUM_NEIGHBOURS = (1, 5, 20, 50, 200)
"""Values of k to choose from; 200 is the published one."""
TEMPERATURES = (0.02, 0.07, 0.5)
"""Temperatures to choose from: sharp, published, and nearly an unweighted vote."""


@dataclass(frozen=True)
class KnnSetting:
    """A choice of k and T (in units of cosine similarity), and its accuracy in [0, 1] on the validation part."""

    num_neighbours: int
    temperature: float
    validation_accuracy: float


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
) -> KnnSetting:
    """Choose k and T by their accuracy on the validation part of the training data.

    Values of k above the size of the fitting part are left out (ValueError: none is left). Of equally good choices the
    smallest k, then the first T.
    """
    possible = sorted(k for k in num_neighbours if k <= len(split.fit))
    if not possible:
        raise ValueError(f"num_neighbours: {list(num_neighbours)} are all more than {len(split.fit)} samples")
    similarities, positions = nearest(train_h[split.fit], train_h[split.validation], possible[-1])
    votes, wanted = train_y[split.fit][positions], train_y[split.validation]
    settings = []
    for k, temperature in product(possible, temperatures):
        found = _vote(similarities[:, :k], votes[:, :k], temperature, int(train_y.max()) + 1)
        settings.append(KnnSetting(k, temperature, float((found == wanted).double().mean())))
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
