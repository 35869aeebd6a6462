"""Spectrum of features: the eigenvalues of their covariance, and how many dimensions those amount to.

None of the counts says how good features are: the features of a random network fill many dimensions.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

ROWS = 8192
"""Rows per float64 block."""
ROUNDING = 8.0
"""Rounding of features, in units of the resolution of their number format at their mean."""
RELATIVE_TOLERANCE = 1e-6
"""Share of the largest eigenvalue up to which others count as zero: features in float32 have 7 digits, and repeated or
dead ones leave eigenvalues of rounding far below; no training makes use of a direction this weak."""
RANK_ME_EPS = 1e-7
"""Added to the shares of RankMe: the paper's, the resolution of float32."""
ALPHA_WINDOW = (11, 100)
"""Ranks, from 1, that the power law is fitted to: the first ten eigenvalues follow none (Stringer et al. 2019)."""


def covariance_eigenvalues(h: Float[Tensor, "n d"]) -> Float64[Tensor, " d"]:
    """Return the eigenvalues of the unbiased covariance (1/(n-1)) sum_i (h_i - mean)(h_i - mean)^T.

    Args:
        h: (n, d) features, n at least 2.

    Returns:
        (d,) eigenvalues in descending order, never negative; at most n - 1 of them are positive. Those that
        rounding of h alone would give are 0, so that a collapsed network does not show a spectrum of noise.

    Raises:
        ValueError: fewer than 2 samples, or values that are not finite.
    """
    num_samples, num_features = h.shape
    if num_samples < 2:
        raise ValueError(f"h: got {num_samples} samples, wanted at least 2")
    mean = h.mean(dim=0, dtype=torch.float64)
    if not mean.isfinite().all():
        raise ValueError("h: has values that are not finite")
    found = _squared_singular_values(h, mean)[: num_samples - 1] / (num_samples - 1)
    eigenvalues = torch.zeros(num_features, dtype=torch.float64)
    eigenvalues[: len(found)] = torch.where(found > rounding_variance(h.dtype, mean), found, 0.0)
    return eigenvalues


def rounding_variance(dtype: torch.dtype, mean: Float64[Tensor, " d"]) -> float:
    """Return the variance, summed over features of that mean, that rounding to `dtype` can leave.

    It is (`ROUNDING` times the resolution of the format)^2 |mean|^2.
    """
    return float((ROUNDING * torch.finfo(dtype).eps) ** 2 * mean.square().sum())


def rounding_share(total: Float[Tensor, "d d"], mean: Float[Tensor, " d"], dtype: torch.dtype) -> float:
    """Return the variance that rounding to `dtype` can leave, as a share of the largest eigenvalue of T, at most 1.

    Of features with that mean and covariance; 1 where nothing but rounding is left, as of a constant network.
    """
    size = float(mean.double().square().sum() + total.double().trace())
    largest = float(torch.linalg.eigvalsh(total.double())[-1])
    return min(1.0, (ROUNDING * torch.finfo(dtype).eps) ** 2 * size / largest) if largest > 0 else 1.0


def effective_rank(eigenvalues: Float[Tensor, " d"]) -> float:
    """Return exp(-sum_k p_k log p_k) with p_k = eigenvalue_k / sum of eigenvalues: 1 to d, 0 for no variance.

    Roy and Vetterli define it for the singular values of a matrix; of the covariance matrix, which is symmetric
    and positive, the eigenvalues are the singular values.

    Args:
        eigenvalues: (d,) eigenvalues of a covariance, in any order.

    Returns:
        The number of equally strong directions with the same entropy.

    Raises:
        ValueError: negative eigenvalues.

    Source:
        Roy and Vetterli, "The effective rank: a measure of effective dimensionality" (EUSIPCO 2007),
        definition 1.
    """
    shares = _shares(eigenvalues)
    return float(torch.special.entr(shares).sum().exp()) if shares.any() else 0.0


def participation_ratio(eigenvalues: Float[Tensor, " d"]) -> float:
    """Return (sum_k eigenvalue_k)^2 / sum_k eigenvalue_k^2: 1 to d, 0 for no variance.

    It counts directions as `effective_rank` does and gives weak ones less weight; it is never larger.

    Args:
        eigenvalues: (d,) eigenvalues of a covariance, in any order.

    Returns:
        The number of equally strong directions with the same sum of squares.

    Raises:
        ValueError: negative eigenvalues.
    """
    shares = _shares(eigenvalues)
    return float(1.0 / shares.square().sum()) if shares.any() else 0.0


def numerical_rank(eigenvalues: Float[Tensor, " d"], tolerance: float = RELATIVE_TOLERANCE) -> int:
    """Return the number of eigenvalues above `tolerance` times the largest.

    A warning: it counts directions however weak, and the tolerance decides; noise alone makes it d.

    Args:
        eigenvalues: (d,) eigenvalues of a covariance, in any order.
        tolerance: share of the largest, 0 to below 1.

    Returns:
        0 to d.

    Raises:
        ValueError: negative eigenvalues, or a tolerance outside its range.
    """
    return len(_positive(eigenvalues, tolerance))


def condition_number(eigenvalues: Float[Tensor, " d"], tolerance: float = RELATIVE_TOLERANCE) -> float:
    """Return the largest eigenvalue over the smallest of those that `numerical_rank` counts.

    It is how much slower gradient descent learns along the weakest direction than along the strongest. A warning:
    directions without variance do not enter it, so that it is to be read beside the rank; and the smallest
    eigenvalue of a sample is too small if there are not many more samples than features.

    Args:
        eigenvalues: (d,) eigenvalues of a covariance, in any order.
        tolerance: share of the largest, 0 to below 1.

    Returns:
        1 to 1/tolerance; NaN for no variance.

    Raises:
        ValueError: negative eigenvalues, or a tolerance outside its range.
    """
    values = _positive(eigenvalues, tolerance)
    return float(values[0] / values[-1]) if len(values) else float("nan")


def rank_me(h: Float[Tensor, "n d"], eps: float = RANK_ME_EPS) -> float:
    """Return RankMe, exp(-sum_k p_k log p_k) with p_k = s_k / sum_l s_l + eps, s the singular values of h.

    Unlike `effective_rank` of the covariance it takes singular values, not their squares, and h uncentred: the mean
    of the features is one more direction, and often the strongest. A warning, its authors': it is for comparing
    runs of one method, on equally many samples, and a high rank is needed but not enough.

    Args:
        h: (n, d) features, not centred; the paper takes n = 25,600.
        eps: added to each share; the shares then add up to a little more than 1, as in the paper.

    Returns:
        The number of equally strong directions, 1 to min(n, d) but for eps; 0 if h is zero.

    Raises:
        ValueError: no samples, a negative eps, or values that are not finite.

    Source:
        Garrido et al., "RankMe: assessing the downstream performance of pretrained self-supervised representations
        by their rank" (ICML 2023), equation 1.
    """
    if not h.numel():
        raise ValueError(f"h: got shape {tuple(h.shape)}, wanted at least 1 sample and 1 feature")
    if not eps >= 0:
        raise ValueError(f"eps: got {eps}, wanted at least 0")
    if not h.isfinite().all():
        raise ValueError("h: has values that are not finite")
    squares = _squared_singular_values(h, torch.zeros(h.shape[1], dtype=torch.float64))
    # The root of what rounding leaves in the squares would be 1e-8 of the largest, not 1e-16.
    rounding = max(h.shape) * torch.finfo(torch.float64).eps * squares[0]
    shares = _shares(torch.where(squares > rounding, squares, 0.0).sqrt())
    return float(torch.special.entr(shares + eps).sum().exp()) if shares.any() else 0.0


class PowerLaw(NamedTuple):
    """The law eigenvalue_k = c k^{-alpha} that fits a spectrum best.

    Attributes:
        alpha: the exponent.
        r_squared: share of the variance of log eigenvalue_k that the law explains; far below 1 there is no power law.
        window: first and last rank of the fit, from 1, both included.
    """

    alpha: float
    r_squared: float
    window: tuple[int, int]


def alpha_req(eigenvalues: Float[Tensor, " d"], window: tuple[int, int] = ALPHA_WINDOW) -> PowerLaw:
    """Return the exponent of a power law, eigenvalue_k = c k^{-alpha}, fitted to the ranks in a window.

    Least squares of log eigenvalue_k on log k with weights 1/k, so that each octave of ranks weighs the same. The
    paper finds alpha near 1 in good representations. A warning: the window moves alpha more than most trainings do,
    so that only equal windows compare, and only where r_squared is near 1.

    Args:
        eigenvalues: (d,) eigenvalues of a covariance, in any order.
        window: first and last rank of the fit, from 1; it ends earlier where `numerical_rank` does.

    Returns:
        alpha, r_squared and the window that was used. alpha and r_squared are NaN for fewer than 3 ranks, r_squared
        as well for eigenvalues that are all equal.

    Raises:
        ValueError: negative eigenvalues, or a window that does not begin at 1 or later and end after that.

    Source:
        Agrawal et al., "alpha-ReQ: assessing representation quality in self-supervised learning by measuring
        eigenspectrum decay" (NeurIPS 2022); the weights are those of Stringer et al., "High-dimensional geometry of
        population responses in visual cortex" (Nature 2019), on whose fit it builds.
    """
    first, last = window
    if not 1 <= first < last:
        raise ValueError(f"window: got {window}, wanted first and last rank, 1 <= first < last")
    values = _positive(eigenvalues, RELATIVE_TOLERANCE)[first - 1 : last]
    used = (first, first - 1 + len(values))
    if len(values) < 3:
        return PowerLaw(float("nan"), float("nan"), used)
    ranks = torch.arange(first, first + len(values), dtype=torch.float64)
    weights = (1 / ranks) / (1 / ranks).sum()
    x, y = ranks.log(), values.log()
    x, y = x - weights @ x, y - weights @ y
    slope = (weights @ (x * y)) / (weights @ x.square())
    rest = (weights @ (y - slope * x).square()) / (weights @ y.square())
    explained = 1 - float(rest) if values[0] > values[-1] else float("nan")
    return PowerLaw(float(-slope), explained, used)


def _squared_singular_values(h: Tensor, mean: Tensor) -> Tensor:
    """Squared singular values of h - mean in float64, descending, min(n, d) of them, in blocks of rows."""
    num_samples, num_features = h.shape
    if num_samples < num_features:
        rows = h.double() - mean  # the Gram matrix has the same eigenvalues, and is the smaller one
        product = rows @ rows.T
    else:
        product = torch.zeros(num_features, num_features, dtype=torch.float64)
        for block in torch.split(h, ROWS):
            rows = block.double() - mean
            product += rows.T @ rows
    squares: Tensor = torch.linalg.eigvalsh(product).flip(0)
    return squares


def _positive(eigenvalues: Tensor, tolerance: float) -> Tensor:
    """Eigenvalues above `tolerance` times the largest, in float64, descending."""
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance: got {tolerance}, wanted 0 to below 1")
    values = eigenvalues.double().sort(descending=True).values
    if not len(values) or values[-1] < 0:
        raise ValueError(f"eigenvalues: got {values.tolist()[-1:]} as the smallest, wanted one or more, none below 0")
    return values[values > tolerance * values[0]]


def _shares(eigenvalues: Tensor) -> Tensor:
    """Eigenvalues as parts of their sum, in float64; zeros where the sum is zero."""
    values = eigenvalues.double()
    if (values < 0).any():
        raise ValueError(f"eigenvalues: the smallest is {float(values.min())}, wanted none below 0")
    total = values.sum()
    return values / total if total > 0 else torch.zeros_like(values)
