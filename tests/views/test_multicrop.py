"""Views of several sizes: as many, as large and of as much of the picture as the sources say."""

from dataclasses import replace

import pytest
import torch

from barlow.views.images import image_views
from barlow.views.multicrop import multi_crop, sizes_in_proportion
from barlow.views.pipeline import ImagePipeline

LARGE = ImagePipeline(size=224, mean=(0.5,), std=(0.25,))
SMALL = replace(LARGE, size=96)


def pipelines(name: str, size: int, channels: int = 3) -> list[ImagePipeline]:
    made = image_views(name, size=size, channels=channels).pipelines
    assert all(isinstance(pipeline, ImagePipeline) for pipeline in made)
    return [pipeline for pipeline in made if isinstance(pipeline, ImagePipeline)]


@pytest.mark.parametrize(
    ("name", "size", "sizes"),
    [
        ("swav", 224, [224, 224, *[96] * 6]),
        ("swav", 112, [112, 112, *[48] * 6]),
        ("swav-cifar", 32, [32, 32, *[18] * 6]),
        ("swav-small-grey", 28, [28, 28, *[18] * 6]),
        ("byol", 64, [64, 64]),
        ("wmse-4", 224, [224] * 4),
        ("wmse-cifar", 32, [32] * 2),
    ],
)
def test_views_have_the_sizes_of_the_source_in_proportion_to_the_run(name: str, size: int, sizes: list[int]) -> None:
    assert [pipeline.size for pipeline in pipelines(name, size)] == sizes


@pytest.mark.parametrize(
    ("name", "large", "small"),
    [("swav", (0.14, 1.0), (0.05, 0.14)), ("swav-cifar", (0.2, 1.0), (0.08, 0.5))],
)
def test_large_and_small_views_show_the_published_share_of_the_picture(
    name: str, large: tuple[float, float], small: tuple[float, float]
) -> None:
    made = pipelines(name, 32)
    assert [pipeline.crop_scale for pipeline in made] == [large] * 2 + [small] * 6
    images = torch.zeros(300, 3, 64, 64, dtype=torch.uint8)
    for pipeline, (low, high) in ((made[0], large), (made[-1], small)):
        crop = pipeline.sample(images, torch.Generator().manual_seed(0))["crop"]
        share = crop["height"] * crop["width"] / 64**2
        assert share.min() > 0.8 * low
        assert share.max() < 1.2 * high


def test_a_batch_becomes_views_of_every_size_and_the_plain_view_is_large() -> None:
    images = torch.randint(0, 256, (4, 1, 28, 28), dtype=torch.uint8)
    views = image_views("swav-small-grey", size=28, channels=1)
    drawn = views.draw(images, torch.Generator().manual_seed(0))
    assert [tuple(view.shape) for view in drawn] == [(4, 1, 28, 28)] * 2 + [(4, 1, 18, 18)] * 6
    assert not torch.equal(drawn[2], drawn[3])
    assert views.plain(images).shape == (4, 1, 28, 28)


def test_small_views_come_last() -> None:
    assert multi_crop(LARGE, LARGE, small=SMALL, num_small=3) == (LARGE, LARGE, SMALL, SMALL, SMALL)
    assert multi_crop(LARGE, small=SMALL, num_small=0) == (LARGE,)


def test_proportions_are_rounded_to_the_nearest_pixel_and_never_vanish() -> None:
    assert sizes_in_proportion([LARGE, SMALL], 224) == [224, 96]
    assert sizes_in_proportion([LARGE, SMALL], 32) == [32, 14]  # 13.7
    assert sizes_in_proportion([LARGE, SMALL], 1) == [1, 1]  # not 0.4


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"small: got a size of 224, wanted less than .* \[224, 224\]"):
        multi_crop(LARGE, LARGE, small=LARGE)
    with pytest.raises(ValueError, match="large, num_small: got 1 and -1"):
        multi_crop(LARGE, small=SMALL, num_small=-1)
    with pytest.raises(ValueError, match="large, num_small: got 0 and 6"):
        multi_crop(small=SMALL)
