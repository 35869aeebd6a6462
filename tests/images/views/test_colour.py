"""Colour transforms have torchvision's pixels, with a factor per sample."""

from collections import Counter

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as reference

from barlow.images.views import colour
from tests.images.views.drawing import generator

STEPS = (
    ("brightness", reference.adjust_brightness),
    ("contrast", reference.adjust_contrast),
    ("saturation", reference.adjust_saturation),
    ("hue", reference.adjust_hue),
)


def images_of(num_samples: int, channels: int = 3, side: int = 16) -> Tensor:
    """Random images, one of them grey, one of pure colours, one black, one white."""
    images = torch.rand(num_samples, channels, side, side, generator=generator(7))
    images[1] = images[1, :1]
    images[2] = images[2].round()
    images[3], images[4] = 0, 1
    return images


def every_row(images: Tensor) -> Tensor:
    return torch.arange(len(images))


@pytest.mark.parametrize("step", range(4))
def test_each_adjustment_has_torchvisions_pixels(step: int) -> None:
    images = images_of(32)
    params = colour.sample_jitter(32, 0.0, 0.0, 0.0, 0.0, generator())
    name, adjust = STEPS[step]
    strongest = 0.5 if name == "hue" else 0.9
    centre = 0.0 if name == "hue" else 1.0
    factor = centre + strongest * (2 * torch.rand(32, generator=generator(3)) - 1)
    ours = colour.jitter(images.clone(), colour.turns_of(every_row(images), {**params, name: factor}))
    for image, value, result in zip(images, factor.tolist(), ours, strict=True):
        torch.testing.assert_close(result, adjust(image, value), atol=3e-6, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_is_torchvisions_sequence_in_each_samples_own_order(channels: int) -> None:
    images = images_of(64, channels)
    strengths = (0.4, 0.4, 0.2, 0.1) if channels == 3 else (0.4, 0.4, 0.0, 0.0)
    params = colour.sample_jitter(64, *strengths, generator())
    ours = colour.jitter(images.clone(), colour.turns_of(every_row(images), params))
    assert len({tuple(order) for order in params["order"].tolist()}) > 15
    for i, image in enumerate(images):
        expected = image
        for step in params["order"][i].tolist():
            name, adjust = STEPS[step]
            if name in params:
                expected = adjust(expected, float(params[name][i]))
        torch.testing.assert_close(ours[i], expected, atol=5e-6, rtol=0)


def test_jitter_touches_only_the_rows_it_is_given() -> None:
    images = images_of(10)
    params = colour.sample_jitter(10, 0.4, 0.4, 0.2, 0.1, generator())
    whole = colour.jitter(images.clone(), colour.turns_of(every_row(images), params))
    rows = torch.tensor([8, 0, 5])
    some = colour.jitter(images.clone(), colour.turns_of(rows, params))
    torch.testing.assert_close(some[rows], whole[rows], atol=1e-6, rtol=0)
    others = torch.tensor([1, 2, 3, 4, 6, 7, 9])
    assert torch.equal(some[others], images[others])
    assert torch.equal(colour.jitter(images.clone(), colour.turns_of(rows[:0], params)), images)


def test_jitter_draws_torchvisions_ranges_and_every_order_alike() -> None:
    drawn = colour.sample_jitter(24_000, 0.4, 1.5, 0.2, 0.1, generator())
    theirs = v2.ColorJitter(0.4, 1.5, 0.2, 0.1)
    for name in ("brightness", "contrast", "saturation", "hue"):
        low, high = getattr(theirs, name)
        values = drawn[name]
        assert values.min() >= low - 1e-6
        assert values.max() <= high + 1e-6
        assert abs(values.mean() - (low + high) / 2) < 0.01 * (high - low)
        assert abs(values.std() - (high - low) / 12**0.5) < 0.01 * (high - low)
    counts = Counter(tuple(order) for order in drawn["order"].tolist())
    assert len(counts) == 24
    assert max(abs(count - 1000) for count in counts.values()) < 150  # 4.8 standard deviations


def test_luminance_is_torchvisions_grey() -> None:
    images = images_of(6)
    expected = reference.rgb_to_grayscale(images)
    torch.testing.assert_close(colour.luminance(images), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(colour.luminance(images[:, :1]), images[:, :1])


@pytest.mark.parametrize("side", [12, 32, 33, 100])
def test_blur_is_torchvisions_with_23_taps(side: int) -> None:
    images = torch.rand(4, 3, side, side, generator=generator())
    sigma = torch.tensor([0.1, 0.7, 1.3, 2.0])
    ours = colour.blur(images, sigma)
    for image, width, result in zip(images, sigma.tolist(), ours, strict=True):
        expected = reference.gaussian_blur(image, [23, 23], [width, width])
        torch.testing.assert_close(result, expected, atol=3e-6, rtol=0)


@pytest.mark.parametrize("side", [1, 2, 8])
def test_blur_of_images_smaller_than_its_kernel_keeps_constants_and_mirrors(side: int) -> None:
    sigma = torch.tensor([2.0, 1.0])
    torch.testing.assert_close(
        colour.blur(torch.full((2, 1, side, side), 0.3), sigma), torch.full((2, 1, side, side), 0.3)
    )
    images = torch.rand(2, 1, side, side, generator=generator())
    torch.testing.assert_close(colour.blur(images.flip(-1), sigma), colour.blur(images, sigma).flip(-1))


def test_solarize_is_torchvisions_at_128() -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    ours = colour.solarize(levels / 255)
    assert torch.equal(ours.mul(255).round().to(torch.uint8), reference.solarize(levels, 128))


def test_contrast_stretches_about_the_middle_and_clamps() -> None:
    images = torch.tensor([0.0, 0.4, 0.5, 1.0]).reshape(1, 1, 2, 2).repeat(2, 1, 1, 1)
    result = colour.contrast(images, torch.tensor([2.0, 0.5]), torch.tensor([0.0, 0.1]))
    expected = torch.tensor([[0.0, 0.3, 0.5, 1.0], [0.35, 0.55, 0.6, 0.85]])
    torch.testing.assert_close(result.flatten(1), expected)


def test_noise_has_the_level_that_is_written_beside_it() -> None:
    drawn = colour.sample_noise(50, 0.2, (1, 40, 40), generator())
    torch.testing.assert_close(drawn["noise"].std((1, 2, 3)), drawn["level"], rtol=0.1, atol=0)
    assert 0.15 < drawn["level"].max() <= 0.2
    assert drawn["noise"].mean((1, 2, 3)).abs().max() < 0.02


def test_pixels_come_back_from_normalised_views() -> None:
    pixels = torch.randint(0, 256, (3, 3, 9, 9), dtype=torch.uint8, generator=generator())
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    view = colour.normalise(pixels / 255, mean, std, out=torch.empty(3, 3, 9, 9))
    torch.testing.assert_close(view, reference.normalize(pixels / 255, list(mean), list(std)))
    assert torch.equal(colour.to_pixels(view, mean, std), pixels)
