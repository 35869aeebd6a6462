"""SwAV (Caron et al. 2020, arXiv 2006.09882): predict the code of one view from another view.

z = embedding of length 1, c_k = prototype of length 1, S = z c^T:
    q_i = sinkhorn(S_i)   for the views i in A (the two large ones), without gradient
    L = mean over i in A and over the other V - 1 views v of   - <q_i, log softmax(S_v / tau)>      (equation 1)
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.collectives import (
    AllMean,
    all_mean as mean_over_processes,
    gather_rows,
    identity,
    num_processes,
    own_rows,
)
from barlow.methods.embedding_queue import EmbeddingQueue
from barlow.methods.method import Method
from barlow.methods.sinkhorn import EPSILON, effective_prototypes, sinkhorn
from barlow.methods.terms import Terms
from barlow.networks.heads import HeadSpec

TEMPERATURE = 0.1
"""tau of the official code."""

NUM_CODED = 2
"""Views that get codes: the first two, which are the large ones of a multi-crop (official: crops_for_assign 0 1)."""


def swav_loss(
    scores: Float[Tensor, "v n k"],
    codes: Float[Tensor, "a n k"],
    *,
    temperature: float = TEMPERATURE,
    all_mean: AllMean = identity,
) -> Terms:
    """Predict the code of each of the first A views from every other view.

        L = 1/A sum_{i < A} 1/(V-1) sum_{v != i} 1/N sum_b - <q_i^b, log softmax(S_v^b / tau)>.

    Float32 at least, also under autocast. No gradient to the codes.

    Args:
        scores: S of all V views; those with codes come first.
        codes: q of the first A views, rows that sum to 1, as `sinkhorn` returns them.
        temperature: tau.
        all_mean: mean over all processes, `barlow.collectives.all_mean` in a distributed run.

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
    num_views, n, _ = scores.shape
    with torch.autocast(device_type=scores.device.type, enabled=False):
        log_p = (scores.to(torch.promote_types(scores.dtype, torch.float32)) / temperature).log_softmax(dim=-1)
        q = codes.detach().to(log_p.dtype)
        # All pairs (i, v) less those with v = i.
        agreement = (q.sum(dim=0) * log_p.sum(dim=0)).sum() - (q * log_p[: len(q)]).sum()
        total = all_mean(-agreement / (n * len(q) * (num_views - 1)), n)
        with torch.no_grad():
            entropy = all_mean(torch.special.entr(q).sum(dim=-1).mean(), n)
            in_use = effective_prototypes(all_mean(q.mean(dim=(0, 1)), n))
    return Terms(total, {"divergence": total - entropy, "code_entropy": entropy, "prototypes_in_use": in_use})


class SwAV(Method):
    """Backbone, projector, prototypes, queue and the loss: views -> Terms.

    Args:
        backbone: batch -> h of shape (N, d).
        projector: h -> z of shape (N, D).
        num_outputs: D.
        num_prototypes: K.
        temperature: tau of the predictions.
        epsilon: eps of the codes.
        queue_length: embeddings of earlier batches (of all processes) that take part in the codes; 0: none.
        queue_start: epochs after which the queue begins to fill; it is used from when it is full.
        freeze_prototypes: epochs during which the prototypes stay where they started.
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
        """Return the loss of all views of one batch; the first two get codes.

        Raises:
            ValueError: fewer than two views, or a queue shorter than the batch.
        """
        if len(views) < NUM_CODED:
            raise ValueError(f"views: got {len(views)}, wanted at least {NUM_CODED} for SwAV, the large ones first")
        projected = self.projector(self._represent_all(views))
        with torch.autocast(device_type=projected.device.type, enabled=False):
            z = nn.functional.normalize(projected.to(self.prototypes.weight.dtype), dim=1)
            self._normalize_prototypes()
            scores = self.prototypes(z).unflatten(0, (len(views), -1))
            codes = self._codes(z.detach().unflatten(0, (len(views), -1))[:NUM_CODED], scores[:NUM_CODED].detach())
        return self.loss(scores, codes, all_mean=mean_over_processes if num_processes() > 1 else identity)

    def after_backward(self) -> None:
        """Drop the prototypes' gradient while they are frozen: without one, no optimizer moves or decays them."""
        if self.epoch < self.freeze_prototypes:
            self.prototypes.weight.grad = None

    def _represent_all(self, views: Sequence[Any]) -> Float[Tensor, "m d"]:
        """Run the backbone once per run of views of one size: BatchNorm sees them together, as in the official code."""
        groups: list[list[Any]] = []
        for view in views:
            before = groups[-1][0] if groups else None
            if isinstance(view, Tensor) and isinstance(before, Tensor) and view.shape == before.shape:
                groups[-1].append(view)
            else:
                groups.append([view])
        return torch.cat([self.represent(torch.cat(group) if len(group) > 1 else group[0]) for group in groups])

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
