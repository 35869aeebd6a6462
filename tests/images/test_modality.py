"""What images bring to the core: raw pixels, the network's checks, and the networks of libraries."""

import pytest
import torch

from barlow.data.arrays import ArraySource
from barlow.images.modality import IMAGES, pixels
from barlow.images.views.pipeline import ImagePipeline
from barlow.recipes import Recipe
from barlow.runs.build import refuse_unused
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


def wide(num_wide: int, num_square: int) -> ArraySource:
    shapes = [(1, 16, 128)] * num_wide + [(1, 16, 16)] * num_square
    return ArraySource([torch.zeros(shape, dtype=torch.uint8) for shape in shapes])


def test_what_is_never_seen_of_wide_images_is_counted_before_the_first_step() -> None:
    (note,) = IMAGES.notes(Recipe(), wide(3, 5))
    assert note.startswith("3 of 8 images looked at are not square: ")
    assert "so 88% of such an image is never seen there; --fit whole" in note
    assert not IMAGES.notes(Recipe(fit="whole"), wide(3, 5))
    assert not IMAGES.notes(Recipe(), wide(0, 5))


def test_a_fit_beside_views_of_ones_own_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^fit: got 'whole' beside views of your own \(Mine\)"):
        refuse_unused({"fit": "whole"}, {"views": "Mine"})


def test_the_recipes_fit_reaches_every_view() -> None:
    facts = {"image_shape": [1, 16, 128], "mean": [0.0], "std": [1.0]}
    views = IMAGES.views
    assert views is not None
    made = views(Recipe(fit="whole", image_size=16, views="small-grey"), facts)
    assert [pipeline.fit for pipeline in made.pipelines if isinstance(pipeline, ImagePipeline)] == ["whole", "whole"]
    image = torch.zeros(1, 1, 16, 128, dtype=torch.uint8)
    image[..., :16] = 255
    assert float(made.plain(image)[..., 0].mean()) > 0.9
