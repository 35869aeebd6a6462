"""A Recipe and its changes: options belong to a method, and files of any age are read as they are written today."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from barlow.recipes import OWN, RECIPES, Recipe, flat, recipe_for, up_to_date, with_numbers


def test_options_are_added_to_those_of_the_recipe() -> None:
    recipe = with_numbers(Recipe(options={"a": 1, "b": 2}), {"options": {"b": 3}})
    assert recipe.options == {"a": 1, "b": 3}


def test_lambda_and_normalisation_are_typed_like_fields_and_kept_among_the_options() -> None:
    recipe = with_numbers(recipe_for("digits"), {"redundancy_weight": 0.3, "normalization": "raw", "epochs": 3})
    assert recipe.options == {"redundancy_weight": 0.3, "normalization": "raw"}
    assert recipe.epochs == 3
    assert set(asdict(recipe)) == set(asdict(Recipe()))


def test_a_change_of_the_method_leaves_the_options_of_the_old_one_behind() -> None:
    recipe = with_numbers(recipe_for("digits"), {"method": "simclr", "options": {"temperature": 0.7}})
    assert recipe.options == {"temperature": 0.7}
    assert with_numbers(recipe, {"method": "simclr"}).options == {"temperature": 0.7}


def test_a_number_of_one_method_that_is_typed_like_a_field_is_told_where_it_belongs() -> None:
    with pytest.raises(
        ValueError, match=r"queue_length: a Recipe has no such field; .*options=\{'queue_length': \.\.\.\}"
    ):
        with_numbers(recipe_for("swav"), {"queue_length": 64})
    with pytest.raises(ValueError, match="did you mean 'redundancy_weight'"):
        with_numbers(Recipe(), {"redundancy_wieght": 0.1})


@pytest.mark.parametrize("name", RECIPES)
def test_only_recipes_of_barlow_twins_have_its_options(name: str) -> None:
    recipe = RECIPES[name]()
    assert ("redundancy_weight" in recipe.options) == (recipe.method in ("barlow_twins", "speakers"))


def old_record(recipe: Recipe, **once_fields: Any) -> dict[str, Any]:
    """The fields of a recipe as they were written while lambda and normalisation were fields of all recipes."""
    options = {name: value for name, value in recipe.options.items() if name != "redundancy_weight"}
    return (
        asdict(replace(recipe, options=options))
        | {"redundancy_weight": 0.005, "normalization": "pearson"}
        | once_fields
    )


def test_an_old_record_of_barlow_twins_has_them_among_its_options() -> None:
    digits = recipe_for("digits")
    assert Recipe(**up_to_date(old_record(digits, redundancy_weight=0.02))) == digits
    changed = up_to_date(old_record(digits, redundancy_weight=0.3, normalization="raw"))
    assert changed["options"] == {"redundancy_weight": 0.3, "normalization": "raw"}


@pytest.mark.parametrize("name", ["simclr-pictures", "optimal_projector-digits", "byol-imagenet"])
def test_an_old_record_of_another_method_loses_what_decided_nothing(name: str) -> None:
    recipe = recipe_for(name)
    assert Recipe(**up_to_date(old_record(recipe, redundancy_weight=3.0, normalization="raw"))) == recipe


def test_the_momentum_of_an_old_record_counts_where_the_optimizer_has_one() -> None:
    assert up_to_date(asdict(Recipe(optimizer="adamw", momentum=0.99)))["momentum"] == 0.9
    assert up_to_date(asdict(Recipe(optimizer="lars", momentum=0.99)))["momentum"] == 0.99


def test_what_is_up_to_date_stays_as_it_is() -> None:
    for make in RECIPES.values():
        assert up_to_date(asdict(make())) == asdict(make())
    assert up_to_date({}) == {}


def test_flat_names_every_option() -> None:
    found = flat({"epochs": 3, "options": {"temperature": 0.2, "momentum": 0.9}, "momentum": 0.8})
    assert found == {"epochs": 3, "options.temperature": 0.2, "options.momentum": 0.9, "momentum": 0.8}
    assert flat({"options": None}) == {}


def test_another_network_by_name_has_its_own_width_unless_one_is_given() -> None:
    pictures = RECIPES["pictures"]()
    assert (pictures.backbone, pictures.width) == ("resnet10", 32)
    assert with_numbers(pictures, {"backbone": "resnet50"}).width == Recipe.width == 64
    assert with_numbers(pictures, {"backbone": "resnet18", "width": 16}).width == 16
    assert with_numbers(pictures, {"backbone": "resnet10"}).width == 32
    assert with_numbers(pictures, {"backbone": f"{OWN}Net"}).width == 32
