"""Codes that use all prototypes equally: the Sinkhorn-Knopp iteration of SwAV (Caron et al. 2020, section 3.1).

    Q = argmax  <Q, S> + eps H(Q)   over Q >= 0 with   sum_k Q_bk = 1,   sum_b Q_bk = B / K.

In logarithms, so that no eps overflows:  log Q = S / eps + u_k + v_b,  where u and v are set in turn.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from barlow.collectives import Gather, own_rows

EPSILON = 0.05
"""Weight of the entropy in the official code."""


@torch.no_grad()
def sinkhorn(
    scores: Float[Tensor, "b k"],
    *,
    epsilon: float = EPSILON,
    num_iterations: int = 3,
    gather: Gather = own_rows,
) -> Float[Tensor, "b k"]:
    """Turn scores into codes: a distribution over prototypes per sample, each prototype used about equally often.

        log Q = S / eps;   num_iterations times:  Q_bk /= sum_b' Q_b'k  (all processes),   Q_bk /= sum_k' Q_bk'.

    It ends on the samples, so every code sums to exactly 1, while the prototypes' shares reach B / K only in the
    limit. The constants of the official code (sum of Q, B and K) cancel in that last step. Float32 at least, also
    under autocast, and no gradient: codes are targets.

    Args:
        scores: S = z c^T, of the samples of this process.
        epsilon: eps, the weight of the entropy; 0.05 in the official code. Large: uniform codes.
        num_iterations: of both steps; 3 in the paper, 0 gives the softmax of S / eps.
        gather: rows of all processes, `barlow.collectives.gather_rows` in a distributed run; one row of K numbers
            per process and iteration, and no gradient is asked for.

    Returns:
        Codes q of the samples of this process, float32 or float64.

    Raises:
        ValueError: an epsilon that is not positive, a negative number of iterations.

    Source:
        facebookresearch/swav, main_swav.py, distributed_sinkhorn, there with exp(S / eps).
    """
    if not 0 < epsilon < math.inf:
        raise ValueError(f"epsilon: got {epsilon}, wanted a positive number")
    if num_iterations < 0:
        raise ValueError(f"num_iterations: got {num_iterations}, wanted 0 or more")
    log_q = scores.to(torch.promote_types(scores.dtype, torch.float32)) / epsilon
    for _ in range(num_iterations):
        used = gather(log_q.logsumexp(dim=0, keepdim=True)).logsumexp(dim=0)
        log_q = (log_q - used).log_softmax(dim=1)
    codes: Tensor = log_q.softmax(dim=1)
    return codes


@torch.no_grad()
def effective_prototypes(mean_code: Float[Tensor, " k"]) -> Float[Tensor, ""]:
    """exp(H(q)) of the mean code q of a batch: how many prototypes are in use, from 1 (collapse) to K."""
    in_use: Tensor = torch.special.entr(mean_code).sum().exp()
    return in_use
