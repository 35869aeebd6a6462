"""Features: what a frozen network says about every sample of a source, once, on the CPU."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from barlow.data.groups import groups_of
from barlow.seams import Source

LIMIT_SEED = 0
"""Seed of the samples that `limit` leaves: the same ones for every network."""


@dataclass(frozen=True)
class Features:
    """Features of the samples that could be read.

    Attributes:
        h: (n, d) float32 on the CPU.
        labels: (n,) int64 classes of the same samples, or None.
        indices: (n,) int64 position of each sample in its source.
        groups: (n,) int64 groups of the same samples, such as speakers, or None.
    """

    h: Float32[Tensor, "n d"]
    labels: Int64[Tensor, " n"] | None
    indices: Int64[Tensor, " n"]
    groups: Int64[Tensor, " n"] | None = None

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.indices)


def extract(
    represent: Callable[[Any], Tensor],
    source: Source,
    *,
    plain: Callable[[Any], Any],
    batch_size: int = 512,
    limit: int | None = None,
    order: Sequence[int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Features:
    """Compute h = represent(plain(samples)) for the samples of a source, without gradients, in the order asked for.

    `represent` maps to (N, d) in evaluation mode; where it does not compute on the CPU, `source` is an `OnDevice`.
    Samples that cannot be read are left out, and so are their labels. `limit` takes the first of `order` (positions),
    or without an order a fixed random choice (data are often sorted by class) in the order of the source. `progress` is
    called with (samples read, samples asked for).

    ValueError: a network in training mode (its BatchNorm statistics would move, and features would depend on the
    batch), features that are not (N, d) or not finite, or no sample that can be read.
    """
    positions = _positions(len(source), order, limit)
    parts: list[Tensor] = []
    indices: list[Tensor] = []
    for h, some in feature_batches(represent, source, positions, plain=plain, batch_size=batch_size):
        parts.append(h)
        indices.append(some)
        if progress:
            progress(sum(map(len, indices)), len(positions))
    if not parts:
        raise ValueError(f"source: {source.name} gave no sample that could be read, of {len(positions)} asked for")
    where = torch.cat(indices)
    # Tensors made in inference mode may not take part in autograd later; a copy may.
    labels = None if source.labels is None else source.labels[where]
    return Features(torch.cat(parts).clone(), labels, where.clone(), _groups(source, where))


def feature_batches(
    represent: Callable[[Any], Tensor],
    source: Source,
    positions: Sequence[int],
    *,
    plain: Callable[[Any], Any],
    batch_size: int,
) -> Iterator[tuple[Float32[Tensor, "n d"], Int64[Tensor, " n"]]]:
    """Yield h and the positions of the samples that could be read, batch by batch; otherwise as `extract`."""
    _refuse_training(represent)
    for batch in source.batches(positions, batch_size):
        with torch.inference_mode():  # not across a yield, where it would be that of the caller too
            h = _checked(represent(plain(batch.samples)), len(batch.indices))
        yield h, batch.indices


class KeptFeatures:
    """`extract` for whoever asks in turn: features of a sample that a network has seen are not computed again."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._kept: dict[tuple[int, int], tuple[Any, Any, dict[int, Tensor], set[int]]] = {}

    def extract(
        self,
        represent: Callable[[Any], Tensor],
        source: Source,
        *,
        plain: Callable[[Any], Any],
        order: Sequence[int] | None = None,
    ) -> Features:
        """Return what `extract` does; `plain` is the same in all calls with one source."""
        positions = _positions(len(source), order, None)
        # The objects are kept beside their features, so that no other object gets their numbers.
        *_, rows, unreadable = self._kept.setdefault((id(represent), id(source)), (represent, source, {}, set()))
        missing = [place for place in positions if place not in rows and place not in unreadable]
        if missing:
            found = extract(represent, source, plain=plain, order=missing)
            rows |= zip(found.indices.tolist(), found.h, strict=True)
            unreadable |= set(missing) - rows.keys()
            if len(missing) == len(positions):
                return found
        where = torch.tensor([place for place in positions if place in rows], dtype=torch.int64)
        if len(where) == 0:
            raise ValueError(f"source: {source.name} gave no sample that could be read, of {len(positions)} asked for")
        labels = None if source.labels is None else source.labels[where]
        return Features(torch.stack([rows[place] for place in where.tolist()]), labels, where, _groups(source, where))


def calibrate_batchnorm(module: nn.Module, batches: Iterable[Any]) -> None:
    """Set the BatchNorm statistics of a network from data: their average over the batches, and nothing else.

    An untrained network has mean 0 and variance 1 there, so it does not normalise at all and its features are worse
    than its weights deserve: as a baseline it would flatter every trained network. Fed with unaugmented training data
    it is an honest one. Batches count equally, so they should be of equal size; other layers stay in evaluation mode
    (no dropout), and modes and momenta are afterwards what they were before. ValueError: no batch.
    """
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    if not norms:
        return
    modes = {part: part.training for part in module.modules()}
    momenta = [norm.momentum for norm in norms]
    module.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's name for the cumulative average
        norm.train()
    num_batches = 0
    try:
        with torch.no_grad():
            for batch in batches:
                module(batch)
                num_batches += 1
    finally:
        for part, mode in modes.items():
            part.training = mode
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    if num_batches == 0:
        raise ValueError("batches: there were none to take statistics from")


def _groups(source: Source, where: Tensor) -> Tensor | None:
    groups = groups_of(source)
    return None if groups is None else groups.values[where]


def _refuse_training(represent: Callable[[Any], Tensor]) -> None:
    """Refuse a module (or the module that a method is bound to) that is not in evaluation mode."""
    owner = represent if isinstance(represent, nn.Module) else getattr(represent, "__self__", None)
    if isinstance(owner, nn.Module):
        training = [name or type(part).__name__ for name, part in owner.named_modules() if part.training]
        if training:
            raise ValueError(f"represent: {training[0]!r} is in training mode, wanted evaluation mode; call .eval()")


def _positions(num_samples: int, order: Sequence[int] | None, limit: int | None) -> Sequence[int]:
    if limit is not None and limit < 1:
        raise ValueError(f"limit: got {limit}, wanted at least 1 sample")
    if order is not None:
        return order[:limit]
    if limit is None or limit >= num_samples:
        return range(num_samples)
    generator = torch.Generator().manual_seed(LIMIT_SEED)
    return sorted(torch.randperm(num_samples, generator=generator)[:limit].tolist())


def _checked(h: Tensor, num_samples: int) -> Tensor:
    if h.ndim != 2 or len(h) != num_samples:
        raise ValueError(f"represent: gave {tuple(h.shape)} for {num_samples} samples, wanted ({num_samples}, d)")
    h = h.float().cpu()
    if not h.isfinite().all():
        raise ValueError(f"represent: {int((~h.isfinite()).sum())} of {h.numel()} features are not finite")
    return h
