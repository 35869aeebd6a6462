"""Every method has numbers that fit every kind of data, and a step of those for a folder of pictures works."""

from dataclasses import replace

import pytest
import torch

from barlow.data.arrays import ArraySource
from barlow.images.modality import IMAGES
from barlow.methods.heads import projector_width
from barlow.methods.table import METHODS
from barlow.recipes import MADE_FOR, RECIPES, batch_note, recipe_for
from barlow.runs.build import build_backbone, build_method, build_views, fitted
from barlow.seams import check_backbone

DATA = [*MADE_FOR, "photos/"]
OF_PICTURES = [name for name in METHODS if name != "speakers"]
"""Methods that have recipes for pictures; that of speakers is for sound."""


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("method", OF_PICTURES)
def test_every_method_has_a_recipe_for_every_kind_of_data(method: str, data: str) -> None:
    made = recipe_for(method, data)
    of_the_data = recipe_for(None, data)
    assert made.method == method
    assert made.source
    assert not made.published or made.name in RECIPES
    ends = (of_the_data.name, data)  # "simclr-small-grey"; "cca_ssg-cora" beside "gbt-cora"
    assert made.name == of_the_data.name if method == "barlow_twins" else made.name.endswith(ends)


@pytest.mark.parametrize("method", OF_PICTURES)
def test_a_method_on_a_folder_keeps_network_schedule_and_batch_of_the_default(method: str) -> None:
    made, default = recipe_for(method, "photos/"), recipe_for(None, "photos/")
    of_its_own = {"vicregl": {"backbone", "image_size"}, "swav": {"image_size"}}.get(method, set())  # maps, small crops
    for name in {"backbone", "image_size", "batch_size", "epochs", "optimizer", "learning_rate"} - of_its_own:
        assert getattr(made, name) == getattr(default, name), name
    with_places_or_many_crops = {"vicregl": "vicregl", "swav": "swav"}
    assert made.views == with_places_or_many_crops.get(method, default.views)
    if method != "barlow_twins":
        assert "untuned" in made.source


@pytest.mark.parametrize("method", OF_PICTURES)
def test_heads_on_a_folder_are_sized_for_its_batch(method: str) -> None:
    """Widths of the official runs belong to batches of 2048: at 128 their covariances have rank 127 of 8192."""
    made = recipe_for(method, "photos/")
    widest = projector_width(recipe_for(None, "photos/").projector, 512)
    assert projector_width(made.projector, 512) <= widest
    if "num_prototypes" in made.options:
        assert int(made.options["num_prototypes"]) <= made.batch_size + int(made.options["queue_length"])
    if "w_size" in made.options:
        assert int(made.options["w_size"]) * 2 <= made.batch_size


@pytest.mark.parametrize("method", OF_PICTURES)
def test_one_step_on_a_folder_is_finite_and_moves_every_part_of_the_backbone(method: str) -> None:
    """At the recipe's own batch; the network is thin, and residual branches that start at zero would hold back."""
    asked = replace(recipe_for(method, "photos/"), width=4, precision="32-true", zero_init=False)
    generator = torch.Generator().manual_seed(0)
    source = ArraySource(torch.randint(0, 256, (128, 3, 12, 12), dtype=torch.uint8, generator=generator))
    size = 128 if method == "vicregl" else 24  # 128 pixels: the map of 4 x 4 that its numbers of matches are made for
    recipe, facts = fitted(IMAGES, replace(asked, image_size=size), source)
    torch.manual_seed(0)
    backbone = build_backbone(IMAGES, recipe, facts)
    built = build_method(recipe, backbone, check_backbone(backbone, torch.zeros(2, 3, size, size)))
    built.start_step(0.0, recipe.epochs)
    terms = built(build_views(IMAGES, recipe, facts).draw(source.samples, generator))
    terms.total.backward()
    assert recipe.batch_size == 128
    assert terms.total.isfinite()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_a_mistyped_method_is_told_the_methods_and_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"recipe: got 'simcrl', wanted one of .*did you mean 'simclr'\?"):
        recipe_for("simcrl", "photos/")
    with pytest.raises(ValueError, match="recipe: got 'x'") as refused:
        recipe_for("x", "photos/")
    wanted = str(refused.value).split("wanted one of ")[1].split(", ")
    assert set(METHODS) | set(RECIPES) <= set(wanted)


def test_barlow_twins_stands_for_the_recipe_made_for_the_data_and_a_full_name_for_itself() -> None:
    assert recipe_for("barlow_twins", "digits").name == "digits"
    assert recipe_for("barlow_twins", "fashion-mnist").name == "small-grey"
    assert recipe_for("cifar", "digits").name == "cifar"


def test_a_rate_chosen_for_another_batch_is_said_with_the_usual_rule() -> None:
    imagenet = replace(RECIPES["imagenet"](), batch_size=256)
    assert "the learning rate 1.6 of imagenet was chosen for 2048 and is kept" in batch_note(imagenet)
    assert batch_note(imagenet).endswith("in proportion it would be --learning-rate 0.2")
    quarter = RECIPES["pictures"]()
    quarter = replace(quarter, batch_size=quarter.batch_size // 4)
    assert batch_note(quarter).endswith(f"it would be --learning-rate {quarter.learning_rate / 2:.2g}")
    for silent in (RECIPES["imagenet"](), replace(imagenet, learning_rate=0.2), replace(imagenet, name="custom")):
        assert batch_note(silent) == ""
