"""Features on a plane: places where samples that are alike stand together, and how far that can be believed."""

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness as trustworthiness_of
from torch import Tensor
from torch.nn.functional import normalize

from barlow.formats import count, number

NEIGHBOURS = 10
"""Neighbours that a map is held to."""
MEASURED = 2_000
"""Samples on which a map is measured."""
UMAP_ROWS, TSNE_ROWS = 20_000, 10_000
"""Samples that are placed by the method itself, in a minute or two of one core; the others stand by those like them."""
LIKE_IT = 5
"""Placed samples between which another one stands."""
FEWEST = 10
"""Samples below which there are no neighbourhoods to keep, and principal directions serve."""
DIRECTIONS = 50
"""Principal directions in which neighbours are looked for: what is beyond is mostly noise, and slow."""
CHUNK = 1_000
"""Rows whose similarities to all others are held at once."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Projected:
    """Places of n samples on a plane.

    Attributes:
        xy: (n, 2) places between 0 and 1, one scale for both axes.
        trustworthiness: how far neighbours on the map are neighbours by features, on at most 2,000 samples: 1 at best,
            .5 by chance; `nan` where there are too few samples to tell.
        kept: the mean share of the 10 nearest by features, among all samples, that are the 10 nearest on the map too;
            by chance 10 / (n - 1).
        method: how they were placed, a phrase for the reader.
    """

    xy: Float32[Tensor, "n 2"]
    trustworthiness: float
    kept: float
    method: str


def project(h: Float[Tensor, "n d"], *, seed: int = 0, progress: Progress | None = None) -> Projected:
    """Place samples on a plane so that those with similar features (by cosine) stand together.

    By t-SNE up to 10,000 samples, since it keeps more of the neighbourhoods; for more, by UMAP where umap-learn is
    installed. Beyond 20,000 samples (without UMAP 10,000) so many, drawn by chance, are placed so, and each of the
    others stands between the 5 placed ones most like it. The same features and seed give the same map on one machine.

    Args:
        h: (n, d) features, or the rows of a `Space`.
        seed: of everything drawn.
        progress: called with (steps done, 3): directions found, samples placed, map measured.

    Returns:
        Places with how far to believe them.

    Raises:
        ValueError: not (n, d), fewer than 2 samples, or features that are not finite, by the first row.

    Source: van der Maaten and Hinton, "Visualizing data using t-SNE" (JMLR 2008); McInnes, Healy and Melville, "UMAP"
    (arXiv 1802.03426); trustworthiness of Venna and Kaski (2001), equation 2.

    Example:
        places = project(h)
        places.xy, places.trustworthiness, places.method
    """
    _check(h)
    tell = progress or (lambda done, total: None)
    unit = normalize(h.double(), dim=1)
    directions = min(DIRECTIONS, *h.shape)
    varied = bool(unit.std(0).any())
    rows = PCA(directions, random_state=seed).fit_transform(unit.numpy()) if varied else np.zeros((len(h), 2))
    tell(1, 3)
    places, method = _placed(rows, seed)
    xy = _in_square(places)
    tell(2, 3)
    some = np.sort(np.random.default_rng(seed).permutation(len(h))[:MEASURED])
    trust = _trustworthiness(unit.numpy()[some], xy[some])
    kept = _kept(unit.float(), torch.from_numpy(xy), torch.from_numpy(some))
    tell(3, 3)
    return Projected(torch.from_numpy(xy), trust, kept, method)


def _check(h: Tensor) -> None:
    if h.ndim != 2 or not h.shape[1]:
        raise ValueError(f"h: got shape {tuple(h.shape)}, wanted (n, d), a row for each sample")
    if len(h) < 2:
        raise ValueError(f"h: got {count(len(h), 'sample')}, wanted at least 2")
    wrong = ~h.isfinite().all(dim=1)
    if wrong.any():
        raise ValueError(f"h: got {int(wrong.sum()):,} rows that are not finite, first row {int(wrong.nonzero()[0])}")


def _placed(rows: NDArray[np.float64], seed: int) -> tuple[NDArray[np.float64], str]:
    """Place a part by the method and the rest by the part; say so."""
    n = len(rows)
    if n < FEWEST or not rows.any():
        why = "few samples" if n < FEWEST else "samples that are all alike"
        return np.pad(rows, ((0, 0), (0, 2)))[:, :2], f"the first two principal directions ({why})"
    by_umap = n > TSNE_ROWS and importlib.util.find_spec("umap") is not None
    place, method, most = (_umap, "UMAP", UMAP_ROWS) if by_umap else (_tsne, "t-SNE", TSNE_ROWS)
    if n <= most:
        return place(rows, seed), method
    part = np.sort(np.random.default_rng(seed).choice(n, most, replace=False))
    others = np.setdiff1d(np.arange(n), part)
    xy = np.empty((n, 2))
    xy[part] = place(rows[part], seed)
    xy[others] = _between(rows[others], rows[part], xy[part])
    rest = number(n - most, 12)
    drawn = f"{method} of {number(most, 12)} samples, drawn by chance"
    return xy, f"{drawn}; the other {rest} stand between those most like them"


def _umap(rows: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    from umap import UMAP

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore")  # that a seed makes it use one thread, which is what a seed is for
        fitted = UMAP(n_neighbors=min(15, len(rows) - 1), min_dist=0.1, random_state=seed).fit_transform(rows)
    return np.asarray(fitted, dtype=np.float64)


def _tsne(rows: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    perplexity = min(30.0, (len(rows) - 1) / 3)
    start = rows[:, :2] / max(rows[:, 0].std(), 1e-12) * 1e-4  # as scikit-learn's init="pca", without a second PCA
    start = np.pad(start, ((0, 0), (0, 2)))[:, :2].astype(np.float32)
    fitted = TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(rows.astype(np.float32))
    return np.asarray(fitted, dtype=np.float64)


def _between(
    others: NDArray[np.float64], part: NDArray[np.float64], places: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return places at the weighted mean of those of the most similar rows: 1/distance each."""
    found = []
    known, where = torch.from_numpy(part).float(), torch.from_numpy(places)
    for rows in torch.from_numpy(others).float().split(CHUNK):
        distances, nearest = torch.cdist(rows, known).topk(min(LIKE_IT, len(known)), largest=False)
        weights = 1 / distances.double().clamp_min(1e-9)
        found.append((where[nearest] * (weights / weights.sum(1, keepdim=True))[..., None]).sum(1))
    return torch.cat(found).numpy()


def _in_square(xy: NDArray[np.float64]) -> NDArray[np.float32]:
    """Move and scale places into the unit square, one scale for both axes, the shorter one in the middle."""
    low, high = xy.min(0), xy.max(0)
    widest = (high - low).max()
    scaled = 0.5 + (xy - (low + high) / 2) / (widest if widest > 0 else 1)
    return np.asarray(np.clip(scaled, 0, 1), dtype=np.float32)


def _trustworthiness(rows: NDArray[np.float64], xy: NDArray[np.float32]) -> float:
    num_neighbours = min(NEIGHBOURS, (len(rows) - 1) // 2)  # the measure is defined below n / 2
    return float(trustworthiness_of(rows, xy, n_neighbors=num_neighbours)) if num_neighbours else float("nan")


def _kept(unit: Float32[Tensor, "n d"], xy: Float32[Tensor, "n 2"], some: Int64[Tensor, " m"]) -> float:
    """Return the mean share of the nearest by features, of some samples among all, that are nearest on the map."""
    num_neighbours = min(NEIGHBOURS, len(unit) - 1)
    shares = []
    for queries in some.split(CHUNK // 2):
        own = queries[:, None]
        by_features = (unit[queries] @ unit.T).scatter(1, own, -torch.inf).topk(num_neighbours).indices
        by_place = torch.cdist(xy[queries], xy).scatter(1, own, torch.inf).topk(num_neighbours, largest=False).indices
        shares.append((by_features[:, :, None] == by_place[:, None, :]).any(2).float().mean(1))
    return float(torch.cat(shares).mean())
