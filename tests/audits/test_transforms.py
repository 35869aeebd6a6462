"""Transforms of parameters: replaced or alone they do what they are called; strengths go from nothing to themselves."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from barlow.audits.transforms import transform_named, transforms_of
from barlow.images.views.pipeline import ImagePipeline
from barlow.images.views.published import image_views
from barlow.seams import Params

COLOUR = ImagePipeline(
    size=8,
    mean=(0.5,) * 3,
    std=(0.25,) * 3,
    crop_scale=(0.3, 1.0),
    flip=0.5,
    rotation=20.0,
    translation=0.2,
    jitter=0.8,
    brightness=0.4,
    contrast=0.4,
    hue=0.1,
    gray=0.2,
    blur=(0.5,),
    gain=0.3,
    noise=0.1,
)


def images(n: int = 6, side: int = 8) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0))


def drawn(view: ImagePipeline, seed: int = 0) -> Params:
    return view.sample(images(), torch.Generator().manual_seed(seed))


def test_every_key_is_a_transform() -> None:
    names = [transform.name for transform in transforms_of(COLOUR, drawn(COLOUR))]
    assert names == ["crop", "flip", "affine", "jitter", "gray", "blur", "contrast", "noise"]


def test_replacing_all_transforms_one_after_the_other_gives_the_other_draw() -> None:
    either = image_views("byol-iid", size=8, channels=3).pipelines[0]
    assert isinstance(either, ImagePipeline)
    for view in (COLOUR, either):
        params, other = drawn(view, 0), drawn(view, 1)
        for transform in transforms_of(view, params):
            params = transform.replace(params, other)
        torch.testing.assert_close(view.apply(images(), params), view.apply(images(), other), rtol=0, atol=0)


def test_a_variant_goes_with_what_it_switches() -> None:
    either = image_views("byol-iid", size=8, channels=3).pipelines[0]
    assert isinstance(either, ImagePipeline)
    params = drawn(either)
    (switch,) = (transform for transform in transforms_of(either, params) if "variant" in transform.keys)
    assert switch.name == "blur+solarize"
    assert switch.keys == ("variant", "blur", "solarize")
    assert {transform.name for transform in transforms_of(either, params)} == {
        "crop",
        "flip",
        "jitter",
        "gray",
        "blur+solarize",
    }
    assert either.apply(images(), switch.alone(params)).shape == (6, 3, 8, 8)  # without its variant a blur fails


def test_parts_are_listed_behind_their_transform_if_the_view_uses_several() -> None:
    names = [transform.name for transform in transforms_of(COLOUR, drawn(COLOUR), parts=True)]
    assert names[2:5] == ["affine", "affine.rotation", "affine.translation"]
    assert names[5:9] == ["jitter", "jitter.brightness", "jitter.contrast", "jitter.hue"]
    assert "contrast.gain" not in names  # all of the contrast that there is


def test_a_part_alone_is_a_pipeline_that_has_nothing_else() -> None:
    rotation = transform_named(COLOUR, "affine.rotation", drawn(COLOUR))
    alone = COLOUR.apply(images(), rotation.alone(drawn(COLOUR)))
    only = ImagePipeline(size=8, mean=COLOUR.mean, std=COLOUR.std, rotation=20.0)
    torch.testing.assert_close(alone, only.apply(images(), drawn(only)))


def test_a_part_replaced_leaves_its_siblings() -> None:
    params, other = drawn(COLOUR, 0), drawn(COLOUR, 1)
    mixed = transform_named(COLOUR, "jitter.hue", params).replace(params, other)
    assert mixed["jitter"]["hue"] is other["jitter"]["hue"]
    assert all(mixed["jitter"][key] is params["jitter"][key] for key in ("coin", "order", "brightness"))
    assert mixed["crop"] is params["crop"]


@pytest.mark.parametrize("transform", ["crop", "affine", "jitter", "blur", "contrast", "noise", "affine.rotation"])
def test_strength_one_is_the_pipeline_itself(transform: str) -> None:
    assert COLOUR.scaled(transform, 1.0) == COLOUR


@pytest.mark.parametrize("transform", ["crop", "affine", "jitter", "blur", "contrast", "noise"])
@pytest.mark.parametrize("side", [8, 12])
def test_strength_zero_is_the_pipeline_without_the_transform(transform: str, side: int) -> None:
    nothing = COLOUR.scaled(transform, 0.0)
    params = {key: part for key, part in drawn(COLOUR).items() if key != transform}
    found = nothing.apply(images(side=side), {**params, **_only(nothing, transform, side)})
    torch.testing.assert_close(found, COLOUR.apply(images(side=side), params), rtol=0, atol=1e-5)


def _only(view: ImagePipeline, transform: str, side: int) -> Params:
    params = view.sample(images(side=side), torch.Generator().manual_seed(0))
    return {key: part for key, part in params.items() if key == transform}


def test_strengths_scale_the_draws_and_leave_those_of_all_other_transforms() -> None:
    half = drawn(COLOUR.scaled("affine", 0.5))
    full = drawn(COLOUR)
    torch.testing.assert_close(half["affine"]["angle"], 0.5 * full["affine"]["angle"])
    torch.testing.assert_close(half["affine"]["shift"], 0.5 * full["affine"]["shift"])
    only = drawn(COLOUR.scaled("affine.rotation", 0.5))
    torch.testing.assert_close(only["affine"]["angle"], half["affine"]["angle"])
    torch.testing.assert_close(only["affine"]["shift"], full["affine"]["shift"], rtol=0, atol=0)
    for key in set(full) - {"affine"}:
        for name, value in full[key].items():
            torch.testing.assert_close(half[key][name], value, rtol=0, atol=0)


def test_zoom_goes_towards_one_and_crops_towards_the_whole() -> None:
    view = replace(COLOUR, zoom=(0.8, 1.4))
    assert view.scaled("affine", 0.5).zoom == pytest.approx((0.9, 1.2))
    assert view.scaled("crop", 0.5).crop_scale == pytest.approx((0.65, 1.0))


def test_wrong_names_and_magnitudes_are_refused() -> None:
    with pytest.raises(ValueError, match="transform with a magnitude: got 'flip'"):
        COLOUR.scaled("flip", 0.5)
    with pytest.raises(ValueError, match=r"got 'affine\.rotations'.*did you mean 'affine\.rotation'"):
        COLOUR.scaled("affine.rotations", 0.5)
    with pytest.raises(ValueError, match=r"magnitudes: got -0\.1"):
        COLOUR.scaled("affine", -0.1)
    with pytest.raises(ValueError, match=r"magnitudes: got 2\.0, which makes crop_scale -0\.4"):
        COLOUR.scaled("crop", 2.0)
    with pytest.raises(ValueError, match="transform: got 'solarize', wanted one of crop, flip"):
        transform_named(COLOUR, "solarize", drawn(COLOUR))
