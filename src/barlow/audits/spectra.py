"""The intraclass correlations of h from two sides, with a range that holds the truth.

plug-in     all samples choose the directions and score them: spread too far apart by chance
cross-fit   every block of samples scores the directions that all others chose; neighbours in the wrong order pool

Neither is unbiased, and the truth need not lie between them: equal correlations spread by chance in both. What is
reported is corrected by the jackknife, its error has the correction in it, and a range reaches from the lowest to the
highest of both with their errors. How often that holds the truth is on `docs/calibration.md`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from barlow.figures import NUM_ERRORS, Range, Spectrum
from barlow.theory.intraclass import IntraclassSpectrum, descending, intraclass_correlations, wachter_edge
from barlow.theory.moments import Covariances, Moments
from barlow.theory.null_edge import SignFlips, edge_of
from barlow.theory.spectrum import numerical_rank, rounding_share
from barlow.theory.standard_errors import Jackknifed, replicate_error

IMAGES_PER_DIRECTION = 3
"""Fewer samples than so many per direction leave the spectrum to chance."""
MOST_FEATURES = 512
"""Wider features are looked at in the leading directions of T, so that one audit takes minutes: that can only hide
invariant directions of little variance."""
DEAD = 1e-14
"""Share of the largest variance that float64 sums leave of directions that do not vary at all."""
EDGE_ROUNDS = 10
"""Rounds in which the edge is found; two or three are usual."""
MOST_SAMPLES = 8192
"""No more samples than an audit looks at by itself are advised."""


@dataclass(frozen=True)
class Correlations:
    """Correlations (r,), descending, of all samples and without each block of them; within [0, 1] if not said.

    The ranks may differ, so that no tensor holds all.
    """

    value: Tensor
    left_out: Sequence[Tensor]

    @property
    def aligned(self) -> Jackknifed:
        """The k-th largest with its replicates; where fewer are left without a block, those count 0."""
        rank = len(self.value)
        filled = [torch.nn.functional.pad(rho, (0, max(0, rank - len(rho))))[:rank] for rho in self.left_out]
        return Jackknifed(self.value, torch.stack(filled))

    @property
    def standard_error(self) -> Tensor:
        """(r,) error of the k-th largest, without what chance adds to it."""
        return replicate_error(self.aligned.left_out)

    def map(self, function: Callable[[Tensor], float]) -> Jackknifed:
        """Return a function of the correlations with its replicates."""
        found = [torch.tensor(function(rho), dtype=torch.float64) for rho in self.left_out]
        return Jackknifed(torch.tensor(function(self.value), dtype=torch.float64), torch.stack(found))


@dataclass(frozen=True)
class Scores:
    """How the samples of every block score the directions that all other blocks chose; r of them, best first.

    Attributes:
        between: (G, r) v^T B v, B of block g alone, times its number of samples.
        total: (G, r) v^T T v likewise.
        chosen: (G, r) the correlations, within [0, 1], that v has on the samples that chose it.
    """

    between: Tensor
    total: Tensor
    chosen: Tensor

    def correlations(self, without: int | None = None) -> Tensor:
        """(r,) scores of the directions, in the order of the others, on all blocks but one; not clipped."""
        kept = self.kept(without)
        total = kept @ self.total
        return torch.where(total > 0, kept @ self.between / total, 0.0)

    def weighted(self, budget: Tensor, without: int | None = None) -> Tensor:
        """(r,) scores times a budget (G, r) that the same samples chose."""
        kept = self.kept(without)
        total = kept @ self.total
        return torch.where(total > 0, kept @ (self.between * budget) / total, 0.0)

    def over_blocks(self, function: Callable[[int | None], Tensor]) -> Jackknifed:
        """Return a function of (all blocks but one) with its replicates."""
        return Jackknifed(function(None), torch.stack([function(g) for g in range(len(self.between))]))

    def kept(self, without: int | None) -> Tensor:
        """(G,) 1 for the blocks that count."""
        kept = torch.ones(len(self.between), dtype=torch.float64)
        if without is not None:
            kept[without] = 0.0
        return kept


@dataclass(frozen=True)
class Spectra:
    """What is known of the invariance spectrum of h.

    Attributes:
        plug_in: cut to 0..1; `signed` is the same uncut, whose means and sums have less bias.
        cross_fit: from `scores`, pooled and cut to 0..1.
        edge: what plug-in correlations reach without any invariance.
        num_above_edge: how many of them are above it.
        eigenvalues: of T in the directions that were looked at, descending.
        basis: (m, d) those directions, the rows orthonormal: all d, or the leading `MOST_FEATURES` of T.
        rank: of T, in all d features: directions with more variance than rounding leaves.
        tolerance: that variance, as a share of the largest.
        num_faint: directions below it that are not dead, which are left out.
        inside: the sums of the samples in the coordinates of `basis`.
    """

    plug_in: Correlations
    cross_fit: Correlations
    edge: float
    num_above_edge: int
    eigenvalues: Tensor
    basis: Tensor
    rank: int
    signed: Correlations | None = None
    scores: Scores | None = None
    tolerance: float = 0.0
    num_faint: int = 0
    inside: Moments | None = None

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

    @cached_property
    def band(self) -> tuple[Tensor, Tensor]:
        """(r,) lower and upper end of the range of each correlation, within [0, 1].

        From the corrected plug-in and from the scores as they are, before pooling, with two errors of either.
        """
        corrected = (self.plug_in if self.signed is None else self.signed).aligned
        ends = [(corrected.corrected, NUM_ERRORS * corrected.corrected_error)]
        pooled = self.cross_fit.aligned
        ends.append((pooled.value, NUM_ERRORS * pooled.standard_error))
        if self.scores is not None:
            scored = self.scores.over_blocks(self.scores.correlations)
            ends.append((scored.value, NUM_ERRORS * scored.standard_error))
        rank = min(len(value) for value, _ in ends)
        low = torch.stack([(value - reach)[:rank] for value, reach in ends]).amin(dim=0)
        high = torch.stack([(value + reach)[:rank] for value, reach in ends]).amax(dim=0)
        return low.clamp(0, 1), high.clamp(0, 1)

    @cached_property
    def plausible(self) -> list[Tensor]:
        """Spectra (r,) that the samples allow: both estimates, both ends, ties, and nothing below the edge.

        For figures that jump where correlations are equal or 0, such as the number of outputs that are used: their
        range is what they are over these.
        """
        low, high = self.band
        if not len(low):
            return []
        low, high = low.cummin(dim=0).values, high.flip(0).cummax(dim=0).values.flip(0)
        estimates = [self.plug_in.value, self.cross_fit.value]
        proven = [torch.where(rho > self.edge, rho, 0.0) for rho in estimates]
        levels = torch.cat([torch.linspace(0.05, 1.0, 20, dtype=torch.float64), self.cross_fit.value[::4]])
        return [*estimates, *proven, low, high, *(level.clamp(low, high) for level in levels)]

    def range_of(self, function: Callable[[Tensor], float]) -> tuple[float, float]:
        """Return the lowest and the highest value of a function over `plausible` spectra."""
        found = [function(rho) for rho in self.plausible]
        return min(found), max(found)

    def spectrum(self) -> Spectrum:
        """Return the spectrum as a file holds it; budget and waterline still empty."""
        low, high = self.band
        return Spectrum(
            plug_in=self.plug_in.value.tolist(),
            error=_covering(self.plug_in.value, low, high),
            cross_fit=self.cross_fit.value.tolist(),
            cross_fit_error=_covering(self.cross_fit.value, low, high),
            low=low.tolist(),
            high=high.tolist(),
            edge=self.edge,
            num_above_edge=self.num_above_edge,
            between_rank=Range(*self.between_rank),
            num_directions=len(self.basis),
            eigenvalues=self.eigenvalues.tolist(),
        )


def spectra(
    moments: Moments, flips: SignFlips | None = None, dtype: torch.dtype = torch.float32, most: int | None = None
) -> Spectra:
    """Measure the invariance spectrum from both sides, with replicates of both.

    `flips` have seen the same samples, and give the null edge; without them it is Wachter's, which takes equal noise in
    every sample. `dtype` is the number format of the features, whose rounding is no direction; `most` directions are
    looked at, `MOST_FEATURES` if not said.
    """
    covariances = moments.covariances()
    values, basis = _leading_directions(covariances, min(most or MOST_FEATURES, MOST_FEATURES))
    tolerance = rounding_share(covariances.total, covariances.mean, dtype)
    inside = moments if len(basis) == len(covariances.mean) else moments.projected(basis)
    whole = inside.covariances()
    exact = intraclass_correlations(whole.between, whole.total, tolerance=tolerance)
    plug_in, scores = _left_out(inside, tolerance)
    signed = Correlations(exact.correlations, plug_in)
    pooled = [descending(scores.correlations(g)).clamp(0, 1) for g in (None, *range(len(scores.between)))]
    edge = wachter_edge(max(1, exact.rank), whole.num_images, whole.num_views)
    if flips is not None and edge < 1:  # 1: W cannot have full rank, and no edge means anything
        edge = _measured_edge(flips if inside is moments else flips.projected(basis), exact, tolerance)
    rank = numerical_rank(values, tolerance) if tolerance < 1 else 0
    return Spectra(
        plug_in=Correlations(exact.clipped, [rho.clamp(0, 1) for rho in plug_in]),
        cross_fit=Correlations(pooled[0], pooled[1:]),
        edge=edge,
        num_above_edge=int((exact.correlations > edge).sum()) if edge < 1 else 0,
        eigenvalues=torch.linalg.eigvalsh(whole.total).flip(0).clamp(min=0),
        basis=basis, rank=rank, signed=signed, scores=scores, tolerance=tolerance,
        num_faint=int((values > DEAD * values.max()).sum()) - rank, inside=inside,
    )  # fmt: skip


def _measured_edge(flips: SignFlips, exact: IntraclassSpectrum, tolerance: float) -> float:
    """The null edge of those directions that are not above it, found by leaving out what is above, again and again.

    Under random signs a strong image is strong noise: with it in, the edge would be too high for the others.
    """
    every = torch.eye(exact.directions.shape[1], dtype=torch.float64)
    edge, rest = edge_of(flips.largest(every, tolerance)), len(exact.correlations)
    for _ in range(EDGE_ROUNDS):
        below = exact.correlations <= edge
        if not 0 < int(below.sum()) < rest:
            break
        rest = int(below.sum())
        edge = min(edge, edge_of(flips.largest(exact.directions[below], tolerance)))
    return edge


def too_few(num_images: int, num_directions: int) -> bool:
    """Whether there are so few samples that no correction for chance can be trusted."""
    return num_images < IMAGES_PER_DIRECTION * num_directions


def doubts(known: Spectra, num_images: int) -> list[str]:
    """Return warnings about a spectrum: too few samples, directions that were not looked at, or that are too faint."""
    looked_at, num_features = known.basis.shape
    found = []
    if too_few(num_images, looked_at):
        what = "features" if looked_at == num_features else "directions"
        enough = 15 * looked_at
        take = f"take {enough} or more" if enough <= MOST_SAMPLES else "take as many as there are"
        found.append(
            f"{num_images} samples for {looked_at} {what}: the spectrum is mostly chance, and figures that need it have"
            f" no interval; {take}"
        )
    if looked_at < num_features:
        found.append(
            f"spectrum, best linear projector, waterline, condition, effective rank, alpha and LiDAR are of the "
            f"{looked_at} strongest directions of {num_features}; the best linear projector's loss is an upper bound: "
            "projectors may use the others too"
        )
    if known.rank and known.num_faint:
        found.append(
            f"{known.num_faint} of {num_features} directions vary by no more than rounding of the features, and are "
            "left out of every figure of the spectrum"
        )
    return found


def _leading_directions(covariances: Covariances, most: int) -> tuple[Tensor, Tensor]:
    """All d eigenvalues of T, descending and at least 0, and the directions that are looked at as rows."""
    num_features = len(covariances.mean)
    if num_features <= most:
        values = torch.linalg.eigvalsh(covariances.total)
        return values.flip(0).clamp(min=0), torch.eye(num_features, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(covariances.total)
    return values.flip(0).clamp(min=0), vectors.flip(1)[:, :most].T


def _left_out(moments: Moments, tolerance: float) -> tuple[list[Tensor], Scores]:
    """Plug-in correlations without each block, not clipped, and what the block says to their directions."""
    blocks = [g for g, size in enumerate(moments.block_sizes) if size]
    found = []
    for g in blocks:
        others = moments.without_block(g)
        chosen = intraclass_correlations(others.between, others.total, tolerance=tolerance)
        found.append((chosen.correlations, *_scored(chosen.directions, moments, g)))
    rank = min(len(rho) for rho, *_ in found)
    rows = [torch.stack([one[place][:rank] for one in found]) for place in (1, 2, 0)]
    return [rho for rho, *_ in found], Scores(rows[0], rows[1], rows[2].clamp(0, 1))


def _scored(directions: Tensor, moments: Moments, g: int) -> tuple[Tensor, Tensor]:
    """v^T B v and v^T T v of block g for each row v, times its samples; zeros for a block of one, which has no B."""
    size = moments.block_sizes[g]
    if size < 2:
        return (torch.zeros(len(directions), dtype=torch.float64),) * 2
    own = moments.only_block(g)
    between, total = (
        size * torch.einsum("rd,de,re->r", directions, matrix, directions) for matrix in (own.between, own.total)
    )
    return between, total


def _covering(values: Tensor, low: Tensor, high: Tensor) -> list[float]:
    """Errors of which two on either side reach both ends of a range."""
    rank = min(len(values), len(low))
    farther = torch.maximum(values[:rank] - low[:rank], high[:rank] - values[:rank])
    return (farther.clamp(min=0) / NUM_ERRORS).tolist()
