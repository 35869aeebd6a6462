"""Speakers told apart, with Barlow Twins as a regulariser (Mohammadamini et al., Interspeech 2022, hal-03710445).

L = classification of the clean and of the noisy copy + beta * agreement of the two embeddings

The only method that learns from labels. Nothing in it knows of sound: the two views are whatever the pipelines make.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from barlow.errors import unknown
from barlow.methods.barlow_twins import REDUNDANCY_WEIGHT, barlow_twins_loss
from barlow.methods.forward import check_embeddings, pair_of, represent_together
from barlow.methods.heads import HeadSpec
from barlow.seams import Method, Terms
from barlow.statistics.collectives import (
    AllMean,
    all_mean_here,
    gather_rows,
    gather_with_grad,
    identity,
    num_processes,
)
from barlow.statistics.correlation import exact_dtype

Classifier = Literal["softmax", "aam"]
Agreement = Literal["barlow_twins", "invariance", "mse", "none"]
Pairs = Literal["copies", "same_speaker"]

MARGIN, SCALE = 0.2, 30.0
"""m in radians and s of the additive angular margin (Deng et al. 2019, arXiv 1801.07698, with the numbers usual for
speakers: Desplanques et al. 2020, arXiv 2005.07143)."""
AGREEMENT_WEIGHT = 0.01
"""beta: the first loss of Barlow Twins is near D, that of softmax near log of the classes; so D = 128 begins near 1."""
USEFUL_RATIO = (0.01, 1.0)
"""First agreement term as a share of the first classification term: below it decides nothing, above it leads."""


def agreement_loss(
    z_a: Float[Tensor, "n d"],
    z_b: Float[Tensor, "n d"],
    *,
    kind: Agreement = "barlow_twins",
    redundancy_weight: float = REDUNDANCY_WEIGHT,
    all_mean: AllMean = identity,
) -> Float[Tensor, ""]:
    """Return how far two embeddings of the same speaker are from agreeing.

    | kind         | L                                                                            |
    |--------------|------------------------------------------------------------------------------|
    | barlow_twins | sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2                              |
    | invariance   | sum_i (1 - C_ii)^2: without the redundancy term                              |
    | mse          | mean over samples of |z_a - z_b|^2: mere pairing, which a constant satisfies |
    | none         | 0                                                                            |

    C is the cross-correlation of the columns as `barlow_twins_loss` has it. ValueError: shapes that differ, an unknown
    kind.
    """
    check_embeddings(z_a=z_a, z_b=z_b)
    match kind:
        case "barlow_twins":
            return barlow_twins_loss(z_a, z_b, redundancy_weight=redundancy_weight, all_mean=all_mean).total
        case "invariance":
            return barlow_twins_loss(z_a, z_b, redundancy_weight=0.0, all_mean=all_mean).parts["on_diagonal"]
        case "mse":
            dtype = exact_dtype(z_a, z_b)
            squares = (z_a.to(dtype) - z_b.to(dtype)).square().sum(dim=1)
            return all_mean(squares.mean(), len(squares))
        case "none":
            return z_a.new_zeros(())
    raise unknown("agreement", kind, get_args(Agreement))


def classification_loss(
    logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"], *, all_mean: AllMean = identity
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy over the samples of all processes that have a label; 0 where none has."""
    known = labels >= 0
    losses = F.cross_entropy(logits.to(exact_dtype(logits)), labels.clamp(min=0), reduction="none") * known
    # Both means over all rows, and then their ratio: processes may have different numbers of labels.
    total, share = all_mean(torch.stack([losses.mean(), known.to(losses.dtype).mean()]), len(labels))
    mean: Tensor = total / torch.where(share > 0, share, torch.ones_like(share))
    return mean


class AngularMargin(nn.Module):
    """Logits s cos(theta_ik), of the right class s cos(theta + m): additive angular margin (Deng et al. 2019)."""

    def __init__(self, num_features: int, num_classes: int, *, margin: float, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_classes, num_features))
        nn.init.xavier_normal_(self.weight)
        self.margin, self.scale = margin, scale

    def forward(self, h: Float[Tensor, "n d"], labels: Int64[Tensor, " n"]) -> Float[Tensor, "n k"]:
        """Return the logits; rows without a label (-1) have no margin.

        Beyond theta = pi - m, where cos(theta + m) rises again, it goes on as a line that falls.
        """
        cosine = F.linear(F.normalize(h, dim=1), F.normalize(self.weight, dim=1)).clamp(-1, 1)
        sine = (1 - cosine.square()).clamp(min=1e-12).sqrt()
        shifted = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
        beyond = cosine - math.sin(self.margin) * self.margin
        shifted = torch.where(cosine > -math.cos(self.margin), shifted, beyond)
        right = F.one_hot(labels.clamp(min=0), len(self.weight)).bool() & (labels >= 0).unsqueeze(1)
        return self.scale * torch.where(right, shifted, cosine)


class Softmax(nn.Linear):
    """Linear logits, which have no use for the labels."""

    def forward(self, h: Float[Tensor, "n d"], labels: Int64[Tensor, " n"] | None = None) -> Float[Tensor, "n k"]:
        """Return the logits."""
        return super().forward(h)


class Speakers(Method):
    """Backbone, a classifier on h that is dropped after training, and the agreement of the projected copies."""

    needs_labels: ClassVar[bool] = True

    def __init__(
        self,
        backbone: nn.Module,
        head: HeadSpec,
        num_features: int,
        *,
        num_classes: int = 0,
        classifier: Classifier = "softmax",
        margin: float = MARGIN,
        scale: float = SCALE,
        agreement: Agreement = "barlow_twins",
        agreement_weight: float = AGREEMENT_WEIGHT,
        pairs: Pairs = "copies",
        redundancy_weight: float = REDUNDANCY_WEIGHT,
    ) -> None:
        """Build the method.

        Args:
            backbone: view -> h, the speaker embedding.
            head: what stands between h and the agreement; the paper has none.
            num_features: d.
            num_classes: speakers; 0: as many as the data have, which a run settles.
            classifier: "softmax", or "aam" with `margin` and `scale`.
            margin: m in radians.
            scale: s.
            agreement: what `agreement_loss` calls `kind`.
            agreement_weight: beta.
            pairs: "copies": a sample and its other copy; "same_speaker": a sample and the other copy of another sample
                of its speaker in the batch, where there is one.
            redundancy_weight: lambda of Barlow Twins.
        """
        super().__init__(backbone, head.build(num_features))
        _check(num_classes, agreement_weight, margin)
        self.classifier: nn.Module = (
            AngularMargin(num_features, num_classes, margin=margin, scale=scale)
            if classifier == "aam"
            else Softmax(num_features, num_classes)
        )
        self.num_classes, self.agreement, self.pairs = num_classes, agreement, pairs
        self.agreement_weight, self.redundancy_weight = agreement_weight, redundancy_weight

    def forward(self, views: Sequence[Any], labels: Int64[Tensor, " n"] | None = None) -> Terms:
        """Return the loss of two views of one batch, and the labels of its samples, -1 for one without."""
        if labels is None:
            raise ValueError("labels: got none, wanted one per sample: this method learns from them")
        if bool((labels >= self.num_classes).any()):
            raise ValueError(f"labels: got {int(labels.max())}, wanted less than num_classes {self.num_classes}")
        all_mean = all_mean_here()
        h = represent_together(self, pair_of(views))
        with torch.autocast(device_type=h.device.type, enabled=False):
            twice = labels.repeat(2)
            classification = classification_loss(self.classifier(h.to(exact_dtype(h)), twice), twice, all_mean=all_mean)
        z_a, z_b = self.projector(h).chunk(2)
        if self.pairs == "same_speaker":
            z_b = with_partners(z_b, labels)
        agreement = self.agreement_weight * agreement_loss(
            z_a, z_b, kind=self.agreement, redundancy_weight=self.redundancy_weight, all_mean=all_mean
        )
        return Terms(classification + agreement, {"classification": classification, "agreement": agreement})

    def remark(self, terms: Terms) -> str:
        """Say what share of the classification term the agreement begins with, and warn where it is far off."""
        first, second = (float(terms.parts[name].detach()) for name in ("classification", "agreement"))
        if self.agreement == "none" or not first > 0:
            return ""
        ratio, (least, most) = second / first, USEFUL_RATIO
        said = (
            f"first step: classification {first:.3g}, agreement {second:.3g} with agreement_weight "
            f"{self.agreement_weight:g}: a ratio of {ratio:.2g}"
        )
        if ratio > most:
            return f"{said}. The agreement leads, and mse can then collapse; {_weight_for(self, ratio)}"
        return f"{said}. The agreement decides little; {_weight_for(self, ratio)}" if ratio < least else said


def _weight_for(method: Speakers, ratio: float) -> str:
    wanted = method.agreement_weight * 0.3 / ratio if ratio > 0 else math.nan
    return f"--options agreement_weight {wanted:.2g} would begin at 0.3"


def with_partners(z: Float[Tensor, "n d"], labels: Int64[Tensor, " n"]) -> Float[Tensor, "n d"]:
    """Return for every sample the embedding of the next one of its class in the batch over all processes.

    Each embedding is taken once. A sample without a label, or alone in its class, keeps its own. Processes hold every
    W-th sample of a batch, and pairs are those of one process where all of them hold equally many.
    """
    if num_processes() == 1:
        return z[partners(labels)]
    every_z, every_label = gather_with_grad(z), gather_rows(labels)
    counts = gather_rows(torch.tensor([len(z)], device=z.device))
    starts = counts.cumsum(0) - counts
    rank = torch.distributed.get_rank()
    order = torch.arange(len(every_label), device=z.device)
    if bool((counts == counts[0]).all()):
        order = order.view(len(counts), -1).T.flatten()  # from process by process to the order of the batch
    found = torch.empty_like(order)
    found[order] = order[partners(every_label[order])]
    return every_z[found[int(starts[rank]) : int(starts[rank]) + len(z)]]


def partners(labels: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """Return a permutation that takes every sample to the next one of its class, the last one to the first.

    Samples without a label (-1), and those alone in their class, stay where they are.
    """
    found = torch.arange(len(labels), device=labels.device)
    for label in labels.unique().tolist():
        if label >= 0:
            members = (labels == label).nonzero()[:, 0]
            found[members] = members.roll(-1)
    return found


def _check(num_classes: int, agreement_weight: float, margin: float) -> None:
    if num_classes < 2:
        raise ValueError(f"num_classes: got {num_classes}, wanted at least 2: labels of two speakers to tell apart")
    if not 0 <= agreement_weight < math.inf:
        raise ValueError(f"agreement_weight: got {agreement_weight}, wanted 0 or more")
    if not 0 <= margin < math.pi / 2:
        raise ValueError(f"margin: got {margin}, wanted radians from 0 to below {math.pi / 2:.3f}")
