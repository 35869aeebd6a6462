"""The invariance spectrum: how much of each direction of the features is the image, and how much augmentation.

With B the covariance between images, W within an image (augmentation) and T = B + W, the spectrum is

    rho_1 >= ... >= rho_r,   the eigenvalues of  R = T^{-1/2} B T^{-1/2}  on the range of T (r its rank).

Each rho is the intraclass correlation v^T B v / v^T T v of one direction v: 1 is invariant, 0 knows nothing of the
image. They are the canonical correlations of two views, and rho/(1-rho) are the eigenvalues of W^{-1} B, those of a
discriminant analysis with one class per image. No invertible linear map of the features changes them.

Estimates from n images and K views are not unbiased: the largest come out too large. Three things tell by how much:
the edge that features without any invariance reach (`wachter_edge`, and `null_edge.py` for noise that differs from
image to image); scores on images that did not choose the directions (`cross_fit_correlations`); and the jackknife of
`standard_errors.py`, which removes what falls as 1/n.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from barlow.theory.moments import Covariances
from barlow.theory.spectrum import RELATIVE_TOLERANCE, effective_rank

LIDAR_DELTA = 1e-4
"""Added to the eigenvalues of W in LiDAR, in units of the variance of h; what published implementations add."""


@dataclass(frozen=True, eq=False)
class IntraclassSpectrum:
    """Intraclass correlations and the directions that have them.

    Attributes:
        correlations: (r,) rho_k, descending. Noise in B may push single ones below 0: see `clipped`.
        directions: (r, d) one direction v_k per row, with v_j^T T v_k = 1 for j = k and 0 otherwise: h @ v_k has
            variance 1, of which rho_k is the image.
    """

    correlations: Tensor
    directions: Tensor

    @property
    def rank(self) -> int:
        """Directions with variance: r, at most d."""
        return len(self.correlations)

    @property
    def clipped(self) -> Tensor:
        """(r,) correlations cut to 0..1."""
        return self.correlations.clamp(0.0, 1.0)


def intraclass_correlations(
    between: Float[Tensor, "d d"], total: Float[Tensor, "d d"], *, tolerance: float = RELATIVE_TOLERANCE
) -> IntraclassSpectrum:
    """Return the eigenvalues of R = T^{-1/2} B T^{-1/2} on the range of T, with their directions.

    The plug-in estimate, where B and T are estimates themselves: too large at the top, too small at the bottom, and
    the more so the fewer images there are per feature. At 15 images per feature and 8 views it is right to a few
    percent.

    Args:
        between: (d, d) B, symmetric; as an estimate it need not be positive.
        total: (d, d) T = B + W, symmetric and positive semidefinite. Directions with less than `tolerance`
            of its largest eigenvalue, such as those of dead or repeated features, are left out.
        tolerance: by default `RELATIVE_TOLERANCE`. One direction a thousand times as strong as the others makes those
            as weak as that, however invariant they are; an audit goes down to what rounding leaves.

    Returns:
        Correlations, descending, not clipped, and directions; none where T is zero.

    Raises:
        ValueError: matrices that are not square, of different sizes or not finite.

    Source:
        Fisher, "Statistical methods for research workers" (1925), chapter 7, for one feature; many features are
        canonical correlations (Hotelling 1936) of two exchangeable views.
    """
    _check_pair(between=between, total=total)
    whitening = _whitening(total.double(), tolerance)
    ratio = whitening @ between.double() @ whitening.T
    values, vectors = torch.linalg.eigh((ratio + ratio.T) / 2)
    return IntraclassSpectrum(values.flip(0), vectors.flip(1).T @ whitening)


def cross_fit_correlations(half_1: Covariances, half_2: Covariances) -> Float64[Tensor, " r"]:
    """Return intraclass correlations whose directions and values come from different images.

    v_k of one half is scored on the other, v_k^T B v_k / v_k^T T v_k, and the two ways are averaged. What the
    directions owe to chance is lost on the other images, and what half of the images cannot find is missing: the
    estimate is too small at the top, where the plug-in one is too large.

    Args:
        half_1: covariances of one half of the images, as `Moments.halves` returns.
        half_2: covariances of the other half.

    Returns:
        (r,) correlations in the order in which the halves rank their directions (sorting them would let chance back
        in), not clipped; r is the smaller rank of the two. A direction without variance in the other half counts 0.

    Raises:
        ValueError: halves with different numbers of features, or what `intraclass_correlations` refuses.
    """
    _check_pair(half_1=half_1.total, half_2=half_2.total)
    directions_1, directions_2 = (
        intraclass_correlations(half.between, half.total).directions for half in (half_1, half_2)
    )
    rank = min(len(directions_1), len(directions_2))
    return (_scores(directions_1[:rank], half_2) + _scores(directions_2[:rank], half_1)) / 2


def descending(scores: Float[Tensor, " r"]) -> Float64[Tensor, " r"]:
    """Return the descending numbers that are closest to the scores in squares: neighbours in the wrong order pool.

    Scores of directions in the order in which other images rank them. Sorting them would let chance back in, for the
    luckiest would come first; pooled, directions that are equally invariant share one mean, which has no such bias.

    Source:
        Ayer et al., "An empirical distribution function for sampling with incomplete information" (Annals of
        Mathematical Statistics, 1955): pool adjacent violators.
    """
    pools: list[tuple[float, int]] = []
    for score in scores.tolist():
        mean, size = float(score), 1
        while pools and pools[-1][0] < mean:
            other, more = pools.pop()
            mean, size = (mean * size + other * more) / (size + more), size + more
        pools.append((mean, size))
    return torch.tensor([mean for mean, size in pools for _ in range(size)], dtype=torch.float64)


def bracket(
    statistic: Callable[[Tensor], float],
    covariances: Covariances,
    halves: tuple[Covariances, Covariances],
) -> tuple[float, float]:
    """Return a statistic of the plug-in and of the cross-fit correlations, which differ by what few images leave open.

    For statistics that go one way in every correlation in 0..1, such as the floor of the Pearson loss or a sum of the
    largest. It is no interval, and the truth need not lie between the two: with 16 correlations of 0.5 and 16 of 0,
    500 images and lambda = 0.005 both are too low (docs/calibration.md), for equal correlations spread by chance, and
    water-filling takes the largest of either. Audits correct both ends and add their errors. Wide apart: too few
    images.
    """
    plug_in = intraclass_correlations(covariances.between, covariances.total).clipped
    return float(statistic(plug_in)), float(statistic(cross_fit_correlations(*halves).clamp(0.0, 1.0)))


def wachter_edge(num_features: int, num_images: int, num_views: int | float) -> float:
    """Return the plug-in correlation that the best of d directions reaches when h knows nothing of the image.

    With c1 = d/(n-1) and c2 = d/(n(K-1)), the largest eigenvalue of MS_W^{-1} MS_B goes to
    F = ((1 + sqrt(c1 + c2 - c1 c2)) / (1 - c2))^2, which is rho = (F-1) / (F-1+K). Only correlations above it are
    evidence. The largest one scatters about the edge and exceeds it by a little in about one case of six. It takes the
    augmentation to be equally strong in every image; where it is not, features without any invariance go far above
    it, and `null_edge.SignFlips` has the edge of the images at hand.

    Args:
        num_features: d; with features that depend on each other linearly, the rank of T.
        num_images: n, at least 2.
        num_views: K, above 1; for unequal numbers of views their n_0.

    Returns:
        The edge, between 0 and 1. It is 1, so that nothing is evidence, from d = n(K-1), where W cannot have full
        rank.

    Raises:
        ValueError: a number below those.

    Source:
        Wachter, "The limiting empirical measure of multiple discriminant ratios" (Annals of Statistics, 1980).
    """
    for name, value, least in (("num_features", num_features, 1), ("num_images", num_images, 2)):
        if value < least:
            raise ValueError(f"{name}: got {value}, wanted at least {least}")
    if not num_views > 1:
        raise ValueError(f"num_views: got {num_views}, wanted above 1")
    c1, c2 = num_features / (num_images - 1), num_features / (num_images * (num_views - 1))
    if c2 >= 1:
        return 1.0
    excess = ((1 + math.sqrt(c1 + c2 - c1 * c2)) / (1 - c2)) ** 2 - 1
    return excess / (excess + num_views)


def num_above_edge(correlations: Float[Tensor, " r"], num_images: int, num_views: int | float) -> int:
    """Return how many plug-in correlations are above `wachter_edge` of r features: directions that are evidence.

    Args:
        correlations: (r,) plug-in correlations in any order.
        num_images: n that they were estimated from.
        num_views: K.

    Returns:
        The number of them, 0 to r.

    Raises:
        ValueError: what `wachter_edge` refuses.
    """
    edge = wachter_edge(max(1, len(correlations)), num_images, num_views)
    return int((correlations > edge).sum()) if edge < 1 else 0  # rounding may leave correlations just above 1


def view_information(correlations: Float[Tensor, " r"], num_images: int) -> float:
    """Return -1/2 sum_k log(1 - rho_k^2): what one view of an image tells about another, in nats.

    The mutual information of two views if h is Gaussian, and otherwise what a linear map can make use of. Plug-in
    correlations overstate it, for every one of the r directions adds its noise; cross-fit ones understate it.

    Args:
        correlations: (r,) intraclass correlations; negative ones count 0.
        num_images: n, at least 2; correlations are cut at 1 - 1/n, for n images cannot tell more from 1.

    Returns:
        The information, at least 0.

    Raises:
        ValueError: fewer than 2 images.
    """
    if num_images < 2:
        raise ValueError(f"num_images: got {num_images}, wanted at least 2")
    cut = correlations.double().clamp(0.0, 1.0 - 1.0 / num_images)
    return float(-torch.log1p(-cut.square()).sum() / 2)


def lidar(between: Float[Tensor, "d d"], within: Float[Tensor, "d d"], delta: float = LIDAR_DELTA) -> float:
    """Return LiDAR, the effective rank of (W + delta I)^{-1/2} B (W + delta I)^{-1/2}.

    exp(-sum_k p_k log p_k), with p_k the eigenvalues over their sum. With delta = 0 they are the odds
    rho_k/(1 - rho_k) of the invariance spectrum. A warning: the odds grow without bound, so that a few very
    invariant directions make LiDAR small however good the others are, and delta is measured in units of h^2, so
    that the scale of h matters. Compare at equal d, K and scale, with more images than features.

    Args:
        between: (d, d) B. The paper's is the covariance of the means over K views, B + W/K; the unbiased B gives
            directions without image no weight.
        within: (d, d) W, positive semidefinite.
        delta: at least 0; 0 needs W of full rank.

    Returns:
        The number of equally strong directions, 1 to d; 0 if no eigenvalue is positive. Negative ones count 0.

    Raises:
        ValueError: a negative delta, delta = 0 with W of lower rank, or matrices that are not square, of different
            sizes or not finite.

    Source:
        Thilak et al., "LiDAR: sensing linear probing performance in joint embedding SSL architectures" (ICLR 2024),
        with about 1000 images and 50 views; it leaves delta open.
    """
    _check_pair(between=between, within=within)
    if not delta >= 0:
        raise ValueError(f"delta: got {delta}, wanted at least 0")
    values, vectors = torch.linalg.eigh(within.double())
    rounding = len(values) * torch.finfo(torch.float64).eps * values.abs().max()
    scales = values.clamp(min=0.0) + delta
    if not (scales > (rounding if delta == 0 else 0.0)).all():
        raise ValueError("delta: got 0 with a W that is not of full rank, wanted above 0")
    whitening = (vectors / scales.sqrt()).T
    return effective_rank(torch.linalg.eigvalsh(whitening @ between.double() @ whitening.T).clamp(min=0.0))


def _whitening(total: Tensor, tolerance: float) -> Tensor:
    """(r, d) rows u_k / sqrt(s_k) over the eigenpairs of T with variance, so that it maps T to the identity."""
    values, vectors = torch.linalg.eigh(total)
    kept = values > tolerance * values.max().clamp(min=0.0)
    whitening: Tensor = (vectors[:, kept] / values[kept].sqrt()).T
    return whitening


def _scores(directions: Tensor, half: Covariances) -> Tensor:
    """v^T B v / v^T T v of each row v."""
    between, total = (
        torch.einsum("rd,de,re->r", directions, m.double(), directions) for m in (half.between, half.total)
    )
    return torch.where(total > 0, between / total, 0.0)


def check_square(name: str, matrix: Tensor) -> None:
    """Refuse what is no square matrix of finite values."""
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise ValueError(f"{name}: got shape {tuple(matrix.shape)}, wanted a square matrix")
    if not matrix.isfinite().all():
        raise ValueError(f"{name}: has values that are not finite")


def _check_pair(**matrices: Tensor) -> None:
    """Two square matrices of one size and finite."""
    for name, matrix in matrices.items():
        check_square(name, matrix)
    (_, first), (name, second) = matrices.items()
    if first.shape != second.shape:
        raise ValueError(f"{name}: got {len(second)} features, wanted {len(first)} as in the other")
