"""The optimal projector, ours: no projector at all; the loss after the linear one that whitens, in closed form.

h_a, h_b: features of two views.  T: their total covariance.  B: their symmetrised cross-covariance.  With T = L L^T,

    R = L^{-1} B L^{-T},        loss = |I - R|_F^2 = sum_i (1 - rho_i)^2.

R is what Barlow Twins has for C behind the projector L^{-1}, and the loss is its loss with lambda = 1; any other
projector that whitens, T^{-1/2} say, differs by a rotation, which the norm does not see. The eigenvalues rho_i say how
much of the variance of a direction is the image; they are the canonical correlations of the two views. The projector
is solved for in every batch, so it cannot do the backbone's work: all that the loss falls by, the backbone did.

Without shrinkage no invertible linear map of h changes the loss, and three things follow. A direction of next to no
variance counts as much as any other, so nothing holds the spectrum of h together. The covariances of a batch are
noisy: for independent views the loss is not d but about d (1 + (d + 1) / 2N), and the network can learn to fit that
noise; N >= 4d keeps it small. And at N <= d at least d - N + 1 of the rho_i are -1, whatever h is.

So T is shrunk towards its mean variance, T' = (1 - s) T + s tr(T)/d I (the target of Ledoit & Wolf 2004). A weak
direction then has rho near 0 and costs 1 until it carries variance, a strong one can exceed 1: the loss is 0 for
features that are invariant *and* white. At s = 1 one scale for all features remains and nothing is whitened.
Where N is small beside d, a linear layer to D = N/2 features before the loss did more than shrinkage could
(Fashion-MNIST, benchmarks/README.md): its subspace is then learnt, and D stands for d everywhere above.

Relatives: W-MSE (Ermolov et al. 2021), which whitens each view and compares samples; deep CCA, which sums rho; VAMP-2,
which sums rho^2. Without shrinkage the loss is d - 2 VAMP-1 + VAMP-2; see docs/related-work.md.
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.methods.forward import TwoViews, check_embeddings
from barlow.methods.heads import HeadSpec
from barlow.seams import Terms
from barlow.statistics.collectives import AllMean, identity, known_samples, mean_for
from barlow.statistics.correlation import EPS, exact_dtype
from barlow.statistics.triangular import cholesky, solve_lower

SHRINKAGE = 0.2
"""Chosen on held-out digits with N = d: 0.1 to 0.3 did equally well, 0.01 much worse; see benchmarks/README.md."""


def optimal_projector_loss(
    h_a: Float[Tensor, "n d"],
    h_b: Float[Tensor, "n d"],
    *,
    shrinkage: float = SHRINKAGE,
    all_mean: AllMean | None = None,
) -> Terms:
    """Measure how far the whitened features of two views are from being the same: |I - R|_F^2.

        T' = (1 - s) T + s tr(T)/d I = L L^T,      R = L^{-1} B L^{-T},      loss = sum_i (1 - rho_i)^2.

    Statistics and factors are in float32 (float64 for float64 input), also under autocast.

    Args:
        h_a: features of view a, straight from the backbone.
        h_b: features of view b, row by row of the same samples.
        shrinkage: s in [0, 1]; how far T goes towards its mean variance.
        all_mean: mean over the samples of all processes; None: those of torch.distributed's default group, where there
            is one, and `barlow.identity` for this process alone. With one of your own
            the errors below go by the own samples, unless it tells N: `barlow.MeanOver`.

    Returns:
        Terms with two parts that add up to the total, "invariance" = d (1 - mean rho)^2 and "spread" =
        sum_i (rho_i - mean rho)^2, and the monitor "mean_rho".

    Raises:
        ValueError: shapes that differ or are not (N, D), a shrinkage outside [0, 1], without shrinkage N <= d or
            features that depend on one another linearly.

    Source:
        Ours; derived, with its relatives, at the top of this file.
    """
    all_mean = mean_for(h_a, all_mean)
    _check(h_a, h_b, shrinkage, all_mean)
    with torch.autocast(device_type=h_a.device.type, enabled=False):
        dtype = exact_dtype(h_a, h_b)
        total, between = covariances(h_a.to(dtype), h_b.to(dtype), all_mean=all_mean)
        r = whitened(total, between, shrinkage)
        d = len(r)
        mean_rho = r.diagonal().mean()
        invariance = d * (1 - mean_rho).square()
        spread = (r - mean_rho * torch.eye(d, device=r.device, dtype=dtype)).square().sum()
    return Terms(invariance + spread, {"invariance": invariance, "spread": spread, "mean_rho": mean_rho.detach()})


def whitened(total: Float[Tensor, "d d"], between: Float[Tensor, "d d"], shrinkage: float) -> Float[Tensor, "d d"]:
    """Return R = L^{-1} B L^{-T}, with L L^T = T' the shrunk total covariance."""
    factor = _cholesky(shrunk(total, shrinkage))
    return solve_lower(factor, solve_lower(factor, between).T)


def covariances(
    h_a: Float[Tensor, "n d"], h_b: Float[Tensor, "n d"], *, all_mean: AllMean = identity
) -> tuple[Float[Tensor, "d d"], Float[Tensor, "d d"]]:
    """Return the total covariance T of both views and their symmetrised cross-covariance B.

    Both around the mean of both views, so that a shift between two pipelines counts as augmentation.

        s = (h_a + h_b)/2 - mean,   e = (h_a - h_b)/2:      T = E s s^T + E e e^T,   B = E s s^T - E e e^T.

    T - B = 2 E e e^T, the covariance within an image, is never negative.
    """
    n = h_a.shape[0]
    common = (h_a + h_b) / 2
    common = common - all_mean(common.mean(dim=0), n)
    differing = (h_a - h_b) / 2
    common_square, differing_square = all_mean(torch.stack([common.T @ common, differing.T @ differing]) / n, n)
    return common_square + differing_square, common_square - differing_square


def shrunk(covariance: Float[Tensor, "d d"], shrinkage: float) -> Float[Tensor, "d d"]:
    """Return (1 - s) T + s (tr(T)/d + eps) I; eps keeps a collapsed network's gradients finite where s > 0."""
    d = covariance.shape[0]
    ridge = shrinkage * (covariance.diagonal().mean() + EPS)
    return (1 - shrinkage) * covariance + ridge * torch.eye(d, device=covariance.device, dtype=covariance.dtype)


def optimal_projector(
    backbone: nn.Module, head: HeadSpec, num_features: int, *, shrinkage: float = SHRINKAGE
) -> TwoViews:
    """Build the method with the numbers of a recipe.

    Its projector is "none", or where the batch is small for the features a narrow linear layer such as "linear-64",
    whose output the loss then takes for the features.
    """
    return TwoViews(backbone, head.build(num_features), partial(optimal_projector_loss, shrinkage=shrinkage))


def _cholesky(matrix: Tensor) -> Tensor:
    """Return L with L L^T = matrix. A matrix that is not finite gives no error: the loop names what went bad.

    Nor does any on a GPU, which is not waited for: there L is not a number, and so is the loss.
    """
    factor, failed = cholesky(matrix)
    if not matrix.is_cpu or torch.compiler.is_compiling():  # a graph has no branch
        return torch.where(failed > 0, torch.nan, factor)
    if failed and bool(matrix.isfinite().all()):
        raise ValueError(
            "shrinkage: got too little for these features, whose covariance has no inverse (constant features, or "
            "some that are sums of others); wanted more than 0"
        )
    return factor


def _check(h_a: Tensor, h_b: Tensor, shrinkage: float, all_mean: AllMean) -> None:
    check_embeddings(h_a=h_a, h_b=h_b)
    if not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage: got {shrinkage}, wanted a number from 0 to 1")
    own, d = h_a.shape
    n = known_samples(own, all_mean) or own  # where N is not told, the own ones have to do
    if n < 2:
        raise ValueError(f"h_a, h_b: got {n} sample, wanted at least 2: covariances are statistics of the batch")
    if shrinkage == 0 and n <= d:
        raise ValueError(
            f"shrinkage: got 0 with {n} samples of {d} features, wanted more than 0, or at least {d + 1} samples "
            f"(better {4 * d}): with fewer, some rho are -1 whatever the features are"
        )
