"""The published pipelines happen as often as their papers say, for three channels and for one."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from barlow.images.views.colour import to_pixels
from barlow.images.views.pipeline import ImagePipeline
from barlow.images.views.published import (
    CIFAR10_MEAN,
    IMAGENET_MEAN,
    VIEWS,
    image_views,
    multi_crop,
    sizes_in_proportion,
)
from barlow.seams import View, Views
from tests.images.views.drawing import batch, generator


def happened(view: View, images: Tensor, *names: str) -> Tensor:
    """For which samples the transforms `names`, and no others, change the image."""
    params = view.sample(images, generator(1))
    alone = {name: params[name] for name in ("variant", *names) if name in params}
    changed: Tensor = view.apply(images, alone) != view.apply(images, {})
    return changed.flatten(1).any(1)


@pytest.mark.parametrize(
    ("name", "blur", "solarize"),
    [
        ("byol", (1.0, 0.1), (0.0, 0.2)),
        ("byol-iid", (0.55, 0.55), (0.1, 0.1)),
        ("cifar", (0.0, 0.0), (0.0, 0.2)),
        ("cifar-symmetric", (0.0, 0.0), (0.1, 0.1)),
    ],
)
def test_blur_and_solarisation_happen_as_often_as_published(
    name: str, blur: tuple[float, float], solarize: tuple[float, float]
) -> None:
    images = batch(4000, side=8)
    for view, p_blur, p_solarize in zip(image_views(name, size=8, channels=3).pipelines, blur, solarize, strict=True):
        # sigma below 0.14 leaves every pixel as it is in float32; those are 2% of the draws.
        assert abs(happened(view, images, "blur").float().mean() - p_blur) < 0.035
        assert abs(happened(view, images, "solarize").float().mean() - p_solarize) < 0.025


def test_the_mixed_pipeline_draws_blur_and_solarisation_together() -> None:
    images = batch(6000, side=8)
    for view in image_views("byol-iid", size=8, channels=3).pipelines:
        params = view.sample(images, generator(1))
        second = params["variant"]["index"] == 1
        assert abs(second.float().mean() - 0.5) < 0.03
        blurred, solarized = happened(view, images, "blur"), happened(view, images, "solarize")
        assert blurred[~second].float().mean() > 0.96
        assert not solarized[~second].any()
        assert abs(blurred[second].float().mean() - 0.1) < 0.03
        assert abs(solarized[second].float().mean() - 0.2) < 0.03


@pytest.mark.parametrize("name", VIEWS)
def test_views_are_exchangeable_unless_the_recipe_is_asymmetric(name: str) -> None:
    first, second, *_ = image_views(name, size=16, channels=3).pipelines
    assert (first == second) == (name not in ("byol", "cifar", "swav-cifar", "vicregl"))


CROP = {"crop_ratio": (3 / 4, 4 / 3), "flip": 0.5, "jitter": 0.8}
"""The same everywhere: the crop's ratio of torchvision, a flip for one of two, colours changed for four of five."""
SIGMA = {"blur_sigma": (0.1, 2.0)}
STRONG = CROP | {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2, "gray": 0.2}
WEAK = CROP | {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "gray": 0.2}
BYOL = CROP | {"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1, "gray": 0.2}
WHOLE = {"crop_scale": (0.08, 1.0), "interpolation": "bicubic"}
SWAV_STD = {"std": (0.228, 0.224, 0.225)}

PUBLISHED = [
    # Grill et al. 2020, appendix B, table 6; facebookresearch/barlowtwins, main.py, class Transform
    ("byol", 0, BYOL | WHOLE | SIGMA | {"blur": (1.0,), "solarize": (0.0,), "mean": IMAGENET_MEAN}),
    ("byol", 1, BYOL | WHOLE | SIGMA | {"blur": (0.1,), "solarize": (0.2,), "mean": IMAGENET_MEAN}),
    ("byol-iid", 0, BYOL | WHOLE | SIGMA | {"blur": (1.0, 0.1), "solarize": (0.0, 0.2), "mean": IMAGENET_MEAN}),
    # solo-learn, scripts/pretrain/cifar/augmentations/asymmetric.yaml
    ("cifar", 0, BYOL | WHOLE | {"blur": (0.0,), "solarize": (0.0,), "mean": CIFAR10_MEAN}),
    ("cifar", 1, BYOL | WHOLE | {"blur": (0.0,), "solarize": (0.2,), "mean": CIFAR10_MEAN}),
    ("cifar-symmetric", 0, BYOL | WHOLE | {"blur": (0.0,), "solarize": (0.1,), "mean": CIFAR10_MEAN}),
    # Chen et al. 2020, appendix A, strength 1
    ("simclr", 0, STRONG | WHOLE | SIGMA | {"blur": (0.5,), "solarize": (0.0,)}),
    # the same, appendix B.9, and google-research/simclr, README: strength 0.5, no blur
    ("simclr-cifar", 0, WEAK | WHOLE | {"blur": (0.0,), "solarize": (0.0,)}),
    # solo-learn, scripts/pretrain/cifar/augmentations/symmetric.yaml
    ("cifar-strong", 0, STRONG | WHOLE | SIGMA | {"blur": (0.5,), "solarize": (0.0,)}),
    # Chen & He 2021, section 3, and facebookresearch/simsiam, main_simsiam.py: the views of MoCo v2
    ("simsiam", 0, WEAK | SIGMA | {"crop_scale": (0.2, 1.0), "interpolation": "bilinear", "blur": (0.5,)}),
    # the same, appendix D: without blur
    ("simsiam-cifar", 0, WEAK | {"crop_scale": (0.2, 1.0), "interpolation": "bilinear", "blur": (0.0,)}),
    # htdt/self-supervised, datasets/, for CIFAR-10
    (
        "wmse-cifar",
        0,
        WEAK
        | {"gray": 0.1, "crop_scale": (0.2, 1.0), "interpolation": "bicubic", "blur": (0.0,)}
        | {"std": (0.2023, 0.1994, 0.2010)},
    ),
    # the same, for ImageNet-100
    ("wmse", 0, STRONG | WHOLE | SIGMA | {"blur": (0.5,), "solarize": (0.0,)}),
    # solo-learn, scripts/pretrain/cifar/vicreg.yaml
    ("cifar-vicreg", 0, BYOL | {"crop_scale": (0.2, 1.0), "interpolation": "bicubic", "blur": (0.0,)}),
    ("cifar-vicreg", 1, {"solarize": (0.1,)}),
    # facebookresearch/swav, scripts/swav_800ep_pretrain.sh and src/multicropdataset.py
    ("swav", 1, STRONG | SIGMA | SWAV_STD | {"crop_scale": (0.14, 1.0), "interpolation": "bilinear", "blur": (0.5,)}),
    ("swav", 7, STRONG | SIGMA | SWAV_STD | {"crop_scale": (0.05, 0.14), "interpolation": "bilinear", "size": 96}),
    # solo-learn, scripts/pretrain/cifar-multicrop/augmentations
    ("swav-cifar", 0, {"crop_scale": (0.2, 1.0), "brightness": 0.6, "contrast": 0.6, "saturation": 0.6, "hue": 0.2}),
    ("swav-cifar", 1, CROP | {"solarize": (0.2,), "gray": 0.2}),
    ("swav-cifar", 7, STRONG | {"crop_scale": (0.08, 0.5), "blur": (0.1,), "solarize": (0.1,), "size": 18}),
    # facebookresearch/VICRegL, transforms.py: colours of Barlow Twins, deviations of SwAV
    ("vicregl", 0, BYOL | WHOLE | SIGMA | SWAV_STD | {"blur": (1.0,), "solarize": (0.0,)}),
    ("vicregl", 1, BYOL | WHOLE | SIGMA | SWAV_STD | {"blur": (0.1,), "solarize": (0.2,)}),
    ("vicregl-cifar", 0, BYOL | {"crop_scale": (0.2, 1.0)}),  # ours: those of VICReg there
]


@pytest.mark.parametrize(("name", "place", "numbers"), PUBLISHED, ids=[f"{name}-{i}" for name, i, _ in PUBLISHED])
def test_strengths_of_the_views_are_the_published_ones(name: str, place: int, numbers: dict[str, object]) -> None:
    size = 32 if "cifar" in name else 224
    views = image_views(name, size=size, channels=3)
    view = views.bare().pipelines[place]
    assert isinstance(view, ImagePipeline)
    assert {field: getattr(view, field) for field in numbers} == numbers
    assert len(views.pipelines) == (8 if name.startswith("swav") else 2)


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("side", [8, 28])
def test_every_recipe_makes_two_different_views_of_any_images(name: str, channels: int, side: int) -> None:
    images = batch(6, channels, side)
    views = image_views(name, size=side, channels=channels)
    first, second, *_ = views.bare().draw(images, generator())
    assert first.shape == second.shape == (6, channels, side, side)
    assert first.isfinite().all()
    assert ((first - second).abs().flatten(1).max(1).values > 0.05).all()


def test_grey_images_are_not_coloured_and_digits_not_mirrored() -> None:
    for name in VIEWS:
        params = image_views(name, size=8, channels=1).pipelines[1].sample(batch(4, 1, 8), generator())
        assert "gray" not in params
        assert "hue" not in params.get("jitter", {})
        assert ("flip" in params) == (name != "small-grey")
        assert ("crop" in params) == (name not in ("small-grey", "small-grey-flip", "swav-small-grey"))


def small_grey(images: Tensor) -> Tensor:
    view = image_views("small-grey", size=28, channels=1).pipelines[0]
    assert isinstance(view, ImagePipeline)
    return to_pixels(view.apply(images, view.sample(images, generator())), view.mean, view.std)


def test_small_grey_views_keep_a_centred_stroke_in_the_image() -> None:
    images = torch.zeros(200, 1, 28, 28, dtype=torch.uint8)
    images[:, :, 8:20, 12:16] = 255
    stroke = (small_grey(images) > 128).float().sum((1, 2, 3))
    assert stroke.min() > 15
    assert stroke.max() < 120


def test_plain_view_of_the_right_size_is_the_image_normalised() -> None:
    images = batch(5, 3, 32)
    plain = image_views("cifar", size=32, channels=3, mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0)).plain
    expected = (images / 255 - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor([0.5, 1.0, 2.0])[
        :, None, None
    ]
    torch.testing.assert_close(plain(images), expected)
    torch.testing.assert_close(plain(list(images)), expected)
    assert torch.equal(to_pixels(plain(images), (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)), images)


def test_plain_view_is_the_resized_central_square() -> None:
    views = image_views("byol", size=16, channels=1, mean=(0.0,), std=(1.0,))
    wide = torch.zeros(1, 20, 60, dtype=torch.uint8)
    wide[:, :, 20:40] = 200
    tall = wide.transpose(1, 2).contiguous()
    result = views.plain([wide, tall])
    torch.testing.assert_close(result, torch.full((2, 1, 16, 16), 200 / 255))
    torch.testing.assert_close(views.plain(wide[None].expand(3, -1, -1, -1)), result[:1].expand(3, -1, -1, -1))


def test_mean_and_std_of_the_user_are_used() -> None:
    views: Views = image_views("byol", size=8, channels=2, mean=(0.1, 0.2), std=(0.3, 0.4))
    for view in views.pipelines:
        assert isinstance(view, ImagePipeline)
        assert (view.mean, view.std, view.size) == ((0.1, 0.2), (0.3, 0.4), 8)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"views: got 'byool', wanted .*; did you mean 'byol'\?"):
        image_views("byool", size=8, channels=3)
    with pytest.raises(ValueError, match=r"std: got 3 entries, wanted 1, one per channel"):
        image_views("byol", size=8, channels=1, std=(1.0, 1.0, 1.0))


LARGE = ImagePipeline(size=224, mean=(0.5,), std=(0.25,))
SMALL = replace(LARGE, size=96)


def pipelines(name: str, size: int) -> list[ImagePipeline]:
    views = image_views(name, size=size, channels=3).pipelines
    return [view if isinstance(view, ImagePipeline) else pytest.fail(f"{view}") for view in views]


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
def test_large_and_small_views_show_the_published_share_of_the_image(
    name: str, large: tuple[float, float], small: tuple[float, float]
) -> None:
    made = pipelines(name, 32)
    assert [pipeline.crop_scale for pipeline in made] == [large] * 2 + [small] * 6
    images = torch.zeros(300, 3, 64, 64, dtype=torch.uint8)
    for pipeline, (low, high) in ((made[0], large), (made[-1], small)):
        crop = pipeline.sample(images, generator())["crop"]
        share = crop["height"] * crop["width"] / 64**2
        assert share.min() > 0.8 * low
        assert share.max() < 1.2 * high


def test_a_batch_becomes_views_of_every_size_and_the_plain_view_is_large() -> None:
    images = torch.randint(0, 256, (4, 1, 28, 28), dtype=torch.uint8)
    views = image_views("swav-small-grey", size=28, channels=1)
    drawn = views.draw(images, generator())
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


def test_crops_of_other_sizes_than_large_and_small_are_refused() -> None:
    with pytest.raises(ValueError, match=r"small: got a size of 224, wanted less than .* \[224, 224\]"):
        multi_crop(LARGE, LARGE, small=LARGE)
    with pytest.raises(ValueError, match="large, num_small: got 1 and -1"):
        multi_crop(LARGE, small=SMALL, num_small=-1)
    with pytest.raises(ValueError, match="large, num_small: got 0 and 6"):
        multi_crop(small=SMALL)
