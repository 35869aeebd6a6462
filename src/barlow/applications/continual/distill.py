"""Distillation from the network of the stage before (CaSSLe): new embeddings have to tell the old ones."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from barlow.applications.continual.keep import Distill
from barlow.methods.barlow_twins import barlow_twins_loss
from barlow.methods.forward import TwoViews
from barlow.methods.heads import projector
from barlow.seams import Around, Method, Terms, inside
from barlow.statistics.collectives import all_mean_here


class Distillation(Around):
    """A method whose embeddings, through a predictor, have to agree with those of the network before: part "distill".

    Attributes:
        predictor: g, trained beside the method and dropped afterwards.
    """

    def __init__(self, method: Method, before: Method, num_outputs: int, keep: Distill) -> None:
        super().__init__(method)
        self.predictor = projector(f"{keep.hidden or num_outputs}-{num_outputs}", num_outputs, bias=True)
        self.weight = keep.weight
        self._before = (before.eval().requires_grad_(False),)  # in a tuple: it stands still and is in no checkpoint
        own = inside(method)
        self._loss: Callable[..., Terms] = own.loss if isinstance(own, TwoViews) else barlow_twins_loss

    def forward(self, views: Sequence[Any]) -> Terms:
        """Return the loss of the method, and the mean over the views of that between new and old embeddings."""
        seen: list[Tensor] = []
        hook = self.projector.register_forward_hook(lambda _module, _inputs, z: seen.append(z))
        try:
            terms: Terms = self.method(views)
        finally:
            hook.remove()
        old = self._old(views, seen)
        new = torch.cat(seen)
        predicted = self.predictor(new)
        sizes = [len(z) for z in old]
        pairs = zip(predicted.split(sizes), old, strict=True)
        losses = [self._loss(p.float(), z.float(), all_mean=all_mean_here()).total for p, z in pairs]
        added = self.weight * torch.stack(losses).mean()
        return Terms(terms.total + added, {**terms.parts, "distill": added})

    def _old(self, views: Sequence[Any], seen: Sequence[Tensor]) -> list[Tensor]:
        (before,) = self._before
        if seen and next(before.parameters()).device != seen[0].device:
            before.to(seen[0].device)
        with torch.no_grad():
            old = [before.projector(before.represent(view)) for view in views]
        if sum(map(len, old)) != sum(map(len, seen)):
            raise ValueError(
                f"keep: got distill with {type(inside(self)).__name__}, which does not bring every view through its "
                "projector once; wanted ewc, replay or another method"
            )
        return old


def distillation(keep: Distill, before: Method, num_outputs: int) -> Callable[[Method], Around]:
    """Return what puts distillation from `before`, with embeddings of width `num_outputs`, around a method."""
    return lambda method: Distillation(method, before, num_outputs, keep)
