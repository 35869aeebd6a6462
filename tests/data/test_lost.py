"""What is lost of samples while they are read is counted by sample, in whatever process, and said once."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from barlow.data.lost import count, counting, lost_in, warn_of_lost
from barlow.data.memory import read_all
from barlow.data.streaming import StreamSource
from barlow.data.subsets import subset


@dataclass(frozen=True)
class Clipping:
    """Samples of which the multiples of ten lose as many values as their position says."""

    size: int = 130

    def __len__(self) -> int:
        return self.size

    def read(self, position: int) -> Tensor:
        count("values clipped", position if position % 10 == 0 else 0)
        return torch.tensor([position])

    def describe(self, position: int) -> str:
        return f"file {position}"


def test_what_nobody_collects_is_not_counted_and_collections_do_not_mix() -> None:
    count("values clipped", 3)
    with counting() as outer:
        count("values clipped", 2)
        with counting() as inner:
            count("values clipped", 5)
        count("values clipped", 1)
        count("nothing", 0)
    assert (outer, inner) == ({"values clipped": 3}, {"values clipped": 5})


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning", "ignore:This DataLoader will:UserWarning")
@pytest.mark.parametrize("num_workers", [0, 2])
def test_losses_are_counted_once_for_each_sample_by_workers_too(num_workers: int) -> None:
    source = StreamSource(Clipping(), name="numbers", num_workers=num_workers)
    assert lost_in(source) == []
    for _ in range(2):
        list(source.batches(range(41), 16))
    assert source.lost == {"values clipped": {10: 10, 20: 20, 30: 30, 40: 40}}
    assert lost_in(source) == ["100 values clipped, in 4 of 130 samples: file 10, file 20, ..."]


def test_losses_stay_with_what_is_read_into_memory_and_with_parts_of_it() -> None:
    whole = read_all(StreamSource(Clipping(30), name="numbers", num_workers=0))
    assert whole.lost == {"values clipped": {10: 10, 20: 20}}
    assert subset(whole, [20, 3]).lost == {"values clipped": {0: 20}}
    assert subset(whole, [3]).lost == {}
    with pytest.warns(UserWarning, match="30 values clipped, in 2 of 30 samples: file 10, file 20") as warned:
        warn_of_lost(whole, whole)
    assert len(warned) == 1
