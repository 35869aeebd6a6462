"""Two losses of embeddings, estimated from one pair of views of each sample: complete, and of a batch of N.

The complete loss is that of C over all samples and all pairs of their views. n samples with one pair each are a sample
of it, so both losses come with an error over samples.
"""

import math
from collections.abc import Callable
from statistics import fmean, stdev

import torch
from jaxtyping import Float
from torch import Tensor

from barlow.methods.barlow_twins import Bias, Normalization, barlow_twins_loss
from barlow.statistics.collectives import identity
from barlow.theory.moments import NUM_BLOCKS
from barlow.theory.standard_errors import Jackknifed, over_images

BATCHES = 16
"""Batches behind the batch loss."""
MOST_WORK = 1e11
"""Multiplications that all replicates of one figure may take in an audit of a minute, 5 to 8 s of one core that does
nothing else; beyond, it has no error."""


def estimated_loss(
    z_a: Float[Tensor, "n p"], z_b: Float[Tensor, "n p"], *, redundancy_weight: float, normalization: Normalization
) -> float:
    """Return the loss of the complete C, estimated from one pair of views of each sample, without the sample's bias.

    Whitened views: with it.
    """
    bias: Bias = "kept" if normalization == "whiten" else "removed"
    terms = barlow_twins_loss(
        z_a, z_b, redundancy_weight=redundancy_weight, normalization=normalization, bias=bias, all_mean=identity
    )
    return float(terms.total)


def complete_loss(
    z_a: Float[Tensor, "n p"],
    z_b: Float[Tensor, "n p"],
    *,
    redundancy_weight: float,
    normalization: Normalization,
    num_blocks: int = NUM_BLOCKS,
    work: float = math.inf,
) -> Jackknifed:
    """Return `estimated_loss` with replicates over samples, if those take no more multiplications than `work`."""
    n, width = z_a.shape

    def loss(rows: Tensor) -> float:
        too_few = normalization == "whiten" and len(rows) <= width < n
        if too_few:  # a replicate that does not exist leaves the error unknown
            return math.nan
        return estimated_loss(z_a[rows], z_b[rows], redundancy_weight=redundancy_weight, normalization=normalization)

    return with_replicates(loss, torch.arange(n), width, num_blocks, work)


def with_replicates(
    loss: Callable[[Tensor], float], rows: Tensor, width: int, num_blocks: int, work: float = math.inf
) -> Jackknifed:
    """Return a loss of D outputs with its replicates, NaN where those would take too long: then it has no error.

    `loss` takes the places of the samples that count; `rows` has those of all, (n,).
    """
    n = len(rows)
    if float(num_blocks) * n * width * min(n, width) > min(MOST_WORK, work):
        unknown = torch.full((min(num_blocks, n),), math.nan, dtype=torch.float64)
        return Jackknifed(torch.tensor(loss(rows), dtype=torch.float64), unknown)
    return over_images(loss, n, num_blocks)


def batch_loss(
    z_a: Float[Tensor, "n p"],
    z_b: Float[Tensor, "n p"],
    *,
    batch_size: int,
    redundancy_weight: float,
    normalization: Normalization,
) -> tuple[float, float]:
    """Return the mean loss of random batches of N <= n samples, and the error that their choice leaves in it.

    Batches share samples: there are no more than n/N that know nothing of one another.
    """
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(BATCHES):
        rows = torch.randperm(len(z_a), generator=generator)[:batch_size]
        terms = barlow_twins_loss(
            z_a[rows],
            z_b[rows],
            redundancy_weight=redundancy_weight,
            normalization=normalization,
            all_mean=identity,
        )
        losses.append(float(terms.total))
    return fmean(losses), stdev(losses) / math.sqrt(min(BATCHES, max(1.0, len(z_a) / batch_size)))


def sampling_bias(
    z_a: Float[Tensor, "n p"],
    z_b: Float[Tensor, "n p"],
    complete: float,
    *,
    batch_size: int,
    redundancy_weight: float,
    normalization: Normalization,
) -> tuple[float, float, int] | None:
    """Return what a batch of N adds to the complete loss, its error, and the size of the batches it was measured in.

    Measured in random batches of N samples. There have to be several such batches, N <= n/2; for a larger N it is what
    batches of n/2 add, times (n/2)/N: to first order all of it falls as 1/N (docs/claims.md, C16). The error is what
    the choice of batches leaves. None for "whiten" where N is above n/2: its complete loss has a bias itself.
    """
    size = min(batch_size, len(z_a) // 2)
    if normalization == "whiten" and size < batch_size:
        return None
    mean, error = batch_loss(
        z_a, z_b, batch_size=size, redundancy_weight=redundancy_weight, normalization=normalization
    )
    return (mean - complete) * size / batch_size, error * size / batch_size, size
