"""Crop boxes have torchvision's distribution; crops, flips and affine maps have torchvision's pixels."""

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as reference

from barlow.images.views import geometry
from barlow.images.views.geometry import (
    Interpolation,
    affine,
    crop_and_resize,
    image_sizes,
    plain_box,
    resize_matrix,
    sample_affine,
    sample_crop,
)
from tests.images.views.drawing import generator, same_distribution

SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
KEYS = ("top", "left", "height", "width")


def boxes(num_samples: int, height: int, width: int, seed: int = 0) -> dict[str, Tensor]:
    sizes = torch.full((num_samples,), height), torch.full((num_samples,), width)
    return sample_crop(*sizes, SCALE, RATIO, generator(seed))


def no_flip(num_samples: int) -> Tensor:
    return torch.zeros(num_samples, dtype=torch.bool)


def torchvision_crop(image: Tensor, box: list[int], size: int, mode: str) -> Tensor:
    crop: Tensor = reference.resized_crop(image, *box, [size, size], InterpolationMode(mode), antialias=True)
    return crop


@pytest.mark.parametrize(("height", "width"), [(32, 32), (200, 160), (8, 8)])
def test_crop_boxes_are_distributed_as_torchvisions(height: int, width: int) -> None:
    ours = torch.stack([boxes(3000, height, width)[key] for key in KEYS]).double()
    torch.manual_seed(1)
    crop = v2.RandomResizedCrop(32, scale=SCALE, ratio=RATIO)
    image = torch.empty(3, height, width)
    drawn = [crop.make_params([image]) for _ in range(3000)]
    theirs = torch.tensor([[box[key] for box in drawn] for key in KEYS], dtype=torch.float64)

    def statistics(box: Tensor) -> dict[str, Tensor]:
        top, left, h, w = box
        return {
            "area": h * w,
            "ratio": w / h,
            "diagonal": top - left,
            "top": top,
            "left": left,
            "bottom": height - top - h,
            "width": w,
        }

    for name, values in statistics(ours).items():
        assert same_distribution(values, statistics(theirs)[name]), name


def test_crop_boxes_lie_inside_their_images_of_any_size() -> None:
    heights = torch.randint(1, 60, (4000,), generator=generator(1))
    widths = torch.randint(1, 60, (4000,), generator=generator(2))
    box = sample_crop(heights, widths, SCALE, RATIO, generator())
    assert (box["top"] >= 0).all()
    assert (box["left"] >= 0).all()
    assert (box["height"] > 0).all()
    assert (box["width"] > 0).all()
    assert (box["top"] + box["height"] <= heights).all()
    assert (box["left"] + box["width"] <= widths).all()
    assert (box["top"] + box["height"] == heights).any()
    assert (box["left"] == 0).any()


@pytest.mark.parametrize(("height", "width"), [(10, 500), (500, 10), (40, 40)])
def test_a_box_that_never_fits_becomes_torchvisions_central_box(height: int, width: int) -> None:
    too_much = (1.5, 2.0)
    box = sample_crop(torch.tensor([height]), torch.tensor([width]), too_much, RATIO, generator())
    theirs = v2.RandomResizedCrop(8, scale=too_much, ratio=RATIO).make_params([torch.empty(3, height, width)])
    assert {key: int(box[key]) for key in KEYS} == theirs


def test_centre_square_is_the_largest_one() -> None:
    box = plain_box(torch.tensor([8, 9, 5]), torch.tensor([5, 8, 5]))
    assert torch.stack([box[key] for key in KEYS], 1).tolist() == [[1, 0, 5, 5], [0, 0, 8, 8], [0, 0, 5, 5]]


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [8, 32, 45])
def test_crops_of_a_float_batch_have_torchvisions_pixels(mode: Interpolation, size: int) -> None:
    images = torch.rand(20, 3, 32, 40, generator=generator())
    box = boxes(20, 32, 40)
    ours = crop_and_resize(images, box, no_flip(20), size, mode)
    corners = torch.stack([box[key] for key in KEYS], 1).tolist()
    for image, corner, result in zip(images, corners, ours, strict=True):
        expected = torchvision_crop(image, corner, size, mode).clamp(0, 1)
        torch.testing.assert_close(result, expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize(("side", "size"), [(32, 24), (80, 96)])
def test_crops_of_uint8_images_are_torchvisions_within_its_rounding(side: int, size: int) -> None:
    smooth = torch.rand(12, 3, side // 4, side // 4, generator=generator())
    images = torch.nn.functional.interpolate(smooth, scale_factor=4, mode="bilinear").mul(255).to(torch.uint8)
    box = boxes(12, side, side)
    ours = crop_and_resize(images, box, no_flip(12), size, "bicubic")
    corners = torch.stack([box[key] for key in KEYS], 1).tolist()
    for image, corner, result in zip(images, corners, ours, strict=True):
        expected = torchvision_crop(image, corner, size, "bicubic")
        # Half a level of rounding, and the fixed-point weights of the uint8 kernel.
        assert (result * 255 - expected).abs().max() < 1.5
    assert ours.dtype == torch.float32


def test_a_flip_mirrors_the_crop_and_only_where_asked() -> None:
    for images in (torch.rand(6, 3, 16, 16), torch.rand(6, 1, 70, 80)):
        box = boxes(6, *images.shape[-2:])
        flipped = torch.tensor([True, False, True, True, False, False])
        plain = crop_and_resize(images, box, no_flip(6), 16, "bicubic")
        mirrored = crop_and_resize(images, box, flipped, 16, "bicubic")
        expected = torch.where(flipped[:, None, None, None], plain.flip(-1), plain)
        torch.testing.assert_close(mirrored, expected, atol=2e-6, rtol=0)


def test_a_ragged_list_gives_what_a_uniform_batch_gives() -> None:
    images = torch.rand(10, 3, 32, 32, generator=generator())
    box, flipped = boxes(10, 32, 32), torch.arange(10) % 2 == 0
    together = crop_and_resize(images, box, flipped, 20, "bicubic")
    one_by_one = crop_and_resize(list(images), box, flipped, 20, "bicubic")
    torch.testing.assert_close(together, one_by_one, atol=2e-6, rtol=0)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_crops_side_by_side_as_a_gpu_takes_them_are_those_one_by_one(mode: Interpolation) -> None:
    images = [torch.rand(3, 70 + 9 * i, 100 - 7 * i, generator=generator(i)) for i in range(6)]
    heights, widths = image_sizes(images)
    box = sample_crop(heights, widths, (0.1, 1.0), (0.75, 4 / 3), generator())
    flipped = torch.tensor([True, False] * 3)
    corners = torch.stack([box[key] for key in KEYS], dim=1)
    one_by_one = crop_and_resize(images, box, flipped, 24, mode)
    together = geometry._side_by_side(images, corners, flipped, 24, mode)
    torch.testing.assert_close(together, one_by_one, atol=2e-5, rtol=0)


def test_crops_lie_side_by_side_while_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "_PIXELS_SIDE_BY_SIDE", 200)
    sizes = [(10, 10), (5, 10), (10, 11), (3, 3), (40, 40), (2, 2)]
    corners = torch.tensor([(0, 0, *size) for size in sizes])
    assert geometry._fitting_together(corners) == [slice(0, 2), slice(2, 3), slice(3, 4), slice(4, 5), slice(5, 6)]


def test_images_of_unequal_size_are_cut_at_their_own_places() -> None:
    images = [torch.full((1, 10, 12), 10, dtype=torch.uint8), torch.zeros(1, 40, 9, dtype=torch.uint8)]
    images[1][:, 20:30, 2:7] = 255
    heights, widths = image_sizes(images)
    assert (heights.tolist(), widths.tolist()) == ([10, 40], [12, 9])
    box = {key: torch.tensor(value) for key, value in zip(KEYS, ([1, 20], [3, 2], [4, 10], [9, 5]), strict=True)}
    views = crop_and_resize(images, box, no_flip(2), 8, "bicubic")
    torch.testing.assert_close(views[0], torch.full((1, 8, 8), 10 / 255))
    torch.testing.assert_close(views[1], torch.ones(1, 8, 8))


def test_resize_matrices_keep_constants_and_read_nothing_outside_the_interval() -> None:
    start, length = torch.tensor([0, 3, 7]), torch.tensor([16, 5, 1])
    matrix = resize_matrix(start, length, 16, 9, "bicubic")
    torch.testing.assert_close(matrix.sum(-1), torch.ones(3, 9))
    assert matrix[1, :, :3].abs().max() == 0
    assert matrix[1, :, 8:].abs().max() == 0
    assert (matrix[2, :, 7] == 1).all()


def test_affine_maps_have_torchvisions_pixels() -> None:
    images = torch.rand(4, 1, 28, 28, generator=generator())
    angle, zoom = torch.tensor([10.0, -25.0, 0.0, 30.0]), torch.tensor([1.0, 0.8, 1.2, 1.0])
    shift = torch.tensor([[4, 0], [0, 7], [2, -3], [0, 0]])
    shear = torch.tensor([0.0, 10.0, -15.0, 20.0])
    ours = affine(images, angle, shift / 28, zoom, shear)
    for i in range(4):
        expected = reference.affine(
            images[i],
            angle=float(angle[i]),
            translate=shift[i].tolist(),
            scale=float(zoom[i]),
            shear=[float(shear[i]), 0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        torch.testing.assert_close(ours[i], expected, atol=1e-5, rtol=0)


def test_affine_draws_fill_their_ranges_and_no_more() -> None:
    drawn = sample_affine(5000, 15.0, 0.1, (0.8, 1.25), 5.0, generator())
    bounds = {"angle": (-15, 15), "shift": (-0.1, 0.1), "zoom": (0.8, 1.25), "shear": (-5, 5)}
    for name, (low, high) in bounds.items():
        values, width = drawn[name], high - low
        assert values.min() >= low - 1e-6
        assert values.max() <= high + 1e-6
        assert values.min() < low + 0.01 * width
        assert values.max() > high - 0.01 * width
        assert abs(values.mean() - (low + high) / 2) < 0.02 * width
    assert drawn["shift"].shape == (5000, 2)


def test_a_whole_image_is_the_plain_box_and_a_crop_of_all_of_its_area() -> None:
    heights, widths = torch.tensor([8, 9, 5]), torch.tensor([40, 8, 5])
    box = plain_box(heights, widths, "whole")
    assert [box[key].tolist() for key in KEYS] == [[0, 0, 0], [0, 0, 0], [8, 9, 5], [40, 8, 5]]
    for seed in range(5):
        crop = sample_crop(heights, widths, (1.0, 1.0), (1.0, 1.0), generator(seed), "whole")
        assert all(torch.equal(crop[key], box[key]) for key in KEYS)


def test_crops_of_whole_images_are_those_of_the_image_squeezed_to_a_square() -> None:
    wide = torch.full((2000,), 300), torch.full((2000,), 1200)
    square = torch.full((2000,), 600), torch.full((2000,), 600)
    ours = sample_crop(*wide, SCALE, RATIO, generator(0), "whole")
    theirs = sample_crop(*square, SCALE, RATIO, generator(0))
    for key, scale in (("top", 300), ("height", 300), ("left", 1200), ("width", 1200)):
        apart = (ours[key] / scale - theirs[key] / 600).abs() > 0.006
        assert apart.double().mean() < 0.005  # rounding decides now and then which of the ten boxes is the first to fit


def test_crops_of_square_images_are_the_same_either_way() -> None:
    sizes = torch.full((500,), 32), torch.full((500,), 32)
    ours, theirs = (sample_crop(*sizes, SCALE, RATIO, generator(0), fit) for fit in ("square", "whole"))
    assert all(torch.equal(ours[key], theirs[key]) for key in KEYS)
