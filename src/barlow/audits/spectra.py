"""The intraclass correlations of h from both sides, optimistic and pessimistic, with the error of what follows.

plug-in     all samples choose the directions and score them: too large at the top
cross-fit   one half of the samples chooses, the other scores: too small at the top

The truth lies between the two on average, and no more than that: the true least Pearson loss lies outside in 4 of the
20 samples of `tests/audits/test_truth.py`. Both ends therefore carry a jackknife error, and the range that is
reported reaches two errors beyond either.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from barlow.figures import NUM_ERRORS, Range, Spectrum
from barlow.theory.intraclass import cross_fit_correlations, intraclass_correlations, num_above_edge, wachter_edge
from barlow.theory.moments import Covariances, Moments
from barlow.theory.spectrum import numerical_rank
from barlow.theory.standard_errors import Jackknifed, replicate_error

IMAGES_PER_DIRECTION = 3
"""Fewer samples than so many per direction leave the spectrum to chance."""
MOST_FEATURES = 512
"""Wider features are looked at in the leading directions of T, so that one audit takes minutes: that can only hide
invariant directions of little variance."""


@dataclass(frozen=True)
class Correlations:
    """Correlations (r,) within [0, 1], descending, of all samples and without each block of them.

    The ranks may differ, so that no tensor holds all.
    """

    value: Tensor
    left_out: Sequence[Tensor]

    @property
    def standard_error(self) -> Tensor:
        """(r,) error of the k-th largest; where fewer are left without a block, those count 0."""
        rank = len(self.value)
        filled = [torch.nn.functional.pad(rho, (0, max(0, rank - len(rho))))[:rank] for rho in self.left_out]
        return replicate_error(torch.stack(filled))

    def map(self, function: Callable[[Tensor], float]) -> Jackknifed:
        """Return a function of the correlations with its replicates."""
        found = [torch.tensor(function(rho), dtype=torch.float64) for rho in self.left_out]
        return Jackknifed(torch.tensor(function(self.value), dtype=torch.float64), torch.stack(found))


@dataclass(frozen=True)
class Spectra:
    """What is known of the invariance spectrum of h: `plug_in` is optimistic, `cross_fit` pessimistic.

    Attributes:
        edge: what plug-in correlations reach without any invariance.
        num_above_edge: how many of them are above it.
        eigenvalues: of T in the directions that were looked at, descending.
        basis: (m, d) those directions, the rows orthonormal: all d, or the leading `MOST_FEATURES` of T.
        rank: of T, in all d features.
    """

    plug_in: Correlations
    cross_fit: Correlations
    edge: float
    num_above_edge: int
    eigenvalues: Tensor
    basis: Tensor
    rank: int

    @property
    def between_rank(self) -> tuple[int, int, int]:
        """How many directions of B are evidence, their cross-fit correlation above the null edge: value, low, high.

        A direction below the edge may still hold a trace of the sample, which these samples cannot show. Of directions
        that were not looked at nothing is known: the upper end has all of them.
        """
        reach, unseen = NUM_ERRORS * self.cross_fit.standard_error, max(0, self.rank - len(self.plug_in.value))
        value, low, high = (
            int((self.cross_fit.value + side * reach > self.edge).sum()) if self.edge < 1 else 0 for side in (0, -1, 1)
        )
        return value, low, high + unseen

    def spectrum(self) -> Spectrum:
        """Return the spectrum as a file holds it; budget and waterline still empty."""
        return Spectrum(
            plug_in=self.plug_in.value.tolist(),
            error=self.plug_in.standard_error.tolist(),
            cross_fit=self.cross_fit.value.tolist(),
            cross_fit_error=self.cross_fit.standard_error.tolist(),
            edge=self.edge,
            num_above_edge=self.num_above_edge,
            between_rank=Range(*self.between_rank),
            num_directions=len(self.basis),
            eigenvalues=self.eigenvalues.tolist(),
        )


def spectra(moments: Moments) -> Spectra:
    """Measure the invariance spectrum from both sides, with replicates of both."""
    covariances = moments.covariances()
    values, basis = _leading_directions(covariances)
    whole = covariances.projected(basis)
    blocks = [g for g, size in enumerate(moments.block_sizes) if size]
    exact = intraclass_correlations(whole.between, whole.total)
    optimistic = [_plug_in(moments.without_block(g).projected(basis)) for g in blocks]
    pessimistic = [_cross_fit(moments, basis, without=g) for g in blocks]
    return Spectra(
        plug_in=Correlations(exact.clipped, optimistic),
        cross_fit=Correlations(_cross_fit(moments, basis), pessimistic),
        edge=wachter_edge(max(1, exact.rank), whole.num_images, whole.num_views),
        num_above_edge=num_above_edge(exact.correlations, whole.num_images, whole.num_views),
        eigenvalues=torch.linalg.eigvalsh(whole.total).flip(0).clamp(min=0),
        basis=basis,
        rank=numerical_rank(values),
    )


def doubts(known: Spectra, num_images: int) -> list[str]:
    """Return warnings about a spectrum: too few samples for its directions, or not all directions looked at."""
    looked_at, num_features = known.basis.shape
    found = []
    if num_images < IMAGES_PER_DIRECTION * looked_at:
        what = "features" if looked_at == num_features else "directions"
        found.append(
            f"{num_images} samples for {looked_at} {what}: the spectrum is mostly chance; take {15 * looked_at} or more"
        )
    if looked_at < num_features:
        found.append(
            f"spectrum, limit, waterline, condition, effective rank, alpha and LiDAR are of the {looked_at} strongest "
            f"directions of {num_features}; the limit is an upper bound: projectors may use the others too"
        )
    return found


def _leading_directions(covariances: Covariances) -> tuple[Tensor, Tensor]:
    """All d eigenvalues of T, descending and at least 0, and the directions that are looked at as rows."""
    num_features = len(covariances.mean)
    if num_features <= MOST_FEATURES:
        values = torch.linalg.eigvalsh(covariances.total)
        return values.flip(0).clamp(min=0), torch.eye(num_features, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(covariances.total)
    return values.flip(0).clamp(min=0), vectors.flip(1)[:, :MOST_FEATURES].T


def _plug_in(covariances: Covariances) -> Tensor:
    return intraclass_correlations(covariances.between, covariances.total).clipped


def _cross_fit(moments: Moments, basis: Tensor, without: int | None = None) -> Tensor:
    """Correlations of one half's directions in the other half, within [0, 1] and descending."""
    halves = (half.projected(basis) for half in moments.halves(without=without))
    return cross_fit_correlations(*halves).clamp(0, 1).sort(descending=True).values
