"""The command on a run's page: typed, it gives the recipe of the run back, options and all."""

import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from barlow.cli.flags import parse_pretrain
from barlow.recipes import Recipe, recipe_for, with_numbers
from barlow.report.record import changed_fields, command_of, recipe as recipe_section
from barlow.report.run_folder import RunFiles

ABOUT = ("name", "source", "published")


def run_of(recipe: Recipe, data: str) -> RunFiles:
    """A run of `recipe` as its folder would be read."""
    start = {"data": {"name": "x", "path": data}}
    return RunFiles(Path("runs/x"), asdict(recipe), start, records=(), summary={}, evidence={}, unreadable=())


@pytest.mark.parametrize(
    ("name", "data", "numbers"),
    [
        (None, "digits", {}),
        ("simclr", "digits", {}),
        ("simclr", "digits", {"options": {"temperature": 0.7}, "epochs": 3}),
        ("simclr", "photos/", {"options": {"temperature": 0.7}}),
        ("swav-cifar", "cifar10", {"options": {"queue_length": 64, "epsilon": 0.03}, "channels_last": False}),
        ("imagenet", "photos/", {"options": {"bias": "removed"}}),
        ("byol", "fashion-mnist", {"learning_rate": 0.01}),
        ("vicreg-small-grey", "my pictures/", {"method": "simclr", "options": {"temperature": 0.5}}),
        ("digits", "digits", {"redundancy_weight": 0.3, "normalization": "raw"}),
        ("digits", "digits", {"method": "simclr"}),
    ],
)
def test_the_command_gives_the_recipe_back(name: str | None, data: str, numbers: dict[str, Any]) -> None:
    recipe = with_numbers(recipe_for(name, data), numbers)
    words = shlex.split(command_of(run_of(recipe, data)))
    assert words[:3] == ["barlow", "pretrain", data]
    flags = parse_pretrain(words[2:])
    assert flags.data == data
    assert asdict(flags.numbers) == asdict(recipe)
    if not numbers:
        assert not [word for word in words if word.startswith("--") and word != "--recipe"]


def test_a_call_in_python_for_data_without_a_path() -> None:
    recipe = replace(with_numbers(recipe_for("simclr", "photos/"), {"options": {"temperature": 0.7}}), epochs=3)
    run = run_of(recipe, "")
    assert command_of(run) == "barlow.pretrain(data, recipe='simclr-pictures', epochs=3, options={'temperature': 0.7})"


def test_lambda_and_normalisation_are_typed_as_flags_of_their_own() -> None:
    recipe = with_numbers(recipe_for("digits"), {"redundancy_weight": 0.3, "normalization": "raw"})
    command = command_of(run_of(recipe, "digits"))
    assert command == "barlow pretrain digits --recipe digits --redundancy-weight 0.3 --normalization raw"
    assert command_of(run_of(recipe, "")) == (
        "barlow.pretrain(data, recipe='digits', redundancy_weight=0.3, normalization='raw')"
    )


def test_options_stand_among_the_fields() -> None:
    recipe = with_numbers(recipe_for("simclr", "photos/"), {"options": {"temperature": 0.7}})
    run = run_of(recipe, "photos/")
    assert changed_fields(run) == {"options.temperature": 0.7}
    assert "<b>0.7</b>" in recipe_section(run)


def test_options_are_typed_as_names_and_values() -> None:
    flags = parse_pretrain(["photos/", "--recipe", "swav", "--options", "epsilon", "0.03", "queue_length", "64"])
    assert flags.numbers.options["epsilon"] == 0.03
    assert flags.numbers.options["queue_length"] == 64
    kept = recipe_for("swav", "photos/").options
    assert {k: v for k, v in flags.numbers.options.items() if k not in ("epsilon", "queue_length")} == {
        k: v for k, v in kept.items() if k not in ("epsilon", "queue_length")
    }
    with pytest.raises(ValueError, match=r"got --options .* too"):
        parse_pretrain(["--resume", "runs/x", "--recipe", "", "--options", "bias", "removed"])
