"""What images bring to the core: raw pixels, the network's checks, and the networks of libraries."""

import pytest
import torch

from barlow.images.modality import IMAGES, pixels
from barlow.seams import flattened


def test_raw_pixels_are_the_values_of_the_plain_view() -> None:
    images = torch.rand(5, 3, 4, 6)
    torch.testing.assert_close(pixels(images), images.flatten(1))


def test_large_raw_images_are_averaged_down() -> None:
    images = torch.rand(2, 3, 64, 128)
    wanted = images.reshape(2, 3, 32, 2, 32, 4).mean(dim=(3, 5))
    torch.testing.assert_close(pixels(images), wanted.flatten(1))
    assert pixels(torch.rand(2, 3, 20, 40)).shape == (2, 3 * 20 * 32)


def test_raw_samples_need_not_be_images() -> None:
    assert flattened(torch.rand(4, 6, 50)).shape == pixels(torch.rand(4, 6, 50)).shape == (4, 300)
    with pytest.raises(ValueError, match="plain: gave list"):
        flattened([torch.zeros(3)])


def test_what_a_page_shows_has_one_or_three_channels() -> None:
    show = IMAGES.show({"image_shape": [1, 8, 8], "mean": [0.5], "std": [0.25]})
    assert show is not None
    assert show(torch.zeros(2, 1, 8, 8)).unique().tolist() == [128]
    assert IMAGES.show({"image_shape": [5, 8, 8], "mean": [0.5] * 5, "std": [0.25] * 5}) is None
