"""How large correlations get by chance alone, measured on the images at hand: every view gets a sign of its own.

With x_ik = s_ik (h_ik - c), s_ik = +-1 at random and c near the mean, the views of an image have nothing in common any
more, while each keeps its length: an image whose views scatter ten times as much as others still does. The largest
plug-in correlation of x is a draw of what chance reaches. `wachter_edge` knows the numbers of images, views and
features only, and is too low where the noise differs from image to image: with a tenth of the images nine times as
noisy as the others, 3 to 13 directions of pure augmentation lie above it.

What it costs: for every draw one more sum over all images (no more passes through the network), d^2 numbers of memory,
and an eigendecomposition or a few. The image counts as noise in x, so that the edge errs on the high side where it is
strong; `largest` can be asked of the directions without it.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from barlow.theory.intraclass import intraclass_correlations
from barlow.theory.moments import ROWS, Covariances
from barlow.theory.spectrum import RELATIVE_TOLERANCE

NUM_DRAWS = 8
"""Draws behind an edge: their scatter is then known to a quarter, and eight sums cost little beside a network."""
NUM_ERRORS = 2.0
"""Standard deviations of the draws above their mean: pure augmentation exceeds that in about one audit of twenty."""


class SignFlips:
    """Sums over images whose views have random signs, `num_draws` times, from which the null edge comes.

    Args:
        num_features: d.
        num_draws: at least 2; memory is 8 d^2 bytes each.
        seed: of the signs, so that the same call gives the same edge.

    Raises:
        ValueError: fewer than 2 draws.
    """

    def __init__(self, num_features: int, *, num_draws: int = NUM_DRAWS, seed: int = 0) -> None:
        if num_draws < 2:
            raise ValueError(f"num_draws: got {num_draws}, wanted at least 2")
        self._generator = torch.Generator().manual_seed(seed)
        self._centre: Tensor | None = None
        self._counts = [0, 0, 0]  # images, views, views squared
        size = (num_features, num_features)
        self._all = torch.zeros(size, dtype=torch.float64)  # the same for every draw: signs cancel in x x^T
        self._between = torch.zeros((num_draws, *size), dtype=torch.float64)
        self._sums = torch.zeros((num_draws, num_features), dtype=torch.float64)

    def add(self, h: Float[Tensor, "n k d"]) -> None:
        """Add images, each with all of its views; the first images say where the centre is."""
        rows = h.detach().to("cpu", torch.float64)
        if self._centre is None:
            self._centre = rows.mean(dim=(0, 1))
        n, k, _ = rows.shape
        for place, more in enumerate((n, n * k, n * k * k)):
            self._counts[place] += more
        for part in rows.split(max(1, ROWS // k)):
            x = part - self._centre
            self._all.addmm_(x.flatten(0, 1).T, x.flatten(0, 1))
            for between, sums in zip(self._between, self._sums, strict=True):
                signs = 2.0 * torch.randint(2, x.shape[:2], generator=self._generator) - 1.0
                means = torch.einsum("nk,nkd->nd", signs.double(), x) / k
                between.addmm_(means.T, means, alpha=k)
                sums += k * means.sum(dim=0)

    def projected(self, basis: Float[Tensor, "m d"]) -> "SignFlips":
        """Return the sums of the same images in the span of the orthonormal rows of `basis`; these stay as they are."""
        matrix = basis.double()
        found = SignFlips(len(basis), num_draws=len(self._between))
        found._counts, found._all = list(self._counts), matrix @ self._all @ matrix.T
        found._centre = None if self._centre is None else matrix @ self._centre
        found._between = torch.stack([matrix @ one @ matrix.T for one in self._between])
        found._sums = self._sums @ matrix.T
        return found

    def covariances(self) -> list[Covariances]:
        """Return those of every draw: B of chance alone, W of all there is."""
        n, views, squares = self._counts
        effective = (views - squares / views) / (n - 1)
        found = []
        for between, sums in zip(self._between, self._sums, strict=True):
            within = (self._all - between) / (views - n)
            image = ((between - torch.outer(sums, sums) / views) / (n - 1) - within) / effective
            found.append(Covariances(sums / views, image, within, n, effective))
        return found

    def largest(self, basis: Float[Tensor, "m d"], tolerance: float = RELATIVE_TOLERANCE) -> Float64[Tensor, " draws"]:
        """Return the largest correlation of every draw, in the span of the rows of `basis`."""
        inside = (c.projected(basis) for c in self.covariances())
        found = [intraclass_correlations(c.between, c.total, tolerance=tolerance).correlations for c in inside]
        return torch.stack([rho[0] if len(rho) else rho.new_zeros(()) for rho in found])


def edge_of(largest: Float[Tensor, " draws"]) -> float:
    """Return the edge, two standard deviations above the mean of the draws, from 0 to 1."""
    return min(1.0, max(0.0, float(largest.mean() + NUM_ERRORS * largest.std())))
