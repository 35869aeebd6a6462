"""How alike samples are: the cosine similarity of their features, once no direction outweighs the others.

Features as they come have most of their variance in a few directions, which then decide alone who is whose neighbour.
Dividing each principal direction by a power of its spread gives the others a say: half (0.5) serves for finding what is
alike, whole (1) for finding what is the same (docs/features.md has the figures).
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import normalize

from barlow.evaluation.knn import CHUNK_BYTES, Whitening, fit_whitening, nearest

HALF, WHOLE = 0.5, 1.0
"""Powers of the spread to divide by."""
MOST_EXACT = 50_000
"""Samples up to which every pair is compared; beyond it a graph of neighbours finds nearly all (faiss)."""
LINKS, EFFORT = 32, 64
"""Of that graph: links a sample, and candidates that a search keeps."""

Progress = Callable[[int, int], None]
"""(samples done, samples in all) -> None."""


@dataclass(frozen=True)
class Space:
    """Where samples are compared: `rows(h)` are unit vectors whose inner products are similarities, -1 to 1."""

    whitening: Whitening
    power: float

    def rows(self, h: Float[Tensor, "n d"]) -> Float[Tensor, "n r"]:
        """Return the (n, r) unit vectors of features, of these samples or of others."""
        return normalize(self.whitening(h.float(), self.power), dim=1)


def fit_space(h: Float[Tensor, "n d"], *, power: float = HALF) -> Space:
    """Return the space of some features, centred and whitened by `power` (above 0, at most 1).

    Example:
        space = fit_space(h)
        similarities, positions = nearest(space.rows(h), space.rows(query), 10)
    """
    if not 0 < power <= 1:
        raise ValueError(f"power: got {power}, wanted above 0, at most 1")
    if len(h) < 2:
        raise ValueError(f"h: got {len(h)} samples, wanted at least 2")
    return Space(fit_whitening(h), power)


def neighbours(
    rows: Float[Tensor, "n r"], num_neighbours: int, progress: Progress | None = None
) -> tuple[Float[Tensor, "n k"], Int64[Tensor, "n k"]]:
    """Return (similarities, positions) of the k nearest other samples of each sample, the nearest first.

    Exact up to `MOST_EXACT` samples. Beyond it by a graph (HNSW of faiss), which misses a neighbour now and then.

    Args:
        rows: (n, r) unit vectors.
        num_neighbours: k, from 1 to n - 1.
        progress: called with (samples done, samples in all).

    Raises:
        ValueError: another k; or more samples than are compared pair by pair, and no faiss.
    """
    n = len(rows)
    if not 1 <= num_neighbours < n:
        raise ValueError(f"num_neighbours: got {num_neighbours}, wanted 1 to {n - 1}, the other samples there are")
    if n > MOST_EXACT:
        return _by_graph(rows, num_neighbours, progress)
    similarities, positions = [], []
    step = max(1, CHUNK_BYTES // (4 * n))
    for start in range(0, n, step):
        found = nearest(rows, rows[start : start + step], num_neighbours + 1)
        without_self = _without(torch.arange(start, min(start + step, n)), *found)
        similarities.append(without_self[0])
        positions.append(without_self[1])
        if progress is not None:
            progress(min(start + step, n), n)
    return torch.cat(similarities), torch.cat(positions)


def _without(own: Tensor, similarities: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Drop each sample from its own list; of equal samples it may be missing there, then the last one goes."""
    is_own = positions == own[:, None]
    is_own[~is_own.any(dim=1), -1] = True
    shape = (len(own), positions.shape[1] - 1)
    return similarities[~is_own].reshape(shape), positions[~is_own].reshape(shape)


def _by_graph(rows: Tensor, num_neighbours: int, progress: Progress | None) -> tuple[Tensor, Tensor]:
    if find_spec("faiss") is None:
        raise ValueError(
            f"data: {len(rows):,} samples, more than the {MOST_EXACT:,} whose pairs are all compared; for more: "
            'pip install "barlow[search]"'
        )
    faiss: Any = import_module("faiss")

    index = faiss.IndexHNSWFlat(rows.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = EFFORT, max(EFFORT, 2 * num_neighbours)
    array = np.ascontiguousarray(rows.numpy())
    step, n = 10_000, len(rows)
    for start in range(0, n, step):
        index.add(array[start : start + step])
        if progress is not None:
            progress(min(start + step, n) // 2, n)
    similarities, positions = [], []
    for start in range(0, n, step):
        part = index.search(array[start : start + step], num_neighbours + 1)
        found = (torch.from_numpy(part[0]), torch.from_numpy(part[1]))
        without_self = _without(torch.arange(start, min(start + step, n)), *found)
        similarities.append(without_self[0])
        positions.append(without_self[1])
        if progress is not None:
            progress((n + min(start + step, n)) // 2, n)
    return torch.cat(similarities), torch.cat(positions)
