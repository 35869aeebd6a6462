"""Seeds from numbers alone, and the global random generators of this process set to them for a while."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def hash_seed(*numbers: int) -> int:
    """Mix whole numbers into one seed; neighbouring inputs give unrelated generators (a 64-bit FNV-style mix)."""
    mixed = 0xCBF29CE484222325
    for number in numbers:
        mixed = ((mixed ^ (number & 0xFFFFFFFFFFFFFFFF)) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        mixed ^= mixed >> 29
    return mixed >> 1


def seed_generators(seed: int) -> None:
    """Start the global generators of Python, NumPy and torch from a seed, the last on the CPU only.

    Args:
        seed: from 0 to 2^63 - 1; NumPy's generator takes its lower 32 bits.
    """
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)  # noqa: NPY002 (the generator that transforms draw from)
    # `torch.manual_seed` would start the generators of all GPUs too, which the training draws from.
    torch.default_generator.manual_seed(seed)


@contextmanager
def generators_kept() -> Iterator[None]:
    """Put the global generators of Python, NumPy and torch (on the CPU) back at the end, as they were."""
    states = random.getstate(), np.random.get_state(), torch.default_generator.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.default_generator.set_state(states[2])
