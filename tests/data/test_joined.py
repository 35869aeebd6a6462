"""Several sources as one: order, bad samples, and chance."""

import tracemalloc

import numpy as np
import torch

from barlow.data.arrays import ArraySource
from barlow.data.joined import JoinedSource
from barlow.data.order import Computed
from barlow.seams import RandomSource, Source


def numbers(start: int, count: int, **more: object) -> ArraySource:
    return ArraySource(torch.arange(start, start + count), name=f"from-{start}", **more)  # type: ignore[arg-type]


def test_batches_mix_the_samples_of_all_parts_in_the_order_asked_for() -> None:
    joined = JoinedSource([numbers(0, 3), numbers(10, 4), numbers(20, 2)], "all")
    assert isinstance(joined, Source)
    assert isinstance(joined, RandomSource)
    assert len(joined) == 9
    order = [8, 0, 3, 3, 1, 6, 7]
    batches = list(joined.batches(order, 3))
    assert [batch.samples.tolist() for batch in batches] == [[21, 0, 10], [10, 1, 13], [20]]
    assert [batch.indices.tolist() for batch in batches] == [[8, 0, 3], [3, 1, 6], [7]]
    assert joined.describe(4) == "sample 1"


def test_bad_samples_are_left_out_and_named_by_their_place_in_the_whole() -> None:
    joined = JoinedSource([numbers(0, 3), numbers(10, 4, bad={1: "broken"})], "all")
    batches = list(joined.batches([4, 4, 2, 4, 5, 3], 2))
    assert [batch.samples.tolist() for batch in batches] == [[2], [12, 10]]
    assert joined.bad == {4: "broken"}


def test_the_same_source_twice_counts_twice() -> None:
    one = numbers(0, 2)
    (batch,) = JoinedSource([one, one], "twice").batches(range(4), 4)
    assert batch.samples.tolist() == [0, 1, 0, 1]


def test_the_order_of_many_samples_takes_few_bytes_each() -> None:
    count = 100_000
    joined = JoinedSource([numbers(0, count // 2), numbers(7, count // 2)], "many")
    order = Computed(count, (0, count - 1), lambda start, stop: np.arange(start, stop)[::-1].copy() % count)
    tracemalloc.start()
    try:
        batch = next(joined.batches(order, 256))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(batch.indices) == 256
    assert most < 30 * count  # lists of tuples took 107
