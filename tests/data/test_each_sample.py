import random
from typing import Any

import pytest
import torch

from barlow.data.each_sample import EachSample
from barlow.seams import View

BATCH = torch.arange(4 * 3, dtype=torch.uint8).view(4, 3)


def noisy(sample: torch.Tensor) -> torch.Tensor:
    """Draws from two of the generators that transforms draw from."""
    return sample.float() + torch.rand(3) + random.random()


def drawn(seed: int) -> torch.Tensor:
    view = EachSample(noisy)
    made: torch.Tensor = view.apply(BATCH, view.sample(BATCH, torch.Generator().manual_seed(seed)))
    return made


def test_a_transform_of_one_sample_is_a_view_that_can_be_drawn_again() -> None:
    before = torch.random.get_rng_state(), random.getstate()
    first = drawn(0)
    assert isinstance(EachSample(noisy), View)
    assert first.shape == (4, 3)
    assert torch.equal(first, drawn(0))
    assert not torch.equal(first, drawn(1))
    noise = first - BATCH
    assert len(noise.unique(dim=0)) == 4, "each sample has draws of its own"
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_without_seeds_the_batch_is_as_it_was_and_samples_of_other_sizes_come_as_a_list() -> None:
    assert EachSample(noisy).apply(BATCH, {}) is BATCH
    ragged = EachSample(lambda sample: torch.zeros(int(sample[0]) + 1))
    params = ragged.sample(BATCH, torch.Generator())
    assert [len(one) for one in ragged.apply(BATCH, params)] == [1, 4, 7, 10]


def refuses(sample: Any) -> Any:
    raise TypeError("pic should be PIL Image or ndarray")


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda sample: [sample, sample], "views: function makes 2 views of a sample, wanted one"),
        (lambda sample: sample, r"views: function gives torch.uint8, wanted a tensor of floats.*ToDtype"),
        (lambda sample: "picture", r"views: function gives str, wanted a tensor of floats"),
        (refuses, r"views: function fails on a torch.uint8 tensor \(3,\): pic should be .*ToPILImage\(\) before it"),
    ],
)
def test_what_is_no_view_of_one_sample_is_told_how(transform: Any, message: str) -> None:
    view = EachSample(transform)
    with pytest.raises(ValueError, match=message):
        view.apply(BATCH, view.sample(BATCH, torch.Generator()))
