import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor
from torch.utils.data import Dataset

from barlow.data.order import batches_of, evenly_spaced, generators_restored, hash_seed, seed_generators
from barlow.data.streaming import MOST_IN_PROCESS
from barlow.data.subsets import subset
from barlow.images.data.options import LoadOptions
from barlow.images.data.torch_dataset import dataset_source
from barlow.seams import Source
from barlow.training.order import batches_from
from barlow.training.plan import Plan


def test_batches_cover_the_order_and_only_the_last_is_shorter() -> None:
    assert list(batches_of([4, 0, 0, 3, 1], 2, 5)) == [[4, 0], [0, 3], [1]]
    assert list(batches_of([], 2, 5)) == []


@pytest.mark.parametrize("wrong", [-1, 5])
def test_positions_outside_the_source_are_refused_by_number(wrong: int) -> None:
    with pytest.raises(ValueError, match=f"order: position {wrong} is not in a source of 5"):
        batches_of([0, wrong], 2, 5)


def test_a_batch_size_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size: got 0"):
        batches_of([0], 0, 5)


@given(num_samples=st.integers(0, 1000), most=st.integers(1, 1000))
def test_evenly_spaced_positions_differ_and_reach_both_ends(num_samples: int, most: int) -> None:
    places = evenly_spaced(num_samples, most)
    assert len(places) == len(set(places)) == min(num_samples, most)
    assert places == sorted(places)
    assert all(0 <= place < num_samples for place in places)
    if places:
        gap = num_samples / len(places)
        assert places[0] <= gap / 2
        assert num_samples - 1 - places[-1] <= gap / 2


# --- Datasets whose items are random: what they draw follows from the run's seed, the epoch and the sample.


pytestmark = [
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]

COUNT = 3 * MOST_IN_PROCESS
PLAN = Plan(2, COUNT // 4, seed=0, factor=lambda _: 1.0, clip_norm=0.0, checkpoint_minutes=1.0, floor=None)
OTHER_SEED = Plan(2, COUNT // 4, seed=1, factor=lambda _: 1.0, clip_norm=0.0, checkpoint_minutes=1.0, floor=None)


class RandomItems(Dataset[Any]):
    """Item p is p and three random numbers, one from each generator that transforms draw from."""

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> Any:
        drawn = [float(torch.rand(())), float(np.random.rand()), random.random()]  # noqa: NPY002
        return torch.tensor([float(index), *drawn], dtype=torch.float64)


def random_source(num_workers: int) -> Source:
    return dataset_source(RandomItems(), LoadOptions(num_workers=num_workers), as_images=False)


def items(
    source: Source, plan: Plan = PLAN, first_step: int = 0, rank: int = 0, world: int = 1
) -> dict[tuple[int, int], tuple[float, ...]]:
    """Return what was drawn, by step and sample."""
    found = {}
    for step, share in batches_from(source, plan, first_step=first_step, rank=rank, world=world):
        assert share is not None
        for position, *drawn in share.samples.tolist():
            found[step, int(position)] = tuple(drawn)
    return found


@pytest.mark.parametrize("num_workers", [0, 2])
def test_no_two_items_of_a_run_or_of_runs_with_other_seeds_draw_the_same(num_workers: int) -> None:
    first, other = items(random_source(num_workers)), items(random_source(num_workers), OTHER_SEED)
    assert len(first) == len(other) == 2 * COUNT
    for place in range(3):
        assert len({drawn[place] for drawn in [*first.values(), *other.values()]}) == 4 * COUNT


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("first_step", [1, 3, 6])
def test_a_resumed_run_draws_what_an_uninterrupted_one_does(num_workers: int, first_step: int) -> None:
    whole, rest = items(random_source(num_workers)), items(random_source(num_workers), first_step=first_step)
    assert rest == {key: drawn for key, drawn in whole.items() if key[0] >= first_step}


def test_neither_workers_nor_processes_nor_other_reads_change_what_is_drawn() -> None:
    whole = items(random_source(0))
    source = random_source(2)
    next(source.batches(range(COUNT), 10))  # left in the middle: the lasting workers have read ahead
    assert items(source) == whole
    assert items(random_source(2), rank=0, world=2) | items(random_source(2), rank=1, world=2) == whole


def test_a_part_of_a_source_passes_the_seed_on() -> None:
    found = items(subset(random_source(0), range(COUNT)))
    assert found == items(random_source(0))


def test_without_a_seed_an_order_draws_the_same_again_and_another_one_does_not() -> None:
    source = random_source(0)
    first, again, turned = (
        torch.cat([batch.samples for batch in source.batches(order, 7)])
        for order in (range(20), range(20), range(19, -1, -1))
    )
    assert torch.equal(first, again)
    assert not (first == turned.flip(0))[:, 1:].any()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_reading_leaves_the_generators_of_this_process_alone(num_workers: int) -> None:
    # Python's own is left to the test below: beartype, which checks types during tests, draws from it.
    before = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    list(random_source(num_workers).batches(range(COUNT), 50))
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_equal(np.random.get_state(), before[1])  # noqa: NPY002


class WorkerSeeds(RandomItems):
    """Item p is the seed of the worker that reads it: what generators made by a dataset itself are started from."""

    def __getitem__(self, index: int) -> Any:
        info = torch.utils.data.get_worker_info()
        assert info is not None
        return torch.tensor([info.seed])


def test_workers_start_from_seeds_of_the_run_the_process_and_the_first_step() -> None:
    def seeds(plan: Plan = PLAN, first_step: int = 0, rank: int = 0) -> frozenset[int]:
        source = dataset_source(WorkerSeeds(), LoadOptions(num_workers=2), as_images=False)
        shares = batches_from(source, plan, first_step=first_step, rank=rank, world=2)
        return frozenset(int(seed) for _, share in shares if share is not None for seed in share.samples)

    assert seeds() == seeds()
    others = [seeds(), seeds(OTHER_SEED), seeds(first_step=1), seeds(rank=1)]
    assert len(frozenset.union(*others)) == 8


def test_generators_are_restored_even_after_an_error() -> None:
    def drawn() -> Tensor:
        return torch.tensor([float(torch.rand(())), float(np.random.rand()), random.random()])  # noqa: NPY002

    def fail_inside() -> None:
        with generators_restored():
            seed_generators(6)
            assert not torch.isin(drawn(), expected).any()
            raise KeyError

    seed_generators(5)
    expected = drawn()
    seed_generators(5)
    with pytest.raises(KeyError):
        fail_inside()
    assert torch.equal(drawn(), expected)


def test_neighbouring_numbers_give_unrelated_seeds() -> None:
    seeds = [hash_seed(a, b) for a in range(50) for b in range(50)]
    assert len(set(seeds)) == 2500
    assert all(0 <= seed < 2**63 for seed in seeds)
    ones = np.mean([seed.bit_count() for seed in seeds])
    assert ones == pytest.approx(31.5, abs=0.5)
