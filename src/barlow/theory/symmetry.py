"""How far C is from symmetric, what of that the batch size alone explains, and what is left for the pipelines.

Views that are exchangeable (two draws of one pipeline) have a symmetric complete C; only a batch of N images has not.
For features with the complete matrices T = I and C = diag(rho), as after whitening,

    E (C_ij - C_ji)^2 = 2 (1 - rho_i rho_j) / (N - 1)                   i != j,

so the asymmetry goes to 0 as features become invariant. Without any assumption on the features: swapping the two views
of some images changes nothing of the distribution, and C - C^T = 1/N sum_n (a_n b_n^T - b_n a_n^T) only changes the
signs of its terms. So over random swaps

    E |C - C^T|_F^2 = 2/N^2 sum_n (|a_n|^2 |b_n|^2 - <a_n, b_n>^2).

What stays above it comes from different pipelines: M = Sym + Skew, and no linear projector P removes the skew part of
P M P^T unless it drops directions.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

ROWS = 1024
"""Rows of the N x N matrices that are in memory at once."""


def asymmetry(c: Float[Tensor, "d d"]) -> float:
    """Return |C - C^T|_F / |C|_F: 0 for a symmetric matrix, 2 for a skew one, NaN for zero.

    Args:
        c: (d, d) cross-correlation or cross-covariance of two views.

    Returns:
        The asymmetry.

    Raises:
        ValueError: values that are not finite.
    """
    values = _finite("c", c)
    norm = float(values.norm())
    return float((values - values.T).norm()) / norm if norm > 0 else math.nan


def skew_share(m: Float[Tensor, "d d"]) -> float:
    """Return |(M - M^T)/2|_F / |M|_F, half of `asymmetry`: the part of M that is skew, 0 to 1.

    Its square is the share of |M|^2, because |M|^2 = |Sym|^2 + |Skew|^2. Of the complete matrix M = E ybar_A ybar_B^T
    it is 0 for i.i.d. views whatever the network, and measures what the paper's argument leaves out for pipelines that
    differ. A sampled matrix has chance asymmetry as well: see `swap_test`.

    Args:
        m: (d, d) complete cross-covariance or cross-correlation of two pipelines.

    Returns:
        The share; NaN for zero.

    Raises:
        ValueError: values that are not finite.
    """
    return asymmetry(m) / 2.0


def diagonalisable_features(m: Float[Tensor, "d d"], tolerance: float = 1e-9) -> int:
    """Return r - rank(Skew)/2: as many features as one linear projector can always decorrelate, P M P^T = I.

    The raw loss of a shared projector is 0 for D up to this many, whatever M with a positive symmetric part of rank r;
    above it only for special M. i.i.d. views have no skew part, and it is r. Singular values below `tolerance` times
    the largest of M count as 0. A symmetric part with negative eigenvalues is refused.
    """
    values = _finite("m", m)
    least = tolerance * float(torch.linalg.matrix_norm(values, ord=2))
    eigenvalues = torch.linalg.eigvalsh((values + values.T) / 2)
    if eigenvalues.min() < -least:
        raise ValueError(
            f"m: the symmetric part has the eigenvalue {float(eigenvalues.min()):.3g}, wanted none below 0"
        )
    skew = torch.linalg.svdvals((values - values.T) / 2)
    return int((eigenvalues > least).sum()) - int((skew > least).sum()) // 2


def expected_asymmetry(correlations: Float[Tensor, " d"], num_samples: int, c_norm: float) -> float:
    """Return sqrt(sum_{i != j} 2 (1 - rho_i rho_j) / (N - 1)) / |C|_F: the asymmetry of a batch of i.i.d. views.

    For features that are uncorrelated with each other and near Gaussian; `swap_test` needs neither. N - 1 and not N,
    because centring takes one sample, as in E C_ij^2 = 1/(N - 1).

    Args:
        correlations: (d,) rho_i, the intraclass correlations of the features: the diagonal of C.
        num_samples: N, at least 2.
        c_norm: |C|_F of the matrix to compare with.

    Returns:
        The expected asymmetry (root mean square); NaN for c_norm 0.

    Raises:
        ValueError: fewer than 2 samples, a negative norm, or correlations outside [-1, 1].
    """
    if not c_norm >= 0:
        raise ValueError(f"c_norm: got {c_norm}, wanted 0 or more")
    pairs = _pair_variances(correlations, num_samples)
    return math.sqrt(2.0 * float(pairs.sum())) / c_norm if c_norm > 0 else math.nan


def symmetry_z(c: Float[Tensor, "d d"], correlations: Float[Tensor, " d"], num_samples: int) -> float:
    """Return by how many standard deviations |C - C^T|_F^2 is above what N samples of i.i.d. views give.

    With v_ij = 2 (1 - rho_i rho_j) / (N - 1) the sum Q of (C_ij - C_ji)^2 over i < j has mean sum v_ij and variance
    2 sum v_ij^2: z = (Q - sum v_ij) / sqrt(2 sum v_ij^2). Under the assumptions of `expected_asymmetry`, whose
    arguments it takes. About normal for many features; far above 3: the two pipelines differ. NaN where all
    correlations are 1 and chance alone gives no asymmetry.
    """
    values = _finite("c", c)
    if len(correlations) != len(values) or len(values) < 2:
        raise ValueError(
            f"correlations: got {len(correlations)} for a matrix of {len(values)}, wanted as many, at least 2"
        )
    pairs = _pair_variances(correlations, num_samples)
    observed = float((values - values.T).square().sum()) / 2.0
    deviation = math.sqrt(2.0 * float(pairs.square().sum()))
    return (observed - float(pairs.sum())) / deviation if deviation > 0 else math.nan


@dataclass(frozen=True)
class SwapTest:
    """Asymmetry of a batch against random swaps of its views.

    Attributes:
        asymmetry: |C - C^T|_F / |C|_F, what is there.
        expected: the same in root mean square over random swaps: what the number of samples alone explains.
        z: (|C - C^T|^2 - its mean over swaps) / its standard deviation over swaps; NaN if swaps change nothing.
    """

    asymmetry: float
    expected: float
    z: float

    @property
    def excess(self) -> float:
        """Asymmetry with that of the sampling taken off, sqrt(max(0, asymmetry^2 - expected^2))."""
        return math.sqrt(max(0.0, self.asymmetry**2 - self.expected**2))


def swap_test(z_a: Float[Tensor, "n d"], z_b: Float[Tensor, "n d"]) -> SwapTest:
    """Compare |C - C^T|_F with its distribution when the two views of each image are swapped at random.

    C is the correlation of features standardised by mean and deviation of both views together: those do not change
    with swaps, which makes mean and variance below exact for any features, any d and any N. With
    M_n = a_n b_n^T - b_n a_n^T and random signs, N^2 |C - C^T|^2 has mean sum_n |M_n|^2 and variance
    2 sum_{n != m} <M_n, M_m>^2, where <M_n, M_m> = 2 (<a_n, a_m> <b_n, b_m> - <a_n, b_m> <b_n, a_m>).
    It takes about 4 N^2 D multiplications. The images have to be independent of each other; NaN throughout for features
    without variance.
    """
    a, b = _standardised_together(z_a, z_b)
    num_samples = len(a)
    c = a.T @ b / num_samples
    norm = float(c.norm())
    if norm == 0:
        return SwapTest(math.nan, math.nan, math.nan)
    own, squares = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for start in range(0, num_samples, ROWS):
        rows = slice(start, start + ROWS)
        products = 2.0 * ((a[rows] @ a.T) * (b[rows] @ b.T) - (a[rows] @ b.T) * (b[rows] @ a.T))
        diagonal = products.diagonal(offset=start)
        own += diagonal.sum()
        squares += products.square().sum() - diagonal.square().sum()
    mean, deviation = float(own) / num_samples**2, math.sqrt(2.0 * float(squares)) / num_samples**2
    observed = float((c - c.T).square().sum())
    z = (observed - mean) / deviation if deviation > 0 else math.nan
    return SwapTest(math.sqrt(observed) / norm, math.sqrt(max(0.0, mean)) / norm, z)


def asymmetry_and_chance(z_a: Float[Tensor, "n d"], z_b: Float[Tensor, "n d"]) -> tuple[float, float]:
    """Return the first two numbers of `swap_test`, asymmetry and what chance explains of it, without the third.

    That takes the N x N matrices of all pairs of samples, and these two do not: n d^2 multiplications.
    """
    a, b = _standardised_together(z_a, z_b)
    c = a.T @ b / len(a)
    norm = float(c.norm())
    if norm == 0:
        return math.nan, math.nan
    own = 2.0 * (a.square().sum(dim=1) * b.square().sum(dim=1) - (a * b).sum(dim=1).square()).sum()
    return float((c - c.T).norm()) / norm, math.sqrt(max(0.0, float(own))) / len(a) / norm


def _standardised_together(z_a: Tensor, z_b: Tensor) -> tuple[Tensor, Tensor]:
    """Both views in float64, centred and divided by mean and deviation over the two; constant features become 0."""
    if z_a.shape != z_b.shape or len(z_a) < 2:
        raise ValueError(f"z_a, z_b: got shapes {tuple(z_a.shape)} and {tuple(z_b.shape)}, wanted the same, n >= 2")
    both = _finite("z_a, z_b", torch.stack([z_a, z_b]))
    both = both - both.mean(dim=(0, 1))
    variance = both.square().mean(dim=(0, 1))
    resolution = torch.finfo(z_a.dtype).eps * torch.maximum(z_a.abs().amax(dim=0), z_b.abs().amax(dim=0)).double()
    scale = torch.where(variance.sqrt() > 8.0 * resolution, variance.rsqrt(), 0.0)
    scaled = both * scale
    return scaled[0], scaled[1]


def _pair_variances(correlations: Tensor, num_samples: int) -> Tensor:
    """v_ij = 2 (1 - rho_i rho_j) / (N - 1) for i < j."""
    if num_samples < 2:
        raise ValueError(f"num_samples: got {num_samples}, wanted at least 2")
    rho = _finite("correlations", correlations)
    if rho.numel() and float(rho.abs().max()) > 1.0 + 1e-9:
        raise ValueError(f"correlations: got {float(rho.abs().max()):.3g} in size, wanted -1 to 1")
    first, second = torch.triu_indices(len(rho), len(rho), offset=1)
    return (2.0 * (1.0 - rho[first] * rho[second]) / (num_samples - 1)).clamp(min=0)


def _finite(name: str, values: Tensor) -> Tensor:
    if not values.isfinite().all():
        raise ValueError(f"{name}: has values that are not finite")
    return values.double()
