import pytest
import torch

from barlow.data.arrays import ArraySource
from barlow.images.data.image_statistics import ImageShape, channel_statistics, image_shape
from tests.images.data.making import noise


def test_the_shape_of_equal_images() -> None:
    source = ArraySource(torch.from_numpy(noise(9, 3, 6, 8)), bad={0: "broken"})
    assert image_shape(source) == ImageShape(3, 6, 8, uniform=True, short_side=6)


def test_the_shape_of_different_images_is_the_first_good_one_and_the_median_short_side() -> None:
    sizes = [(50, 60), (6, 8), (8, 10), (30, 20), (12, 9)]
    source = ArraySource([torch.zeros(3, *size, dtype=torch.uint8) for size in sizes], bad={0: "broken"})
    assert image_shape(source) == ImageShape(3, 6, 8, uniform=False, short_side=8)


def test_statistics_of_a_whole_source_are_exact() -> None:
    pixels = torch.from_numpy(noise(20, 3, 6, 8)) // torch.tensor([1, 2, 4], dtype=torch.uint8).view(3, 1, 1)
    mean, std = channel_statistics(ArraySource(pixels))
    flat = pixels.double().transpose(0, 1).flatten(1) / 255
    assert mean == pytest.approx(flat.mean(1).tolist(), rel=1e-12)
    assert std == pytest.approx(flat.std(1, unbiased=False).tolist(), rel=1e-9)


def test_fractions_count_as_they_are_and_images_weigh_alike_whatever_their_size() -> None:
    large, small = torch.ones(1, 40, 40), torch.zeros(1, 2, 2)
    assert channel_statistics(ArraySource([large, small])) == ((0.5,), (0.5,))


def test_constant_images_have_a_spread_that_one_can_divide_by() -> None:
    mean, std = channel_statistics(ArraySource(torch.full((4, 1, 3, 3), 51, dtype=torch.uint8)))
    assert mean == pytest.approx((0.2,))
    assert std == (1 / 255,)


def test_only_as_many_samples_are_looked_at_as_asked_for_spread_over_the_source() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1)
    mean, _ = channel_statistics(ArraySource(pixels), max_samples=2)
    assert mean[0] * 255 == pytest.approx((64 + 192) / 2)


def test_sources_without_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"source: array has samples of shape \(5,\), wanted \(C, H, W\)"):
        image_shape(ArraySource(torch.zeros(3, 5)))
    with pytest.raises(ValueError, match="none of the samples looked at"):
        channel_statistics(ArraySource(torch.zeros(1, 5), bad={0: "broken"}))
