"""The numbers of the loop, as it takes them, and the learning rate over a run."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch.optim.optimizer import Optimizer


@dataclass(frozen=True)
class Plan:
    """The numbers of the loop; see `Recipe` for what they mean.

    Attributes:
        epochs: passes over the data; the last one may be a part.
        batch_size: samples per step over all processes.
        seed: decides order and views.
        factor: place in the plan, in steps -> multiple of the peak learning rate.
        clip_norm: largest gradient norm, 0 for none.
        checkpoint_minutes: time between checkpoints; the most that a kill can lose.
        floor: what the loss cannot go below, None where no such number is known.
        identity: the numbers of the run by name, as its checkpoints carry them; plain values only.
    """

    epochs: int | float
    batch_size: int
    seed: int
    factor: Callable[[int | float], float]
    clip_norm: float
    checkpoint_minutes: float
    floor: float | None
    identity: Mapping[str, Any] = field(default_factory=dict)


def steps_per_epoch(num_samples: int, batch_size: int) -> int:
    """Return the full batches in one pass; the incomplete one is left to the next epoch's other order."""
    return max(1, num_samples // batch_size)


def steps_of(epochs: int | float, per_epoch: int) -> int:
    """Return the steps of so many passes, rounded, at least one."""
    return max(1, round(epochs * per_epoch))


def warmup_cosine(step: int | float, *, total_steps: int, warmup_steps: int, final: float, start: float = 0.0) -> float:
    """Return the learning rate after `step` steps (0 to `total_steps`) as a fraction of its peak.

    `step` may lie between two of them, in a run that is fitted to a time.

        start + (1 - start) * (step + 1) / warmup_steps    during the warm-up,
        final + (1 - final) * (1 + cos(pi * q)) / 2        afterwards, q = (step - warmup) / (total - warmup).

    `start` and `final` are in [0, 1]. Differs from the Barlow Twins repository, whose warm-up is step / warmup_steps,
    in that no batch is spent on a first step of length zero.

    Source: Zbontar et al. 2021, section 4.1 and code (10 epochs of warm-up, final = 0.001, per step).
    """
    if total_steps < 1:
        raise ValueError(f"total_steps: got {total_steps}, wanted at least 1")
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(f"warmup_steps: got {warmup_steps}, wanted 0 to {total_steps - 1} (total_steps - 1)")
    if not 0 <= step <= total_steps:
        raise ValueError(f"step: got {step}, wanted 0 to {total_steps} (total_steps)")
    if not 0 <= final <= 1:
        raise ValueError(f"final: got {final}, wanted a fraction of the peak in [0, 1]")
    if not 0 <= start <= 1:
        raise ValueError(f"start: got {start}, wanted a fraction of the peak in [0, 1]")
    if step < warmup_steps:
        return start + (1 - start) * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2


def set_learning_rate(optimizer: Optimizer, factor: float) -> None:
    """Set the learning rate of every group to its `peak` times `factor`; a `constant` group keeps its peak.

    The one place where the schedule reaches an optimizer.
    """
    for index, group in enumerate(optimizer.param_groups):
        if "peak" not in group:
            raise ValueError(f"optimizer: group {index} has no 'peak' learning rate; build it with build_optimizer")
        group["lr"] = group["peak"] * (1.0 if group.get("constant") else factor)
