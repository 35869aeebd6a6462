"""Of an image that is not square either the central square is seen, or all of it."""

import pytest
import torch
from torch import Tensor

from barlow.images.views.exported import PlainView
from barlow.images.views.geometry import Fit
from barlow.images.views.located import LocatedView
from barlow.images.views.published import VIEWS, image_views


def bright_at(end: slice) -> Tensor:
    """One wide image of one level in the middle, with one bright end."""
    image = torch.full((1, 1, 16, 128), 30, dtype=torch.uint8)
    image[..., end] = 200
    return image


LEFT, RIGHT = bright_at(slice(0, 40)), bright_at(slice(88, 128))


@pytest.mark.parametrize("as_list", [False, True])
def test_the_ends_of_a_wide_image_are_seen_where_it_is_whole(as_list: bool) -> None:
    seen = {}
    for fit in ("square", "whole"):
        plain = image_views("small-grey", size=16, channels=1, mean=(0.0,), std=(1.0,), fit=fit).plain
        left, right = (plain([image[0]] if as_list else image) for image in (LEFT, RIGHT))
        seen[fit] = (float(left[..., 0].mean()), float(right[..., 0].mean()))
    assert seen["square"][0] == seen["square"][1]
    assert seen["whole"][0] == pytest.approx(200 / 255, abs=0.01)
    assert seen["whole"][1] == pytest.approx(30 / 255, abs=0.01)


def test_every_view_of_a_whole_wide_image_can_show_both_ends() -> None:
    ends = bright_at(slice(0, 16)).maximum(bright_at(slice(112, 128))).expand(64, -1, -1, -1)
    generator = torch.Generator().manual_seed(0)
    for fit, both in (("square", False), ("whole", True)):
        view = image_views("simsiam", size=16, channels=1, mean=(0.0,), std=(1.0,), fit=fit).pipelines[0]
        columns = view.apply(ends, view.sample(ends, generator)).mean(dim=(1, 2))
        bright = columns[:, [0, -1]].amin(1) > columns.median(1).values + 0.2
        assert bool(bright.any()) == both


@pytest.mark.parametrize("name", ["byol", "vicregl", "swav"])
def test_views_of_square_images_are_the_same_bits_either_way(name: str) -> None:
    images = torch.randint(256, (6, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    drawn = []
    for fit in ("square", "whole"):
        views = image_views(name, size=24, channels=3, fit=fit)
        drawn.append([*views.draw(images, torch.Generator().manual_seed(2)), views.plain(images)])
    for one, other in zip(*drawn, strict=True):
        pairs = zip(one, other, strict=True) if isinstance(one, LocatedView) else ((one, other),)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_a_located_view_without_a_crop_is_all_of_a_whole_image() -> None:
    assert "vicregl" in VIEWS
    view = image_views("vicregl", size=16, channels=1, fit="whole").pipelines[0]
    assert view.apply(LEFT, {}).boxes.tolist() == [[0.0, 0.0, 0.125, 1.0]]


def test_another_fit_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"^fit: .*'wholes'.*whole"):
        image_views("byol", size=16, channels=3, fit="wholes")


@pytest.mark.parametrize("fit", ["square", "whole"])
@pytest.mark.parametrize(("height", "width"), [(20, 20), (90, 33), (16, 128), (7, 5)])
def test_the_exported_plain_view_has_the_values_of_the_plain_view(height: int, width: int, fit: Fit) -> None:
    mean, std = (0.2, 0.5, 0.6), (0.3, 0.2, 0.1)
    images = torch.randint(256, (2, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    plain = image_views("byol", size=20, channels=3, mean=mean, std=std, fit=fit).plain
    wanted = plain(images.movedim(-1, 1) / 255)  # floats, which no resize rounds
    torch.testing.assert_close(PlainView(20, mean, std, fit, "bilinear")(images), wanted, atol=1e-5, rtol=0)
