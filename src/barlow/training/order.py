"""What every step sees: the order of the samples and the seeds of the views, each from numbers alone.

Nothing is carried from step to step, so a run goes on in the middle of an epoch as if it had never stopped.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from barlow.data.order import Computed, batches_of, hash_seed
from barlow.data.permutation import permuted
from barlow.seams import Params, Source, View, Views, is_shared, seeded_batches, to_device
from barlow.training.plan import Plan, steps_of, steps_per_epoch

LARGEST_STORED = 1 << 24
"""Samples up to which the order of an epoch is torch's permutation: runs that began with fewer go on to the bit."""


def epoch_order(num_samples: int, *, plan: Plan, epoch: int, first_step: int, rank: int, world: int) -> Tensor:
    """Return the positions that process `rank` reads in `epoch` from its step `first_step` on, batch after batch.

    One permutation from (seed, epoch) on every process; batch b is the b-th run of `batch_size` positions, and
    process r takes every W-th of them from r on. So W processes together see the batches that one would see.
    """
    generator = torch.Generator().manual_seed(hash_seed(plan.seed, epoch, 0))
    order = torch.randperm(num_samples, generator=generator)
    count = steps_per_epoch(num_samples, plan.batch_size)
    batches = order[: count * plan.batch_size].view(count, -1)
    return batches[first_step:, rank::world].reshape(-1)


def positions_of(num_samples: int, *, plan: Plan, epoch: int, first_step: int, rank: int, world: int) -> Sequence[int]:
    """Return what `epoch_order` does, as a sequence that is read as it goes.

    Up to `LARGEST_STORED` samples it is that order, 8 bytes a sample while the epoch lasts. Of more it is a keyed
    permutation, in no memory at all; batches and shares are cut out of it alike.
    """
    if num_samples <= LARGEST_STORED:
        asked = {"epoch": epoch, "first_step": first_step, "rank": rank, "world": world}
        order = epoch_order(num_samples, plan=plan, **asked)
        return Computed(len(order), (0, num_samples - 1), lambda start, stop: order[start:stop].numpy())
    count, each = steps_per_epoch(num_samples, plan.batch_size), len(range(rank, plan.batch_size, world))
    key = hash_seed(plan.seed, epoch, 0)

    def positions(start: int, stop: int) -> npt.NDArray[np.int64]:
        own = np.arange(start, stop, dtype=np.int64)
        places = (first_step + own // each) * plan.batch_size + rank + own % each * world
        return permuted(places, num_samples, key)

    return Computed((count - first_step) * each, (0, num_samples - 1), positions)


@dataclass(frozen=True)
class Share:
    """What one process has of the batch of a step.

    Attributes:
        samples: those that could be read.
        places: (n,) which samples of the whole batch they are; with W processes every W-th.
        whole: size of the whole batch.
        labels: (n,) int64, -1 for a sample without one, None where the source has none.
    """

    samples: Any
    places: Tensor
    whole: int
    labels: Tensor | None = None


def batches_from(
    source: Source, plan: Plan, *, first_step: int, rank: int, world: int, endless: bool = False
) -> Iterator[tuple[int, Share | None]]:
    """Yield (step, share) of process `rank` out of `world` for every step from `first_step` to the end of the run.

    `endless`: on and on, for a run whose last step is settled as it goes.
    What is random in a sample follows from the seed, the epoch and its position, so it is the same after a resume and
    on any number of processes. Sources leave out a batch of which nothing can be read. Here it is None: each step
    comes, on every process.
    """
    per_epoch = steps_per_epoch(len(source), plan.batch_size)
    places = torch.arange(rank, plan.batch_size, world)
    total = sys.maxsize if endless else steps_of(plan.epochs, per_epoch)
    for begin in range(first_step // per_epoch * per_epoch, total, per_epoch):
        start, epoch = max(first_step - begin, 0), begin // per_epoch
        order = positions_of(len(source), plan=plan, epoch=epoch, first_step=start, rank=rank, world=world)
        order = _cut(order, (total - begin - start) * len(places))  # the last epoch may be a part
        steps = enumerate(batches_of(order, len(places), len(source)), begin + start)
        items_seed = hash_seed(plan.seed, epoch, -1)  # 0 is the order's, and the views count from 1
        for batch in seeded_batches(source, order, len(places), items_seed):
            for step, positions in steps:
                read = torch.isin(torch.tensor(positions), batch.indices)
                if read.any():
                    labels = None if source.labels is None else source.labels[batch.indices]
                    yield step, Share(batch.samples, places[read], plan.batch_size, labels)
                    break
                yield step, None
        yield from ((step, None) for step, _ in steps)


def _cut(order: Sequence[int], most: int) -> Sequence[int]:
    """The first positions of an order."""
    if most >= len(order):
        return order
    last = max(order.within) if isinstance(order, Computed) else max(order)
    return Computed(most, (0, last), lambda start, stop: np.array(order[start:stop], dtype=np.int64))


def draw_views(views: Views, share: Share, *, seed: int, step: int) -> list[Any]:
    """Draw the views of a share: its part of what one process would draw for the whole batch.

    So the views of a run do not depend on the number of processes, nor on which samples cannot be read. Samples that
    are neither a tensor nor a list of tensors cannot be stood in for; then each process draws for itself.
    """
    if len(share.places) == share.whole:
        return views.draw(share.samples, view_generator(seed, step))
    if all(map(is_shared, views.pipelines)):  # of the whole batch: every process draws what one would
        return views.draw(share.samples, view_generator(seed, step))
    if not isinstance(share.samples, (Tensor, list)):
        return views.draw(share.samples, view_generator(seed, step, int(share.places[0])))
    own = tuple(_OwnPart(view, share.places, share.whole) for view in views.pipelines)
    return replace(views, pipelines=own).draw(share.samples, view_generator(seed, step))


@dataclass(frozen=True)
class _OwnPart:
    """A pipeline that draws for the whole batch and keeps the parameters of some of its samples."""

    view: View
    places: Tensor
    whole: int

    def sample(self, batch: Any, generator: torch.Generator) -> Params:
        """Draw with the first sample in the others' stead: a view looks at number and sizes only, one by one."""
        if isinstance(batch, Tensor):
            everyone: Any = batch[:1].expand(self.whole, *batch.shape[1:])
        else:
            everyone = [batch[0]] * self.whole
            for place, sample in zip(self.places.tolist(), batch, strict=True):
                everyone[place] = sample
        drawn = self.view.sample(everyone, generator)
        return {
            name: {key: value[to_device(self.places, value.device)] for key, value in part.items()}
            for name, part in drawn.items()
        }

    def apply(self, batch: Any, params: Params) -> Any:
        return self.view.apply(batch, params)


def view_generator(seed: int, step: int, first_place: int = 0) -> torch.Generator:
    """Return the generator that the views of one step are drawn from."""
    return torch.Generator().manual_seed(hash_seed(seed, step, first_place + 1))
