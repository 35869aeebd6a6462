import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from barlow.arguments import check_fields, checked, described
from barlow.audits.settings import AuditSettings
from barlow.recipes import Recipe
from barlow.training.machine import Machine


@dataclass(frozen=True)
class Numbers:
    size: int = 3
    """Side in pixels,
    over two lines."""
    rate: float = 0.5
    """How fast."""
    shape: Literal["round", "square"] = "round"
    where: Path | None = None
    options: dict[str, int | float | str] = field(default_factory=dict)
    """By name."""
    record: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)


def test_what_fits_its_annotation_is_kept_and_numbers_of_numpy_become_plain() -> None:
    kept = Numbers(size=np.int64(4), rate=np.float32(0.25), options={"a": np.float64(1.5), "b": "word", "c": None})  # type: ignore[dict-item]
    assert kept == Numbers(4, 0.25, options={"a": 1.5, "b": "word", "c": None})  # type: ignore[dict-item]
    assert [type(value) for value in (kept.size, kept.rate, kept.options["a"])] == [int, float, float]
    assert Numbers(rate=1).rate == 1
    assert Numbers(where=Path("here"), record={"sizes": [1, 2]}).record == {"sizes": [1, 2]}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": "32"}, "size: got '32', wanted a whole number"),
        ({"size": 32.0}, r"size: got 32\.0, wanted a whole number"),
        ({"size": (32, 64)}, r"size: got \(32, 64\), wanted a whole number"),
        ({"size": True}, "size: got True, wanted a whole number"),
        ({"rate": None}, "rate: got None, wanted a number"),
        ({"shape": "sqare"}, "shape: got 'sqare', wanted one of round, square; did you mean 'square'"),
        ({"options": [1]}, r"options: got \[1\], wanted numbers and words by name"),
        ({"options": {"crops": (2, 6)}}, "crops: got a tuple, wanted a number or a word"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_name_of_its_field(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Numbers(**given)


@pytest.mark.usefixtures("as_users_call_it")
@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (Recipe, {"batch_size": "32"}, "batch_size: got '32', wanted a whole number"),
        (Recipe, {"epochs": None}, "epochs: got None, wanted a number"),
        (Recipe, {"image_size": (32, 64)}, "image_size: got"),
        (Recipe, {"optimizer": "adamm"}, "optimizer: got 'adamm', .* did you mean 'adam"),
        (Recipe, {"views": ("byol", "byol")}, "views: got .* wanted a word"),
        (Machine, {"num_nodes": "1"}, "num_nodes: got '1', wanted a whole number"),
        (Machine, {"devices": 1.5}, "devices: got 1.5, wanted a whole number or a word"),
        (Machine, {"quiet": "yes"}, "quiet: got 'yes', wanted True or False"),
        (AuditSettings, {"num_views": "8"}, "num_views: got '8', wanted a whole number"),
    ],
)
def test_recipes_machines_and_audits_are_held_to_their_annotations(
    kind: Any, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**given)


def test_two_devices_are_as_good_as_the_word_for_them() -> None:
    assert Machine(devices=2) == Machine(devices="2")


def test_a_number_may_be_whole_or_not_and_not_finite_ones_are_left_to_the_ranges() -> None:
    assert checked("epochs", 3, int | float) == 3
    assert math.isnan(checked("epochs", float("nan"), int | float))
    with pytest.raises(ValueError, match=r"epochs: got 'many', wanted a number$"):
        checked("epochs", "many", int | float)


def test_a_dataclass_is_described_field_by_field_with_the_string_under_each() -> None:
    assert described(Numbers) == [
        "size: int = 3: Side in pixels, over two lines.",
        "rate: float = 0.5: How fast.",
        "options: dict[str, int | float | str] = {}: By name.",
    ]
