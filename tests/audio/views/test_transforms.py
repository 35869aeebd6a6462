"""Each transform is what its formula says, for every clip of a batch by itself."""

import math

import pytest
import torch
from torch.nn.functional import interpolate, pad

from barlow.audio.views.transforms import (
    fader,
    louder,
    mixup,
    resized_crops,
    reverberant,
    shifted,
)


def spectrograms(num: int = 4, mels: int = 8, frames: int = 10) -> torch.Tensor:
    return torch.randn(num, mels, frames, generator=torch.Generator().manual_seed(1))


def test_mixup_adds_powers_and_does_not_overflow() -> None:
    x, z = spectrograms(), spectrograms().flip(0)
    share = torch.tensor([0.0, 0.1, 0.2, 0.5])
    wanted = ((1 - share)[:, None, None] * x.exp() + share[:, None, None] * z.exp()).log()
    torch.testing.assert_close(mixup(x, z, share), wanted)
    assert mixup(x + 500, z - 500, share).isfinite().all()
    nothing = torch.full_like(z, -torch.inf)  # a clip of the bank that could not be read
    assert torch.equal(mixup(x, nothing, torch.zeros(4)), x)


def test_crops_of_all_sizes_are_those_of_interpolate() -> None:
    x, canvas = spectrograms(5), 15
    top, left = torch.tensor([0, 1, 2, 0, 3]), torch.tensor([0, 2, 7, 5, 14])
    height, width = torch.tensor([8, 5, 6, 8, 1]), torch.tensor([15, 6, 8, 10, 1])
    found = resized_crops(x, canvas, top, left, height, width)
    around = pad(x, (2, 3))
    for place in range(5):
        box = around[place, top[place] : top[place] + height[place], left[place] : left[place] + width[place]]
        wanted = interpolate(box[None, None], size=(8, 10), mode="bicubic", align_corners=True)[0, 0]
        torch.testing.assert_close(found[place], wanted, rtol=1e-4, atol=1e-4)


def test_the_fader_is_a_line_over_time() -> None:
    found = fader(torch.zeros(2, 3, 5), torch.tensor([-1.0, 0.5]), torch.tensor([1.0, 0.5]))
    assert found[0, 1].tolist() == pytest.approx([-1, -0.5, 0, 0.5, 1])
    assert found[1].unique().tolist() == [0.5]


def test_a_shift_is_circular() -> None:
    x = spectrograms(2)
    found = shifted(x, torch.tensor([3, -2]))
    assert torch.equal(found[0], x[0].roll(3, dims=1))
    assert torch.equal(found[1], x[1].roll(-2, dims=1))


def test_ten_decibels_are_a_tenfold_power() -> None:
    x = torch.zeros(1, 2, 2)
    assert float(louder(x, torch.tensor([10.0]), 4.0)[0, 0, 0]) == pytest.approx(math.log(10) / 4)


def test_reverberation_falls_by_sixty_decibels_in_its_time_and_keeps_the_power() -> None:
    x = torch.full((1, 1, 200), -60.0)
    x[0, 0, 0] = 0.0
    found = reverberant(x, torch.tensor([0.5]), 0.01, 0.0, 1.0)[0, 0]
    assert float(found[0] - found[50]) == pytest.approx(6 * math.log(10), rel=1e-4)
    assert float(found.exp().sum()) == pytest.approx(1.0, rel=1e-3)
    dry = reverberant(spectrograms(), torch.zeros(4), 0.01, 0.0, 1.0)
    torch.testing.assert_close(dry, spectrograms(), rtol=1e-5, atol=1e-5)
