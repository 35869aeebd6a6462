"""Located views: the pixels of the pipeline inside, beside the box and the flip that they came from."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from barlow.images.views.located import LocatedPipeline, LocatedView
from barlow.images.views.pipeline import ImagePipeline
from barlow.seams import View, Views, unchanged
from tests.images.views.drawing import generator

PIPELINE = ImagePipeline(
    size=8, mean=(0.0,), std=(1.0,), crop_scale=(0.2, 0.8), interpolation="bilinear", flip=0.5, noise=0.1
)


def ramp(n: int, height: int, width: int) -> Tensor:
    """Images whose two channels say where a pixel is, in units of the longer side."""
    y = (torch.arange(height) + 0.5)[:, None].expand(height, width)
    x = (torch.arange(width) + 0.5).expand(height, width)
    return (torch.stack([y, x]) / max(height, width)).expand(n, 2, height, width).contiguous()


def test_images_are_those_of_the_pipeline_and_params_its_own() -> None:
    images = torch.rand(20, 1, 16, 16, generator=generator())
    located = LocatedPipeline(PIPELINE)
    assert isinstance(located, View)
    params = located.sample(images, generator(3))
    expected = PIPELINE.sample(images, generator(3))
    assert params.keys() == expected.keys()
    assert all(torch.equal(params[k][name], t) for k, part in expected.items() for name, t in part.items())
    view = located.apply(images, params)
    assert torch.equal(view.images, PIPELINE.apply(images, params))
    again = located.apply(images, params)
    assert all(torch.equal(one, other) for one, other in zip(view, again, strict=True))


@pytest.mark.parametrize(("height", "width"), [(24, 40), (40, 24), (32, 32)])
def test_boxes_and_flips_say_where_the_pixels_came_from(height: int, width: int) -> None:
    """The mean of a crop of a ramp is the centre of its box, and its slope has the sign of the flip."""
    pipeline = replace(PIPELINE, mean=(0.0, 0.0), std=(1.0, 1.0), noise=0.0)
    images = ramp(30, height, width)
    located = LocatedPipeline(pipeline)
    view = located.apply(images, located.sample(images, generator()))
    top, left, high, wide = view.boxes.unbind(1)
    centres = torch.stack([top + high / 2, left + wide / 2], dim=1)
    torch.testing.assert_close(view.images.mean(dim=(2, 3)), centres, rtol=0, atol=1e-2)
    assert (view.boxes >= 0).all()
    assert (top + high <= height / max(height, width)).all()
    assert (left + wide <= width / max(height, width)).all()
    runs_left = view.images[:, 1, 4, -1] < view.images[:, 1, 4, 0]
    assert torch.equal(view.flipped, runs_left)
    assert 5 < int(view.flipped.sum()) < 25


def test_samples_of_unequal_size_are_each_in_units_of_their_own_longer_side() -> None:
    pipeline = replace(PIPELINE, crop_scale=None, flip=0.0)
    images = [torch.rand(1, 20, 10), torch.rand(1, 10, 40)]
    view = LocatedPipeline(pipeline).apply(images, {})
    expected = [[0.25, 0.0, 0.5, 0.5], [0.0, 15 / 40, 0.25, 0.25]]
    torch.testing.assert_close(view.boxes, torch.tensor(expected))
    assert not view.flipped.any()


def test_without_a_flip_among_the_params_nothing_is_flipped() -> None:
    images = torch.rand(20, 1, 16, 16, generator=generator())
    located = LocatedPipeline(PIPELINE)
    params = {k: v for k, v in located.sample(images, generator()).items() if k != "flip"}
    assert not located.apply(images, params).flipped.any()


def test_pipelines_that_turn_or_shift_are_refused() -> None:
    for change in ({"rotation": 5.0}, {"translation": 0.1}, {"zoom": (0.9, 1.1)}, {"shear": 3.0}):
        with pytest.raises(ValueError, match="only a crop and a flip have a box"):
            LocatedPipeline(replace(PIPELINE, **change))


def test_views_without_place_give_the_same_images() -> None:
    images = torch.rand(6, 1, 16, 16, generator=generator())
    views = Views((LocatedPipeline(PIPELINE), PIPELINE), plain=unchanged)
    bare = views.bare()
    assert bare.pipelines == (PIPELINE, PIPELINE)
    located, plain = views.draw(images, generator(1))
    assert isinstance(located, LocatedView)
    for one, other in zip((located.images, plain), bare.draw(images, generator(1)), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("turned", [{"vertical_flip": 0.5}, {"quarter_turns": 0.75}])
def test_ways_up_that_a_place_cannot_say_are_refused(turned: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"^pipeline: got vertical_flip .* wanted neither"):
        LocatedPipeline(replace(ImagePipeline(size=8, mean=(0.5,), std=(0.2,)), **turned))  # type: ignore[arg-type]
