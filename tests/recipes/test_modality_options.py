"""Numbers that only one kind of data has: typed, joined, told apart, and refused where there are none."""

from dataclasses import asdict

import pytest

from barlow.cli.flags import parse_pretrain, typed_numbers
from barlow.images.modality import IMAGES
from barlow.recipes import Recipe, flat, folded, with_numbers


def test_they_join_those_of_the_recipe_whatever_the_method() -> None:
    recipe = Recipe(modality_options={"hop": 160, "mels": 64})
    found = with_numbers(recipe, {"modality_options": {"hop": 80}, "method": "simclr"})
    assert found.modality_options == {"hop": 80, "mels": 64}


def test_flat_names_each_and_folded_is_its_inverse() -> None:
    recipe = Recipe(options={"redundancy_weight": 0.1}, modality_options={"hop": 80})
    assert flat(asdict(recipe))["modality_options.hop"] == 80
    assert Recipe(**folded(flat(asdict(recipe)))) == recipe


def test_they_are_typed_as_pairs() -> None:
    arguments = ["digits", "--modality-options", "hop", "80", "--options", "redundancy_weight", "0.1"]
    flags = parse_pretrain(arguments)
    assert flags.numbers.modality_options == {"hop": 80}
    assert typed_numbers(arguments, flags) == {
        "modality_options": {"hop": 80},
        "options": {"redundancy_weight": 0.1},
    }


def test_images_have_none() -> None:
    with pytest.raises(ValueError, match="modality_options: got hop, but images have none"):
        IMAGES.names(Recipe(modality_options={"hop": 80}))
