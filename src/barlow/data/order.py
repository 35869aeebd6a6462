"""Order and chance, both from numbers alone, so that a run can be repeated and resumed.

Positions are cut into batches and checked before anything is read; what is random in a sample comes from a seed.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch


def batches_of(order: Sequence[int], batch_size: int, num_samples: int) -> list[list[int]]:
    """Cut `order` into consecutive batches of `batch_size` positions; the last one may be shorter.

    Positions may repeat; one outside 0 ... num_samples - 1 is an error.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size: got {batch_size}, wanted at least 1")
    positions = [int(position) for position in order]
    if positions and (min(positions) < 0 or max(positions) >= num_samples):
        wrong = min(positions) if min(positions) < 0 else max(positions)
        raise ValueError(f"order: position {wrong} is not in a source of {num_samples} samples")
    return [positions[start : start + batch_size] for start in range(0, len(positions), batch_size)]


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
