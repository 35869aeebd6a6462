"""Image and mask are warped alike, whatever happens; windows have their size; contrast is stretched image by image."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from barlow.images.views.geometry import crop_nearest, flip_vertically, quarter_turns
from barlow.images.views.pipeline import ImagePipeline
from barlow.images.views.windows import (
    WindowPipeline,
    mask_with_short_side,
    shrunk_size,
    stretched,
    with_short_side,
)
from tests.images.views.drawing import generator

PLAIN = ImagePipeline(size=24, mean=(0.0,), std=(1.0,), interpolation="bilinear")
OUTSIDE = 255


def masks(sizes: list[tuple[int, int]]) -> list[Tensor]:
    """Blobs of three classes, unlike themselves in any mirror."""
    found = []
    for number, (height, width) in enumerate(sizes):
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        mask = ((x * 3 + y) // 17 + (y // 11) * number) % 3
        mask[: height // 4, : width // 2] = 2
        found.append(mask.to(torch.uint8))
    return found


GEOMETRY: dict[str, dict[str, Any]] = {
    "crop": {"crop_scale": (0.2, 1.0)},
    "flip": {"flip": 0.5},
    "vertical flip": {"vertical_flip": 0.5},
    "quarter turns": {"quarter_turns": 0.75},
    "affine": {"rotation": 40.0, "translation": 0.2, "zoom": (0.7, 1.4), "shear": 15.0},
}
GEOMETRY["all"] = {name: value for one in GEOMETRY.values() for name, value in one.items()}


@pytest.mark.parametrize("window", [False, True])
@pytest.mark.parametrize("name", GEOMETRY)
def test_a_mask_is_warped_as_its_image_is(name: str, window: bool) -> None:
    pipeline = replace(PLAIN, **GEOMETRY[name])
    view: Any = WindowPipeline(pipeline) if window else pipeline
    targets = masks([(48, 48), (60, 40), (30, 50), (24, 24)] * 8)
    for number in range(3):  # the class as a picture: where it is all 1 or all 0 around a pixel, so is the mask
        images = [(mask == number)[None].to(torch.uint8) * 255 for mask in targets]
        params = view.sample(images, generator(5))
        seen = view.apply(images, params)[:, 0]
        warped = view.apply_to_masks(targets, params, outside=OUTSIDE)
        assert warped.dtype == torch.uint8
        assert set(warped.unique().tolist()) <= {0, 1, 2, OUTSIDE}
        known = warped != OUTSIDE
        sure = known & ((seen < 1e-6) | (seen > 1 - 1e-6))
        assert float(sure.float().mean()) > 0.35
        assert torch.equal(warped[sure] == number, seen[sure] > 0.5)


def test_masks_of_another_draw_are_not_their_images() -> None:
    view = WindowPipeline(replace(PLAIN, **GEOMETRY["all"]))
    targets = masks([(48, 48)] * 8)
    first, second = (view.sample([mask[None] for mask in targets], generator(seed)) for seed in (1, 2))
    warped = [view.apply_to_masks(targets, params, outside=OUTSIDE) for params in (first, second, first)]
    assert torch.equal(warped[0], warped[2])
    assert not torch.equal(warped[0], warped[1])


def test_pixels_of_a_window_without_zoom_are_those_of_the_image_to_the_bit() -> None:
    view = WindowPipeline(replace(PLAIN, flip=0.5, vertical_flip=0.5, quarter_turns=0.75), zoom=(1.0, 1.0))
    images = [torch.randint(256, (1, 40, 33), dtype=torch.uint8, generator=generator(1)) for _ in range(16)]
    params = view.sample(images, generator(2))
    seen = view.apply(images, params)
    warped = view.apply_to_masks([image[0] for image in images], params, outside=OUTSIDE)
    assert torch.equal((seen[:, 0] * 255).round().to(torch.uint8), warped)
    assert len({bool(turn) for turn in params["quarter_turns"]["coin"] < 0.75}) == 2


def test_windows_lie_anywhere_within_the_image_and_have_every_size_asked_for() -> None:
    view = WindowPipeline(PLAIN, zoom=(0.5, 2.0))
    params = view.sample([torch.zeros(1, 60, 100)] * 2000, generator(0))["crop"]
    side = params["height"]
    assert torch.equal(side, params["width"])
    assert (int(side.min()), int(side.max())) == (12, 48)
    assert bool((params["top"] + side <= 60).all() and (params["left"] + side <= 100).all())
    free = params["left"] / (100 - side)
    assert float(free.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(free.max()) > 0.97


def test_an_image_smaller_than_the_window_is_enlarged_as_its_mask_is() -> None:
    view = WindowPipeline(PLAIN)
    image = torch.zeros(1, 1, 10, 15, dtype=torch.uint8)
    image[..., 5:, :] = 255
    params = view.sample(image, generator(0))
    seen, warped = view.apply(image, params)[0, 0], view.apply_to_masks(image[:, 0] // 255, params, outside=OUTSIDE)[0]
    assert seen.shape == warped.shape == (24, 24)
    assert torch.equal(seen.round(), warped.float())


def test_quarter_turns_turn_against_the_clock_each_by_its_own_number() -> None:
    image = torch.arange(4.0).reshape(1, 1, 2, 2)
    turned = quarter_turns(image.expand(4, 1, 2, 2), torch.tensor([0, 1, 2, 3]))[:, 0]
    assert turned.tolist() == [[[0, 1], [2, 3]], [[1, 3], [0, 2]], [[3, 2], [1, 0]], [[2, 0], [3, 1]]]
    flipped = flip_vertically(image.expand(2, 1, 2, 2), torch.tensor([False, True]))[:, 0]
    assert flipped.tolist() == [[[0, 1], [2, 3]], [[2, 3], [0, 1]]]


def test_new_transforms_leave_the_draws_of_the_others_and_of_the_next_view_as_they_were() -> None:
    old = replace(PLAIN, crop_scale=(0.2, 1.0), flip=0.5, noise=0.1)
    new = replace(old, vertical_flip=0.5, quarter_turns=0.75)
    batch = torch.zeros(6, 1, 30, 30)
    drawn = []
    for pipeline in (old, new):
        draws = generator(3)
        drawn.append([pipeline.sample(batch, draws) for _ in range(2)])
    for before, now in zip(*drawn, strict=True):
        assert set(now) - set(before) == {"vertical_flip", "quarter_turns"}
        for name, parameters in before.items():
            assert all(torch.equal(value, now[name][key]) for key, value in parameters.items())


def test_a_transform_that_is_missing_is_not_applied_to_masks_either() -> None:
    (mask,) = masks([(24, 24)])
    assert torch.equal(PLAIN.apply_to_masks([mask], {}, outside=OUTSIDE)[0], mask)


def test_the_nearest_pixel_is_the_one_in_which_the_centre_lies() -> None:
    box = {name: torch.tensor([value]) for name, value in (("top", 1), ("left", 0), ("height", 4), ("width", 4))}
    mask = torch.arange(30).reshape(6, 5)
    assert crop_nearest([mask], box, torch.tensor([False]), 2)[0].tolist() == [[11, 13], [21, 23]]
    assert crop_nearest([mask], box, torch.tensor([True]), 2)[0].tolist() == [[13, 11], [23, 21]]


def test_contrast_is_stretched_whatever_the_light_was() -> None:
    dark = torch.randint(10, 40, (2, 50, 50), dtype=torch.uint8, generator=generator(0))
    bright = dark * 5
    assert torch.allclose(stretched(dark), stretched(bright), atol=0.02)
    assert (float(stretched(dark).min()), float(stretched(dark).max())) == (0.0, 1.0)
    flat = torch.full((1, 5, 5), 7, dtype=torch.uint8)
    assert torch.equal(stretched(flat), torch.zeros(1, 5, 5))


def test_images_and_masks_are_shrunk_alike_and_never_enlarged() -> None:
    assert shrunk_size((60, 40), 20) == (30, 20)
    assert shrunk_size((60, 40), 0) == shrunk_size((60, 40), 99) == (60, 40)
    mask = torch.zeros(60, 40, dtype=torch.uint8)
    mask[:30] = 1
    small, image = mask_with_short_side(mask, 20), with_short_side(mask[None] * 255, 20)[0]
    assert small.shape == image.shape == (30, 20)
    assert torch.equal(small, (image > 127).to(torch.uint8))
