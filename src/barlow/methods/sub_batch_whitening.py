"""Whitening in sub-batches: random parts of a batch, each brought to covariance I by its own Cholesky factor.

    y = (z - mean) L^-T,      L L^T = S = (z - mean)^T (z - mean) / (M - 1)      for the M rows of one sub-batch.

Source: Ermolov et al. 2021 (W-MSE, arXiv 2007.06346), section 3; htdt/self-supervised, methods/whitening.py.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

FALLBACK_RIDGE = 1e-4
"""Added to a covariance without a Cholesky factor, as a share of its mean variance."""


def random_sub_batches(num_samples: int, w_size: int, iterations: int = 1) -> list[Int[Tensor, "_"]]:
    """Cut `iterations` random orders of a batch into sub-batches of at least `w_size` rows.

    The orders come from torch's own CPU generator. The loop keeps its state in the checkpoint, of every process its
    own, so a run that is resumed draws what it would have drawn, and `torch.manual_seed` replays it.

    Args:
        num_samples: n, rows of the batch on this process.
        w_size: smallest size of a sub-batch; where n is no multiple of it, all n // w_size parts are a little
            larger. A batch that is smaller is one sub-batch: a sample that cannot be read ends no run. (The official
            code stops in both cases.)
        iterations: number of orders; the loss is their mean.

    Returns:
        Row numbers of each sub-batch; those of one order hold every row once.

    Raises:
        ValueError: no order at all.
    """
    if iterations < 1:
        raise ValueError(f"iterations: got {iterations}, wanted at least 1")
    orders = [torch.randperm(num_samples) for _ in range(iterations)]
    return [part for order in orders for part in order.tensor_split(max(1, num_samples // w_size))]


def whiten_rows(z: Float[Tensor, "*v m d"], *, shrinkage: float = 0.0) -> Float[Tensor, "*v m d"]:
    """Return the rows of z with mean 0 and covariance I (divided by M - 1), with gradient through S and its factor.

    A covariance that has no Cholesky factor, such as that of a constant feature, gets 1e-4 of its mean variance
    added to its diagonal: what was constant becomes 0 and the gradient stays finite. (The official code stops.)

    Args:
        z: one sub-batch, or one per view.
        shrinkage: eps of (1 - eps) S + eps I, which is factored instead of S; 0 in the official code.

    Returns:
        y of the same shape; triangular: feature 1 is scaled only, feature i is a mixture of the first i.

    Raises:
        ValueError: fewer than D + 1 rows, where no covariance has full rank; a shrinkage outside [0, 1].
    """
    m, d = z.shape[-2:]
    if m <= d:
        raise ValueError(
            f"z: got {m} rows of {d} features to whiten, wanted at least {d + 1} rows. Sub-batches are formed within "
            "a process: use a larger batch_size, or a smaller w_size and projector"
        )
    if not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage: got {shrinkage}, wanted a number in [0, 1]")
    centred = z - z.mean(dim=-2, keepdim=True)
    covariance = centred.mT @ centred / (m - 1)
    eye = torch.eye(d, dtype=z.dtype, device=z.device)
    if shrinkage:
        covariance = (1 - shrinkage) * covariance + shrinkage * eye
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if bool((failed > 0).any()):
        # Absolute too, for features that are all constant to rounding.
        ridge = FALLBACK_RIDGE * covariance.diagonal(dim1=-2, dim2=-1).mean(dim=-1).detach() + torch.finfo(z.dtype).eps
        ridge = torch.where(failed > 0, ridge, torch.zeros_like(ridge))
        # Not the function that raises: what is not finite shows in the loss, where the loop names it.
        factor, _ = torch.linalg.cholesky_ex(covariance + ridge[..., None, None] * eye)
    white: Tensor = torch.linalg.solve_triangular(factor, centred.mT, upper=False).mT
    return white
