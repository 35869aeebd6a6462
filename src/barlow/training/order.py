"""What every step sees: the order of the samples and the seeds of the views, each from numbers alone.

Nothing is carried from step to step, so a run goes on in the middle of an epoch as if it had never stopped.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from barlow.data.source import Batch, Source
from barlow.training.plan import Plan, steps_per_epoch


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


def batches_from(
    source: Source, plan: Plan, *, first_step: int, rank: int, world: int
) -> Iterator[tuple[int, Batch | None]]:
    """Yield (step, batch) of process `rank` out of `world` for every step from `first_step` to the end of the run.

    Sources leave out a batch of which nothing can be read. Here it is None: each step comes, on every process.
    """
    per_epoch = steps_per_epoch(len(source), plan.batch_size)
    local = len(range(rank, plan.batch_size, world))
    for epoch in range(first_step // per_epoch, plan.epochs):
        start = max(first_step - epoch * per_epoch, 0)
        order = epoch_order(len(source), plan=plan, epoch=epoch, first_step=start, rank=rank, world=world)
        steps = enumerate(order.view(-1, local), epoch * per_epoch + start)
        for batch in source.batches(order.tolist(), local):
            for step, positions in steps:
                if batch.indices[0] in positions:
                    yield step, batch
                    break
                yield step, None
        yield from ((step, None) for step, _ in steps)


def view_generator(seed: int, step: int, rank: int) -> torch.Generator:
    """Return the generator that the views of one step on one process are drawn from."""
    return torch.Generator().manual_seed(hash_seed(seed, step, rank + 1))


def hash_seed(*numbers: int) -> int:
    """Mix whole numbers into one seed; neighbouring inputs give unrelated generators (a 64-bit FNV-style mix)."""
    mixed = 0xCBF29CE484222325
    for number in numbers:
        mixed = ((mixed ^ (number & 0xFFFFFFFFFFFFFFFF)) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        mixed ^= mixed >> 29
    return mixed >> 1
