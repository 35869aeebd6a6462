"""The published pipelines happen as often as their papers say, for three channels and for one."""

import pytest
import torch
from torch import Tensor

from barlow.views.colour import to_pixels
from barlow.views.images import CIFAR10_MEAN, IMAGENET_MEAN, VIEWS, image_views
from barlow.views.located import without_place
from barlow.views.pipeline import ImagePipeline
from barlow.views.views import View, Views


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(num_samples: int, channels: int = 3, side: int = 16) -> Tensor:
    shape = (num_samples, channels, side, side)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator(11))


def happened(view: View, images: Tensor, *names: str) -> Tensor:
    """For which samples the transforms `names`, and no others, change the picture."""
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


@pytest.mark.parametrize("name", ["byol", "byol-iid", "cifar", "cifar-symmetric"])
def test_crop_flip_jitter_and_gray_are_those_of_the_papers(name: str) -> None:
    for view in image_views(name, size=32, channels=3).pipelines:
        assert isinstance(view, ImagePipeline)
        assert (view.crop_scale, view.crop_ratio) == ((0.08, 1.0), (3 / 4, 4 / 3))
        assert (view.interpolation, view.flip) == ("bicubic", 0.5)
        assert (view.jitter, view.brightness, view.contrast, view.saturation, view.hue) == (0.8, 0.4, 0.4, 0.2, 0.1)
        assert (view.gray, view.blur_sigma) == (0.2, (0.1, 2.0))
        assert view.mean == (CIFAR10_MEAN if name.startswith("cifar") else IMAGENET_MEAN)


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
    ("byol", 0, BYOL | WHOLE | SIGMA | {"blur": (1.0,), "solarize": (0.0,)}),
    ("byol", 1, BYOL | WHOLE | SIGMA | {"blur": (0.1,), "solarize": (0.2,)}),
    # solo-learn, scripts/pretrain/cifar/augmentations/asymmetric.yaml
    ("cifar", 0, BYOL | WHOLE | {"blur": (0.0,), "solarize": (0.0,)}),
    ("cifar", 1, BYOL | WHOLE | {"blur": (0.0,), "solarize": (0.2,)}),
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
    view = without_place(views).pipelines[place]
    assert isinstance(view, ImagePipeline)
    assert {field: getattr(view, field) for field in numbers} == numbers
    assert len(views.pipelines) == (8 if name.startswith("swav") else 2)


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("side", [8, 28])
def test_every_recipe_makes_two_different_views_of_any_images(name: str, channels: int, side: int) -> None:
    images = batch(6, channels, side)
    views = image_views(name, size=side, channels=channels)
    first, second, *_ = without_place(views).draw(images, generator())
    assert first.shape == second.shape == (6, channels, side, side)
    assert first.isfinite().all()
    assert ((first - second).abs().flatten(1).max(1).values > 0.05).all()


def test_grey_pictures_are_not_coloured_and_digits_not_mirrored() -> None:
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


def test_small_grey_views_keep_a_centred_stroke_in_the_picture() -> None:
    images = torch.zeros(200, 1, 28, 28, dtype=torch.uint8)
    images[:, :, 8:20, 12:16] = 255
    stroke = (small_grey(images) > 128).float().sum((1, 2, 3))
    assert stroke.min() > 15
    assert stroke.max() < 120


def test_plain_view_of_the_right_size_is_the_picture_normalised() -> None:
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
    with pytest.raises(ValueError, match=r"std has 3 entries; the images have 1 channels"):
        image_views("byol", size=8, channels=1, std=(1.0, 1.0, 1.0))
