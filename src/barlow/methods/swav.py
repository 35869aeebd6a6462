"""SwAV (Caron et al. 2020, arXiv 2006.09882): predict the code of one view from another view.

z = embedding of length 1, c_k = prototype of length 1, S = z c^T:
    q_i = sinkhorn(S_i)   for the views i in A (the two large ones), without gradient
    L = mean over i in A and over the other V - 1 views v of   - <q_i, log softmax(S_v / tau)>      (equation 1)
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

from barlow.methods.forward import represent_together
from barlow.methods.heads import HeadSpec
from barlow.seams import Method, Terms
from barlow.statistics.collectives import (
    AllMean,
    Gather,
    all_mean_here,
    gather_for,
    gather_rows,
    mean_for,
    num_processes,
    own_rows,
)
from barlow.statistics.correlation import exact_dtype

TEMPERATURE = 0.1
"""tau of the official code."""
EPSILON = 0.05
"""Weight of the entropy in the official code."""
NUM_CODED = 2
"""Views that get codes: the first two, which are the large ones of a multi-crop (official: crops_for_assign 0 1)."""


def swav_loss(
    scores: Float[Tensor, "v n k"],
    codes: Float[Tensor, "a n k"],
    *,
    temperature: float = TEMPERATURE,
    all_mean: AllMean | None = None,
) -> Terms:
    """Predict the code of each of the first A views from every other view.

        L = 1/A sum_{i < A} 1/(V-1) sum_{v != i} 1/N sum_b - <q_i^b, log softmax(S_v^b / tau)>.

    Float32 at least, also under autocast. No gradient to the codes.

    Args:
        scores: S of all V views; those with codes come first.
        codes: q of the first A views, rows that sum to 1, as `sinkhorn` returns them.
        temperature: tau.
        all_mean: mean over the samples of all processes; None: those of torch.distributed's default group, where there
            is one, and `barlow.identity` for this process alone.

    Returns:
        Terms with parts "divergence" (of the predictions from the codes) and "code_entropy", which add up to the
        total, and the monitor "prototypes_in_use": exp of the entropy of the mean code. Collapse: the total is
        ln K, and so is the entropy of the codes.

    Raises:
        ValueError: shapes that do not fit, fewer than two views, a temperature that is not positive.

    Source:
        Equation 1 and section 3.3 of the paper; facebookresearch/swav, main_swav.py, train.
    """
    _check(scores, codes, temperature)
    all_mean = mean_for(scores, all_mean)
    num_views, n, _ = scores.shape
    with torch.autocast(device_type=scores.device.type, enabled=False):
        log_p = (scores.to(exact_dtype(scores)) / temperature).log_softmax(dim=-1)
        q = codes.detach().to(log_p.dtype)
        # All pairs (i, v) less those with v = i.
        agreement = (q.sum(dim=0) * log_p.sum(dim=0)).sum() - (q * log_p[: len(q)]).sum()
        total = all_mean(-agreement / (n * len(q) * (num_views - 1)), n)
        with torch.no_grad():
            entropy = all_mean(torch.special.entr(q).sum(dim=-1).mean(), n)
            in_use = effective_prototypes(all_mean(q.mean(dim=(0, 1)), n))
    return Terms(total, {"divergence": total - entropy, "code_entropy": entropy, "prototypes_in_use": in_use})


@torch.no_grad()
def effective_prototypes(mean_code: Float[Tensor, " k"]) -> Float[Tensor, ""]:
    """exp(H(q)) of the mean code q of a batch: how many prototypes are in use, from 1 (collapse) to K."""
    in_use: Tensor = torch.special.entr(mean_code).sum().exp()
    return in_use


def _check(scores: Tensor, codes: Tensor, temperature: float) -> None:
    if scores.ndim != 3 or codes.ndim != 3 or scores.shape[1:] != codes.shape[1:] or scores.shape[0] < 2:
        raise ValueError(
            f"scores, codes: got shapes {tuple(scores.shape)} and {tuple(codes.shape)}, wanted (V, N, K) with at "
            "least 2 views and (A, N, K)"
        )
    if not 1 <= codes.shape[0] <= scores.shape[0]:
        raise ValueError(f"codes: got {codes.shape[0]} views, wanted 1 to {scores.shape[0]}: no more than scores has")
    if temperature <= 0:
        raise ValueError(f"temperature: got {temperature}, wanted a positive number")


# --- Codes that use all prototypes equally: Sinkhorn-Knopp (section 3.1).
#
#     Q = argmax  <Q, S> + eps H(Q)   over Q >= 0 with   sum_k Q_bk = 1,   sum_b Q_bk = B / K.
#
# In logarithms, so that no eps overflows:  log Q = S / eps + u_k + v_b,  where u and v are set in turn.


@torch.no_grad()
def sinkhorn(
    scores: Float[Tensor, "b k"],
    *,
    epsilon: float = EPSILON,
    num_iterations: int = 3,
    gather: Gather | None = None,
) -> Float[Tensor, "b k"]:
    """Turn scores S = z c^T into codes: a distribution over prototypes per sample, each used about equally often.

        log Q = S / eps;   num_iterations times:  Q_bk /= sum_b' Q_b'k  (all processes),   Q_bk /= sum_k' Q_bk'.

    It ends on the samples, so every code sums to exactly 1, while the prototypes' shares reach B / K only in the limit.
    The constants of the official code (sum of Q, B and K) cancel in that last step. Float32 at least, also under
    autocast, and no gradient: codes are targets.

    eps is the weight of the entropy, 0.05 in the official code; large: uniform codes. The paper has 3 iterations, 0
    gives the softmax of S / eps. Scores and codes are those of the samples of this process; `gather` takes one row of K
    numbers per process and iteration. None: of all processes of torch.distributed's default group, where there is one.

    Source: facebookresearch/swav, main_swav.py, distributed_sinkhorn, there with exp(S / eps).
    """
    if not 0 < epsilon < math.inf:
        raise ValueError(f"epsilon: got {epsilon}, wanted a positive number")
    if num_iterations < 0:
        raise ValueError(f"num_iterations: got {num_iterations}, wanted 0 or more")
    gather = gather_for(scores, gather)
    log_q = scores.to(exact_dtype(scores)) / epsilon
    for _ in range(num_iterations):
        used = gather(log_q.logsumexp(dim=0, keepdim=True)).logsumexp(dim=0)
        log_q = (log_q - used).log_softmax(dim=1)
    codes: Tensor = log_q.softmax(dim=1)
    return codes


# --- The queue: embeddings of earlier batches, so that a small batch is assigned to prototypes among many samples.


class EmbeddingQueue(nn.Module):
    """The last embeddings of every view that gets codes, newest first, kept in the state dict.

    Every process holds the queue of all processes, so that one state dict resumes them all and another number of
    processes goes on with the same queue; each then works on its share. (The official code keeps a queue per
    process, outside the model.) Only whole batches count: a length of 3840 means 3840 rows with batches of 256,
    3500 with batches of 500, as in the official code.

    Attributes:
        rows: (views with codes, length, D).
        filled: how many rows were pushed so far, at most `length`.
    """

    rows: Tensor
    filled: Tensor

    def __init__(self, length: int, num_features: int, *, num_views: int = 2) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(num_views, length, num_features))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        self._known: int | None = 0  # `filled` as Python has it: asking the buffer would wait for a GPU in every step
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]

    def share(self, batch_size: int) -> Float[Tensor, "a m d"]:
        """Return the rows that this process works on: every W-th, or none while the queue is not full.

        `batch_size` is N, the samples of one step on all processes; ValueError where it is larger than the queue.
        """
        length = self.rows.shape[1]
        if batch_size > length:
            raise ValueError(
                f"queue_length: got {length} with batches of {batch_size} samples, wanted at least one batch, or 0 "
                "for no queue"
            )
        whole_batches = length - length % batch_size
        if self._known is None:
            self._known = int(self.filled)
        if self._known < whole_batches:
            return self.rows[:, :0]
        rank = dist.get_rank() if num_processes() > 1 else 0
        return self.rows[:, rank : whole_batches : num_processes()]

    @torch.no_grad()
    def push(self, newest: Float[Tensor, "a n d"]) -> None:
        """Put the embeddings of one step, of all processes, in front; the oldest fall out at the end."""
        length = self.rows.shape[1]
        self.rows.copy_(torch.cat([newest.to(self.rows.dtype), self.rows], dim=1)[:, :length])
        self.filled.add_(newest.shape[1]).clamp_(max=length)
        self._known = None if self._known is None else min(self._known + newest.shape[1], length)


def _forget(queue: Any, _: Any) -> None:
    """After a state was loaded, which may tell another number."""
    queue._known = None


class SwAV(Method):
    """Backbone, projector (h -> z, `num_outputs` = D), K prototypes, queue and the loss: views -> Terms.

    `temperature` is tau of the predictions, `epsilon` eps of the codes. `queue_length` embeddings of earlier batches
    (of all processes) take part in the codes; the queue begins to fill after `queue_start` epochs and is used from when
    it is full. The prototypes stay where they started for `freeze_prototypes` epochs.
    """

    def __init__(
        self,
        backbone: nn.Module,
        projector: nn.Module,
        num_outputs: int,
        *,
        num_prototypes: int,
        temperature: float = TEMPERATURE,
        epsilon: float = EPSILON,
        queue_length: int = 0,
        queue_start: float = 0.0,
        freeze_prototypes: float = 0.0,
    ) -> None:
        super().__init__(backbone, projector)
        if num_prototypes < 2 or queue_length < 0:
            raise ValueError(
                f"num_prototypes, queue_length: got {num_prototypes} and {queue_length}, wanted at least 2 and 0"
            )
        self.prototypes = nn.Linear(num_outputs, num_prototypes, bias=False)
        self.queue = EmbeddingQueue(queue_length, num_outputs, num_views=NUM_CODED) if queue_length else None
        self.loss = partial(swav_loss, temperature=temperature)
        self.epsilon = epsilon
        self.queue_start = queue_start
        self.freeze_prototypes = freeze_prototypes
        self.epoch = 0.0

    def start_step(self, epoch: float, epochs: int | float) -> None:
        """Note the epoch, which starts the queue and frees the prototypes."""
        self.epoch = epoch

    def forward(self, views: Sequence[Any]) -> Terms:
        """Return the loss of all (two or more) views of one batch; the first two get codes."""
        if len(views) < NUM_CODED:
            raise ValueError(f"views: got {len(views)}, wanted at least {NUM_CODED} for SwAV, the large ones first")
        projected = self.projector(represent_together(self, views))
        with torch.autocast(device_type=projected.device.type, enabled=False):
            z = nn.functional.normalize(projected.to(self.prototypes.weight.dtype), dim=1)
            self._normalize_prototypes()
            scores = self.prototypes(z).unflatten(0, (len(views), -1))
            codes = self._codes(z.detach().unflatten(0, (len(views), -1))[:NUM_CODED], scores[:NUM_CODED].detach())
        return self.loss(scores, codes, all_mean=all_mean_here())

    def after_backward(self) -> None:
        """Drop the prototypes' gradient while they are frozen: without one, no optimizer moves or decays them."""
        if self.epoch < self.freeze_prototypes:
            self.prototypes.weight.grad = None

    @torch.no_grad()
    def _normalize_prototypes(self) -> None:
        # In place, so that the gradient is that of a free vector, not of its direction: the official choice.
        self.prototypes.weight.copy_(nn.functional.normalize(self.prototypes.weight, dim=1))

    @torch.no_grad()
    def _codes(self, z: Float[Tensor, "a n d"], scores: Float[Tensor, "a n k"]) -> Float[Tensor, "a n k"]:
        """Return the codes of the batch, assigned together with the queue, and push z after its use."""
        older = scores[:, :0]
        if self.queue is not None and self.epoch >= self.queue_start:
            newest = gather_rows(z.transpose(0, 1).contiguous()).transpose(0, 1)
            # Earlier embeddings, but the prototypes of now.
            older = self.prototypes(self.queue.share(newest.shape[1]))
            if self.training:
                self.queue.push(newest)
        gather = partial(gather_rows, equal=True) if num_processes() > 1 else own_rows
        n = scores.shape[1]
        both = torch.cat([older, scores], dim=1)
        return torch.stack([sinkhorn(rows, epsilon=self.epsilon, gather=gather)[-n:] for rows in both])


def swav(
    backbone: nn.Module,
    head: HeadSpec,
    num_features: int,
    *,
    num_prototypes: int = 3000,
    temperature: float = TEMPERATURE,
    epsilon: float = EPSILON,
    queue_length: int = 0,
    queue_start: float = 15.0,
    freeze_prototypes: float = 1.0,
) -> SwAV:
    """Build the method with the numbers of a recipe.

    The defaults are the official code's; `freeze_prototypes` is 313 steps there, one epoch of batches of 4096.
    """
    return SwAV(
        backbone,
        head.build(num_features),
        head.num_outputs(num_features),
        num_prototypes=num_prototypes,
        temperature=temperature,
        epsilon=epsilon,
        queue_length=queue_length,
        queue_start=queue_start,
        freeze_prototypes=freeze_prototypes,
    )
