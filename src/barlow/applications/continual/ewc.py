"""Elastic weight consolidation: the Fisher of a stage, and the penalty that holds later stages near its weights.

    F_i = mean over batches of (dL_b / dtheta_i)^2,       penalty = lambda / 2  sum_i F_i (theta_i - theta*_i)^2

L_b is the method's own loss of one batch of pairs: one sample alone has no correlation matrix. Evaluation mode, so that
the mean and variance of the whole stage are used, not those of the batch.

Differs from the official code of Continual Barlow Twins: the mean is over all batches, not over one less; the Fisher of
a later stage is of the loss alone, not of loss and penalty; the last batch is divided by its own size.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from barlow.applications.continual.keep import EWC
from barlow.data.order import hash_seed
from barlow.files import durable_file
from barlow.seams import Around, Method, Source, Terms, Views, inside, seeded_batches
from barlow.training.order import view_generator

FISHER = "fisher.safetensors"
"""File in the run folder of a stage."""
KEY = "measured"
FISHER_SEED = 20230501
"""Of the views and the order that a Fisher is measured on, which are none of the training's."""


@dataclass(frozen=True)
class Fisher:
    """The diagonal Fisher of a stage.

    Attributes:
        diagonal: F by name of the parameter.
        loss: mean of the loss of the same batches.
        move: 1/2 sum_i F_i d_i^2 of the move d that lambda is measured by; see `EWC`.
        batches: that it is the mean of.
    """

    diagonal: Mapping[str, Tensor]
    loss: float
    move: float
    batches: int


def measure_fisher(
    method: nn.Module,
    views: Views,
    source: Source,
    *,
    batch_size: int,
    batches: int,
    move: Mapping[str, Tensor] | None = None,
    seed: int = FISHER_SEED,
) -> Fisher:
    """Measure the diagonal Fisher of a method's own loss on pairs of views of a source.

    What is around the method, such as the penalty of an earlier stage, is left out. `method` is left in evaluation
    mode; `move` is d by name, None: no move.
    """
    own = inside(method).eval()
    parameters = {name: weight for name, weight in own.named_parameters() if weight.requires_grad}
    sums = {name: torch.zeros_like(weight) for name, weight in parameters.items()}
    order = torch.randperm(len(source), generator=torch.Generator().manual_seed(hash_seed(seed, 0)))
    size = min(batch_size, len(source))
    chosen = order[: min(batches, len(source) // size) * size].tolist()
    losses: list[float] = []
    for number, batch in enumerate(seeded_batches(source, chosen, size, hash_seed(seed, 1))):
        if len(batch.indices) < 2:  # no statistic is made of one sample
            continue
        terms: Terms = own(views.draw(batch.samples, view_generator(seed, number)))
        gradients = torch.autograd.grad(terms.total, list(parameters.values()), allow_unused=True)
        losses.append(float(terms.total.detach()))
        for name, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                sums[name] += gradient.square()
    if not losses:
        raise ValueError(f"source: {source.name} gave no batch to measure a Fisher on")
    diagonal = {name: (total / len(losses)).cpu() for name, total in sums.items()}
    moved = sum(float((f * move[name].square()).double().sum()) for name, f in diagonal.items()) if move else 0.0
    return Fisher(diagonal, sum(losses) / len(losses), moved / 2, len(losses))


def write_fisher(folder: Path, fisher: Fisher) -> None:
    """Write a Fisher to the run folder of its stage."""
    told = {name: getattr(fisher, name) for name in ("loss", "move", "batches")}  # one word: several have no order
    with durable_file(folder / FISHER) as file:
        file.write(
            save({name: f.contiguous() for name, f in fisher.diagonal.items()}, metadata={KEY: json.dumps(told)})
        )


def read_fisher(folder: Path) -> Fisher:
    """Return what `write_fisher` wrote."""
    with safe_open(folder / FISHER, framework="pt") as file:
        told = json.loads(file.metadata()[KEY])
        diagonal = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    return Fisher(diagonal, **told)


@dataclass(frozen=True)
class Anchor:
    """One quadratic term: where weights are held, how much each of them, and how much all of them."""

    at: Mapping[str, Tensor]
    fisher: Mapping[str, Tensor]
    weight: float


def anchors_of(keep: EWC, stages: Sequence[tuple[Mapping[str, Tensor], Fisher]]) -> list[Anchor]:
    """Return the anchors of the stages before, (weights at the end, Fisher) of each in their order.

    Weights of a `relative_weight` are each of its own stage: lambda = r L / P.
    """
    terms = [Anchor(at, fisher.diagonal, _weight(keep, fisher)) for at, fisher in stages]
    if keep.mode == "separate":
        return terms
    last = terms[-1:]
    if keep.mode == "online":
        total: dict[str, Tensor] = {}
        for term in terms:  # each times its own lambda, so that the sum is over penalties of one scale
            total = {name: keep.decay * total.get(name, 0.0) + term.weight * f for name, f in term.fisher.items()}
        last = [Anchor(one.at, total, 1.0) for one in last]
    return last


def _weight(keep: EWC, fisher: Fisher) -> float:
    if keep.weight is not None:
        return keep.weight
    return keep.relative_weight * fisher.loss / fisher.move if fisher.move else 0.0


class EWCPenalty(Around):
    """A method with the penalty of EWC added to its loss, as the part "ewc"."""

    def __init__(self, method: Method, anchors: Sequence[Anchor]) -> None:
        super().__init__(method)
        self._anchors = (list(anchors),)  # in a tuple: neither parameters nor part of a checkpoint

    def forward(self, views: Sequence[Any]) -> Terms:
        """Return the loss of the method and lambda / 2 sum F (theta - theta*)^2."""
        terms: Terms = self.method(views)
        penalty = self.penalty()
        return Terms(terms.total + penalty, {**terms.parts, "ewc": penalty})

    def penalty(self) -> Tensor:
        """Return the sum of all anchors; its gradient is sum of lambda F (theta - theta*)."""
        weights = {name: weight for name, weight in inside(self).named_parameters() if weight.requires_grad}
        device = next(iter(weights.values())).device
        self._move(device)
        with torch.autocast(device_type=device.type, enabled=False):
            parts = [
                0.5 * anchor.weight * (f * (weights[name].float() - anchor.at[name]).square()).sum()
                for anchor in self._anchors[0]
                for name, f in anchor.fisher.items()
            ]
        return torch.stack(parts).sum() if parts else torch.zeros((), device=device)

    def _move(self, device: torch.device) -> None:
        """Bring the anchors to the device of the method, once."""
        anchors = self._anchors[0]
        if any(f.device != device for anchor in anchors for f in anchor.fisher.values()):
            anchors[:] = [
                Anchor(_on(device, anchor.at), _on(device, anchor.fisher), anchor.weight) for anchor in anchors
            ]


def _on(device: torch.device, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def distance(fisher: Mapping[str, Tensor], at: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> float:
    """Return 1/2 sum_i F_i (theta_i - theta*_i)^2: how far weights have drifted where it mattered."""
    return sum(float((f * (weights[name] - at[name]).square()).double().sum()) for name, f in fisher.items()) / 2
