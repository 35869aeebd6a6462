"""What images get for so many minutes: one table, and what was given by hand stays."""

from dataclasses import replace

import pytest

from barlow.recipes import Recipe, minutes, recipe_for, with_numbers
from barlow.recipes.minutes import TABLE, for_minutes, has_rows, lacks_epochs, usual_minutes

LARGE = replace(TABLE[0], from_minutes=30, from_images=1_000_000, image_size=128, backbone="resnet18", width=64)


@pytest.fixture
def two_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minutes, "TABLE", (LARGE, *TABLE))


def settled(recipe: Recipe, *kept: str, side: int = 160, channels: int = 3, cost: float = 0.004) -> Recipe:
    return for_minutes(
        recipe, kept, num_samples=3000, short_side=side, channels=channels, seconds_per_sample=lambda _: cost
    )


def made_for(name: str | None = None, data: str = "photos/", **numbers: object) -> Recipe:
    return with_numbers(recipe_for(name, data), {"minutes": 60, **numbers})


def test_photographs_get_the_row_for_them_and_small_pictures_theirs() -> None:
    photos, small = settled(made_for()), settled(made_for(), side=32)
    assert (photos.image_size, photos.backbone, photos.width, photos.projector) == (48, "resnet10", 32, "256-256")
    assert photos.options == {"redundancy_weight": 0.02}
    assert (photos.learning_rate, photos.batch_size, photos.zero_init, photos.stem) == (3e-3, 128, False, "imagenet")
    assert small.image_size == 32
    assert settled(made_for(), side=20, channels=1).views == "small-grey-flip"
    assert settled(made_for(), side=20, channels=1).image_size == 20


def test_every_size_of_picture_has_a_row_that_asks_for_nothing() -> None:
    """Otherwise some data would have none, or one that needs more time than there is."""
    for side in (8, 28, 32, 48, 49, 64, 224, 5000):
        rows = [row for row in TABLE if row.from_side <= side <= row.to_side]
        assert rows
        assert (rows[-1].from_minutes, rows[-1].from_images) == (0, 0)


@pytest.mark.usefixtures("two_rows")
def test_a_row_is_taken_where_there_is_time_for_it_on_this_machine() -> None:
    assert settled(made_for(minutes=60), cost=0.001).backbone == "resnet18"
    assert settled(made_for(minutes=20), cost=0.001).backbone == "resnet10"  # fewer minutes than the row wants
    assert settled(made_for(minutes=60), cost=0.01).backbone == "resnet10"  # fewer images than it wants


@pytest.mark.usefixtures("two_rows")
def test_names_and_numbers_given_by_hand_stay() -> None:
    asked = made_for(backbone="resnet50", batch_size=32, redundancy_weight=0.1, image_size=96)
    found = settled(asked, "backbone", "batch_size", "options.redundancy_weight", "image_size", cost=0.001)
    assert (found.backbone, found.batch_size, found.image_size) == ("resnet50", 32, 96)
    assert (found.width, found.stem) == (Recipe.width, asked.stem)  # those of a row belong to its network
    assert found.options["redundancy_weight"] == 0.1
    assert found.projector == TABLE[0].projector


def test_a_methods_name_keeps_its_loss_and_its_head_and_gets_the_network_of_the_row() -> None:
    simclr = made_for("simclr")
    found = settled(simclr)
    assert (found.backbone, found.width, found.image_size) == ("resnet10", 32, 48)
    kept = ("method", "options", "projector", "views", "learning_rate", "batch_size")
    assert [getattr(found, name) for name in kept] == [getattr(simclr, name) for name in kept]


def test_recipes_for_gpus_and_days_are_exchanged_where_a_time_is_given_and_small_ones_are_not() -> None:
    found = settled(made_for(data="cifar10", seed=3, width=8), "seed", "width", side=32)
    assert (found.name, found.optimizer, found.backbone, found.seed, found.width) == (
        "pictures", "adamw", "resnet10", 3, 8,
    )  # fmt: skip
    assert not has_rows(recipe_for(None, "fashion-mnist"))
    assert not lacks_epochs(recipe_for(None, "cifar10"))
    assert lacks_epochs(recipe_for(None, "photos/"))
    assert lacks_epochs(recipe_for("simclr", "photos/"))


def test_without_minutes_the_time_suits_the_data_and_the_machine() -> None:
    assert usual_minutes(3_000, 0.004) == 30
    assert usual_minutes(3_000, 0.0001) == 5
    assert usual_minutes(100_000, 0.004) == 60
    assert settled(made_for(minutes=0)).minutes == 30
    assert settled(made_for(minutes=0), cost=0.0001).minutes == 5


def test_the_source_says_why() -> None:
    assert "60 minutes for images with a short side of 160 pixels" in settled(made_for()).source
