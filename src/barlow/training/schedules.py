"""The learning rate over a run: a factor per step, and the one place where it reaches an optimizer."""

import math

from torch.optim.optimizer import Optimizer


def warmup_cosine(step: int, *, total_steps: int, warmup_steps: int, final: float, start: float = 0.0) -> float:
    """Return the learning rate of a step as a fraction of its peak.

    start + (1 - start) * (step + 1) / warmup_steps    during the warm-up,
    final + (1 - final) * (1 + cos(pi * q)) / 2        afterwards, q = (step - warmup) / (total - warmup).

    Differs from the Barlow Twins repository, whose warm-up is step / warmup_steps, in that no batch is
    spent on a first step of length zero.

    Args:
        step: number of steps already taken, 0 to `total_steps`.
        total_steps: steps of the whole run.
        warmup_steps: steps of linear warm-up, fewer than `total_steps`.
        final: value at the end of the cosine, in [0, 1].
        start: where the warm-up rises from, in [0, 1].

    Returns:
        A factor in (0, 1], or [0, 1] with `final=0`.

    Raises:
        ValueError: an argument out of its range.

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

    Args:
        optimizer: one of `build_optimizer`; every group has a `peak`.
        factor: what `warmup_cosine` returns.

    Raises:
        ValueError: a group without `peak`, so that there is nothing to scale.
    """
    for index, group in enumerate(optimizer.param_groups):
        if "peak" not in group:
            raise ValueError(f"optimizer: group {index} has no 'peak' learning rate; build it with build_optimizer")
        group["lr"] = group["peak"] * (1.0 if group.get("constant") else factor)
