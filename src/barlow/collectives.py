"""The only cross-process mathematics: each function is right in value and in gradient, and does nothing alone.

Losses never ask whether they are distributed: they take `all_mean` as an argument, `identity` by default. So W
processes can be tested as W shards in one process, and one test of this file covers the rest.

Gradients assume what DDP and Fabric do: parameter gradients are *averaged* over processes, and every process
computes the same loss from the same global statistics. Then the averaged gradient is exactly the gradient of one
process that holds the whole batch. (The official Barlow Twins code reduces C outside autograd instead and so
trains with 1/W of it: docs/decisions/0002-all-mean-as-an-argument.md.)
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

AllMean = Callable[[Tensor, int], Tensor]
"""(mean over the local samples, number of local samples) -> mean over the samples of all processes."""


def identity(local_mean: Tensor, num_samples: int) -> Tensor:
    """Return `local_mean`: the mean over all processes when there is one process."""
    return local_mean


def num_processes() -> int:
    """Return the number of processes W; 1 when nothing is distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _WeightedSum(torch.autograd.Function):
    """sum_r w_r x_r over processes; backward: w_r * sum_s dL_s/dy, so that averaging over processes is exact."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        total = x * weight
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (weight,) = ctx.saved_tensors
        grad = grad_outputs[0].contiguous().clone()
        dist.all_reduce(grad)
        return grad * weight, None


def all_mean(local_mean: Tensor, num_samples: int) -> Tensor:
    """Average over the samples of all processes: sum_r n_r x_r / sum_r n_r.

    Args:
        local_mean: mean over the samples of this process, any shape, equal on all processes.
        num_samples: n_r, the number of samples of this process; may differ between processes.

    Returns:
        The global mean, the same on every process. With one process, `local_mean` itself.
    """
    if num_processes() == 1:
        return local_mean
    total = torch.tensor(float(num_samples), device=local_mean.device, dtype=torch.float64)
    dist.all_reduce(total)
    weight = (num_samples / total).to(local_mean.dtype)
    mean: Tensor = _WeightedSum.apply(local_mean, weight)
    return mean


def gather_rows(rows: Tensor) -> Tensor:
    """Concatenate the rows of all processes, without gradient: for monitoring and evaluation, not for losses.

    Args:
        rows: (n_r, ...), equal trailing axes on all processes; n_r may differ.

    Returns:
        (sum_r n_r, ...), in the order of the processes.
    """
    world = num_processes()
    if world == 1:
        return rows
    counts = torch.zeros(world, dtype=torch.int64, device=rows.device)
    counts[dist.get_rank()] = rows.shape[0]
    dist.all_reduce(counts)
    padded = rows.new_zeros((int(counts.max()), *rows.shape[1:]))
    padded[: rows.shape[0]] = rows.detach()
    parts = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(parts, padded)
    return torch.cat([part[: int(count)] for part, count in zip(parts, counts, strict=True)])
