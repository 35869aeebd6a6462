"""W shards of one batch in one process: threads in lockstep, with the collectives written out."""

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
AllMean = Callable[[Tensor, int], Tensor]
GatherRows = Callable[[Tensor], Tensor]


def in_lockstep(world: int, work: Callable[[int, AllMean, GatherRows], T]) -> list[T]:
    """Run work(rank, all_mean, gather) for every rank at once; both collectives keep the gradient."""
    barrier = threading.Barrier(world)
    slots: list[tuple[Tensor, int]] = [(torch.zeros(0), 0)] * world
    results: dict[int, T] = {}
    errors: list[BaseException] = []

    def exchange(rank: int, tensor: Tensor, count: int) -> Sequence[tuple[Tensor, int]]:
        slots[rank] = (tensor, count)
        barrier.wait(timeout=30)
        everyone = list(slots)
        barrier.wait(timeout=30)
        return everyone

    def run(rank: int) -> None:
        def all_mean(local_mean: Tensor, num_samples: int) -> Tensor:
            pairs = exchange(rank, local_mean, num_samples)
            return torch.stack([mean * count for mean, count in pairs]).sum(0) / sum(count for _, count in pairs)

        def gather(rows: Tensor) -> Tensor:
            return torch.cat([part for part, _ in exchange(rank, rows, len(rows))])

        try:
            results[rank] = work(rank, all_mean, gather)
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [results[rank] for rank in range(world)]
