"""Order and chance, both from numbers alone, so that a run can be repeated and resumed.

Positions are cut into batches and checked before anything is read; what is random in a sample comes from a seed.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch


class Batches(Sequence[list[int]]):
    """The batches of an order, each cut out of it when it is asked for: an order may be computed as it is read."""

    def __init__(self, order: Sequence[int], batch_size: int) -> None:
        self.order, self.batch_size = order, batch_size

    def __len__(self) -> int:
        """Return the number of batches."""
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, number: Any) -> Any:
        """Return one batch, a list of positions; IndexError behind the last."""
        if not 0 <= number < len(self):
            raise IndexError(f"batch {number} of {len(self)}")
        start = number * self.batch_size
        return [int(position) for position in self.order[start : start + self.batch_size]]


def batches_of(order: Sequence[int], batch_size: int, num_samples: int) -> Batches:
    """Cut `order` into consecutive batches of `batch_size` positions; the last one may be shorter.

    Positions may repeat; one outside 0 ... num_samples - 1 is an error.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size: got {batch_size}, wanted at least 1")
    if len(order):
        first, last = order.within if isinstance(order, Computed) else (min(order), max(order))
        if first < 0 or last >= num_samples:
            raise ValueError(
                f"order: position {first if first < 0 else last} is not in a source of {num_samples} samples"
            )
    return Batches(order, batch_size)


class Computed(Sequence[int]):
    """An order whose positions are computed, or looked up, when they are asked for.

    Attributes:
        within: the smallest and the largest position that there may be.
    """

    def __init__(self, length: int, within: tuple[int, int], positions: Callable[[int, int], npt.NDArray[Any]]) -> None:
        """Take (start, stop) -> positions, for any part of the length."""
        self.within = within
        self._length, self._positions = length, positions

    def __len__(self) -> int:
        """Return the number of positions."""
        return self._length

    def __getitem__(self, index: Any) -> Any:
        """Return one position, or a list of those of a slice."""
        if isinstance(index, slice):
            start, stop, step = index.indices(self._length)
            return self._positions(start, max(start, stop)).tolist() if step == 1 else [
                self[place] for place in range(start, stop, step)]  # fmt: skip
        place = index + self._length if index < 0 else index
        if not 0 <= place < self._length:
            raise IndexError(f"position {index} of {self._length}")
        return int(self._positions(place, place + 1)[0])

    def __iter__(self) -> Iterator[int]:
        """Yield all positions."""
        for start in range(0, self._length, _AT_ONCE):
            yield from self._positions(start, min(start + _AT_ONCE, self._length)).tolist()


_AT_ONCE = 4096
"""Positions that are computed together where one goes over all."""


def evenly_spaced(num_samples: int, most: int) -> list[int]:
    """Return min(num_samples, most) increasing positions, spread evenly over a source.

    Sources are often sorted by class or by date, so the first positions would show one part of it only.
    """
    count = min(num_samples, most)
    return [(2 * place + 1) * num_samples // (2 * count) for place in range(count)]


def hash_seed(*numbers: int) -> int:
    """Mix whole numbers into one seed; neighbouring inputs give unrelated generators (a 64-bit FNV-style mix)."""
    mixed = 0xCBF29CE484222325
    for number in numbers:
        mixed = ((mixed ^ (number & 0xFFFFFFFFFFFFFFFF)) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        mixed ^= mixed >> 29
    return mixed >> 1


def seed_generators(seed: int) -> None:
    """Start the global generators of Python, NumPy and torch from a seed, the last on the CPU only.

    The seed is from 0 to 2^63 - 1; NumPy's generator takes its lower 32 bits.
    """
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)  # noqa: NPY002 (the generator that transforms draw from)
    # `torch.manual_seed` would start the generators of all GPUs too, which the training draws from.
    torch.default_generator.manual_seed(seed)


@contextmanager
def generators_restored() -> Iterator[None]:
    """Restore the global generators of Python, NumPy and torch (on the CPU) at the end to what they were."""
    states = random.getstate(), np.random.get_state(), torch.default_generator.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.default_generator.set_state(states[2])
