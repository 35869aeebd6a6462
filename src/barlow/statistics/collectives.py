"""The only mathematics over processes: each function is right in value and in gradient, and does nothing alone.

Mathematics never asks whether it is distributed: it takes `all_mean` (and `gather`) as arguments. So W processes can be
tested as W shards in one process, and the tests of this file cover the rest. A loss that is given neither takes them
from `mean_for` and `gather_for`: the exact form inside a process group (docs/decisions/0018-exact-by-default.md).

Gradients assume what DDP and Fabric do: parameter gradients are *averaged* over processes, and every process
computes the same loss from the same global quantities. So the backward pass of each function here is the sum over
processes, sum_s dL_s/dx = W dL/dx, and the average over processes is exactly the gradient of one process that holds
the whole batch. (The official Barlow Twins code reduces C outside autograd instead and so trains with 1/W of it:
docs/decisions/0007-exact-over-processes.md.)

Tensors travel between devices. Numbers that Python needs (how many samples, who wants to stop) travel between hosts, by
gloo also where the devices talk by NCCL: a host that asks a GPU for a number waits for all that the GPU has to do.
"""

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

AllMean = Callable[[Tensor, int], Tensor]
"""(mean over the local samples, number of local samples) -> mean over the samples of all processes."""

Gather = Callable[[Tensor], Tensor]
"""Rows of this process -> rows of all processes, in the order of the processes."""


def identity(local_mean: Tensor, num_samples: int) -> Tensor:
    """Return `local_mean`: the mean over all processes when there is one process."""
    return local_mean


def own_rows(rows: Tensor) -> Tensor:
    """Return `rows`: those of all processes when there is one process."""
    return rows


def num_processes() -> int:
    """Return the number of processes W; 1 when nothing is distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_first_process() -> bool:
    """Whether this is the process that prints and writes: the first, or the only one."""
    return num_processes() == 1 or dist.get_rank() == 0


def all_mean(local_mean: Tensor, num_samples: int) -> Tensor:
    """Average over the samples of all processes: sum_r n_r x_r / sum_r n_r.

    One all-reduce forward, one backward: the numbers of samples travel with the values.

    Args:
        local_mean: mean over the samples of this process, any shape, equal on all processes.
        num_samples: n_r, the number of samples of this process; may differ between processes.

    Returns:
        The global mean, the same on every process. With one process, `local_mean` itself.
    """
    if num_processes() == 1:
        return local_mean
    mean: Tensor = _WeightedMean.apply(local_mean, num_samples)
    return mean


def all_mean_here() -> AllMean:
    """Return `all_mean` where there are several processes, else `identity`, for which some losses have a faster way."""
    return all_mean if num_processes() > 1 else identity


def mean_for(z: Tensor, given: AllMean | None = None) -> AllMean:
    """Return the mean that a loss of `z` is taken by: the given one, or over the default process group, if any.

    So a loss in a loop of one's own is that of the whole batch without a word. `identity` for the own samples alone, as
    where one process works and the others do not. A group that cannot carry tensors of this device is warned of once.
    """
    if given is not None:
        return given
    return all_mean if num_processes() > 1 and _carried(z.device.type) else identity


def gather_for(
    z: Tensor, given: Gather | None = None, mean: AllMean | None = None, *, gradient: bool = False
) -> Gather:
    """Return how a loss of `z` gathers rows: the given way, or that which goes with its mean, as `mean_for` does.

    A mean of one's own says nothing of rows: the own ones are used, and one warning says so.
    """
    if given is not None:
        return given
    if mean is not None and exchange_of(mean) is None:
        _say_once("gather: got none beside an all_mean of your own, so rows are compared within each process only; "
                  "wanted gather= too, such as barlow.gather_with_grad")  # fmt: skip
    over_all = mean is None or exchange_of(mean) is _OVER_PROCESSES
    if over_all and num_processes() > 1 and _carried(z.device.type):
        return gather_with_grad if gradient else gather_rows
    return own_rows


def _carried(device: str) -> bool:
    """Whether the default group carries tensors of a device."""
    backends = str(dist.get_backend_config())
    if f"{device}:" in backends or ":" not in backends:
        return True
    _say_once(
        f"all_mean: the process group ({backends}) carries no tensors of the {device}, so each process computes "
        "the loss of its own samples only; wanted tensors on its device, a group for both (cpu:gloo,cuda:nccl), or "
        "all_mean= and gather= of your own (barlow.MeanOver); all_mean=barlow.identity says that this is meant"
    )
    return False


@functools.cache
def _say_once(message: str) -> None:
    warnings.warn(message, stacklevel=5)


def gather_with_grad(rows: Tensor) -> Tensor:
    """Concatenate the rows of all processes; gradients go back to the process that the rows came from.

    Bytes per process and 4-byte number, N rows of D: about 4 N D forward and 8 N D backward (an all-reduce).

    Args:
        rows: (n_r, ...), equal trailing axes on all processes; n_r may differ.

    Returns:
        (sum_r n_r, ...), in the order of the processes. With one process, `rows` itself.
    """
    if num_processes() == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows)
    return gathered


def gather_rows(rows: Tensor, *, equal: bool = False) -> Tensor:
    """Concatenate the rows of all processes, without gradient: for codes, queues and hand-written gradients.

    The same as `gather_with_grad` otherwise. With `equal`, n_r is the same everywhere, so that the processes need not
    tell each other: one exchange, not two.
    """
    if num_processes() == 1:
        return rows
    return torch.cat(_parts(rows.detach(), equal=equal))


def sum_over_processes(x: Tensor) -> Tensor:
    """Add the tensors of all processes, of one shape, without gradient: for hand-written gradients.

    `x` is left as it is; with one process it is returned itself.
    """
    if num_processes() == 1:
        return x
    total = x.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


def numbers_of_all(*numbers: int) -> list[list[int]]:
    """Return the numbers of every process, in the order of the processes: what the hosts have to know.

    Every process gives equally many. No device is asked, so none is waited for.
    """
    if num_processes() == 1:
        return [list(numbers)]
    everyone = torch.zeros(num_processes(), len(numbers), dtype=torch.int64)
    everyone[dist.get_rank()] = torch.tensor(numbers, dtype=torch.int64)
    dist.all_reduce(everyone, group=_hosts())
    found: list[list[int]] = everyone.tolist()
    return found


def _hosts() -> Any:
    """The group that carries numbers of the CPU: the default one (None), or beside NCCL, which cannot, one of gloo."""
    backend = str(dist.get_backend())
    return _gloo_beside(dist.group.WORLD) if "nccl" in backend and "gloo" not in backend else None


@functools.lru_cache(maxsize=1)
def _gloo_beside(world: Any) -> Any:
    """A group for each world, made where all processes ask for it first."""
    return dist.new_group(backend="gloo")


class Exchange(NamedTuple):
    """How a hand-written gradient completes what this process has; neither function is seen by autograd.

    `add` takes a part of a sum to the sum over processes, `gather` the rows of this process to those of all.
    """

    add: Callable[[Tensor], Tensor]
    gather: Gather


ALONE = Exchange(lambda part: part, lambda rows: rows)
_OVER_PROCESSES = Exchange(sum_over_processes, gather_rows)


def exchange_of(all_mean_of_caller: AllMean) -> Exchange | None:
    """Return the exchange that belongs to the `all_mean` that a loss was given.

    `ALONE` for `identity`; that over processes for `all_mean` of this file (`ALONE` if there is one process); None for
    a function of your own, which says nothing about gathering rows.
    """
    if all_mean_of_caller is identity:
        return ALONE
    if all_mean_of_caller is all_mean:
        return _OVER_PROCESSES if num_processes() > 1 else ALONE
    return all_mean_of_caller.exchange if isinstance(all_mean_of_caller, MeanOver) else None


@dataclass(frozen=True)
class MeanOver:
    """An `all_mean` of your own together with N, the number of samples that it averages over.

    For losses whose processes talk to each other in another way than torch.distributed's default group: a group of
    one's own, another library, shards simulated in one process. The losses take their means over the whole batch
    through `all_mean`. A mean alone does not tell N: twice as many processes with the same samples give the same means.
    So what depends on N (unbiased variances, pairs of different samples, tests of a distribution) refuses a bare
    function, and takes

        barlow.vicreg_loss(z_a, z_b, all_mean=barlow.MeanOver(my_mean, num_samples=16))

    Without an `exchange` of rows that belongs to it, only the direct forms of the losses are possible.

    Attributes:
        mean: (mean over the local samples, number of local samples) -> mean over the samples of all processes.
        num_samples: N, the samples of all processes in the batch at hand.
        exchange: how rows travel, where the processes are those of torch.distributed's default group.
    """

    mean: AllMean
    num_samples: int
    exchange: Exchange | None = None

    def __call__(self, local_mean: Tensor, num_samples: int) -> Tensor:
        """Return the mean over the samples of all processes."""
        return self.mean(local_mean, num_samples)


def known_samples(num_samples: int, all_mean_of_caller: AllMean) -> int | None:
    """Return N, the samples of all processes, or None where the caller's `all_mean` does not tell.

    This process has `num_samples` of them.
    """
    if isinstance(all_mean_of_caller, MeanOver):
        if all_mean_of_caller.num_samples < num_samples:
            raise ValueError(
                f"num_samples of MeanOver: got {all_mean_of_caller.num_samples}, wanted the samples of all processes: "
                f"this one alone has {num_samples}"
            )
        return all_mean_of_caller.num_samples
    exchange = exchange_of(all_mean_of_caller)
    if exchange is None:
        return None
    return num_samples if exchange is ALONE else sum(own for (own,) in numbers_of_all(num_samples))


def counted(num_samples: int, all_mean_of_caller: AllMean) -> AllMean:
    """Return the same mean with N known, so that a loss of many statistics asks the other processes once."""
    if exchange_of(all_mean_of_caller) is not _OVER_PROCESSES or isinstance(all_mean_of_caller, MeanOver):
        return all_mean_of_caller
    total = sum(own for (own,) in numbers_of_all(num_samples))
    return MeanOver(all_mean_of_caller, total, _OVER_PROCESSES)


def count_samples(num_samples: int, all_mean_of_caller: AllMean) -> int:
    """Return N as `known_samples` does; a bare function of your own, which does not tell N, is refused."""
    known = known_samples(num_samples, all_mean_of_caller)
    if known is None:
        raise ValueError(
            "all_mean: got a function of your own, which does not tell over how many samples it averages; wanted "
            "barlow.MeanOver(all_mean, num_samples) or barlow.all_mean"
        )
    return known


class _WeightedMean(torch.autograd.Function):
    """sum_r n_r x_r / N; backward: n_r / N times the sum of all processes' gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, num_samples: int) -> Tensor:
        packed = x.new_empty(x.numel() + 1)
        torch.mul(x.reshape(-1), num_samples, out=packed[:-1])
        packed[-1] = num_samples
        dist.all_reduce(packed)
        ctx.weight = num_samples / packed[-1]
        return (packed[:-1] / packed[-1]).view(x.shape)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return sum_over_processes(grad_outputs[0]) * ctx.weight, None


class _Gather(torch.autograd.Function):
    """Rows of all processes; backward: own rows of the sum of all processes' gradients."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = _parts(rows)
        before = sum(len(part) for part in parts[: dist.get_rank()])
        ctx.own = slice(before, before + len(rows))
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return sum_over_processes(grad_outputs[0])[ctx.own]


def _parts(rows: Tensor, *, equal: bool = False) -> list[Tensor]:
    """The rows of each process. Padded to the longest on the way: collectives want equal shapes."""
    counts = [len(rows)] * num_processes()
    if not equal:
        counts = [count for (count,) in numbers_of_all(len(rows))]
    padded = rows.contiguous()
    if len(rows) < max(counts):
        padded = rows.new_zeros((max(counts), *rows.shape[1:]))
        padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return [part[:count] for part, count in zip(parts, counts, strict=True)]
