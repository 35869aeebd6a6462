"""A permutation of any number of positions, from a key and in no memory: the k-th position is computed alone.

A Feistel network permutes the numbers below a power of four; what falls outside is permuted again until it is inside
(cycle walking), which keeps it a permutation of 0 ... N - 1. It looks random and is not for secrets.

Source: Luby and Rackoff 1988; Black and Rogaway 2002, section 4 ("Ciphers with arbitrary finite domains").
"""

import numpy as np
import numpy.typing as npt

from barlow.data.order import hash_seed

ROUNDS = 6
"""Of the network; from four on it is a pseudorandom permutation where the round function is a good one."""


def permuted(places: npt.NDArray[np.int64], number: int, key: int) -> npt.NDArray[np.int64]:
    """Return where a permutation of 0 ... number - 1 takes some places.

    Args:
        places: (n,) from 0 to number - 1, in any order.
        number: how many positions are permuted; up to 2^62.
        key: of the permutation; neighbouring keys give unrelated ones.

    Returns:
        (n,) positions, different where the places are.

    Example:
        positions = permuted(np.arange(256), 1_000_000_000, key=7)
    """
    half = max(1, ((number - 1).bit_length() + 1) // 2)
    keys = [np.uint64(hash_seed(key, turn)) for turn in range(ROUNDS)]
    found = _network(places.astype(np.uint64), half, keys)
    while len(outside := np.flatnonzero(found >= number)):  # at most three quarters of them, each time
        found[outside] = _network(found[outside], half, keys)
    return found.astype(np.int64)


def _network(values: npt.NDArray[np.uint64], half: int, keys: list[np.uint64]) -> npt.NDArray[np.uint64]:
    mask, shift = np.uint64((1 << half) - 1), np.uint64(half)
    left, right = values >> shift, values & mask
    for key in keys:
        left, right = right, left ^ (_mixed(right ^ key) & mask)
    joined: npt.NDArray[np.uint64] = (left << shift) | right
    return joined


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Every bit of the result depends on every bit of a value (the finalizer of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: npt.NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return mixed
