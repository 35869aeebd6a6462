"""Which value is white: told from how all values are spread, so that one pixel decides nothing."""

from typing import Any

import numpy as np
import pytest

from barlow.images.data.white_level import (
    WhiteLevels,
    as_numbers,
    floating_white,
    from_numbers,
    integer_white,
    levels_asked,
    levels_of_run,
    merged,
    spread_of,
    told_of_both,
    told_white,
)
from tests.images.data.making import Pixels

RNG = np.random.default_rng(0)
FRACTIONS = RNG.uniform(0.02, 0.98, (24, 20, 20)).astype(np.float32)


def changed(values: Pixels, share: float, to: Any) -> Pixels:
    """Set a share of the values, at random places."""
    found: Pixels = values.copy()
    chosen = np.random.default_rng(1).choice(found.size, round(share * found.size), replace=False)
    found.reshape(-1)[chosen] = to
    return found


@pytest.mark.parametrize(
    ("values", "white"),
    [
        (FRACTIONS, 1),
        (changed(FRACTIONS, 1 / FRACTIONS.size, 1.2), 1),  # one bright cloud
        (changed(FRACTIONS, 1 / FRACTIONS.size, 37.0), 1),  # one broken pixel
        (changed(changed(FRACTIONS, 0.05, 1.07), 0.04, -0.06), 1),  # bicubic, over and under
        (np.minimum(FRACTIONS * 1.0005, 1.0005), 1),
        (np.rint(FRACTIONS), 1),
        (np.zeros((3, 4, 4), np.float32), 1),
        (np.rint(FRACTIONS * 255), 255),
        (FRACTIONS * 255, 255),
        (FRACTIONS * 120, 255),
        (changed(FRACTIONS * 255, 0.05, 262.0), 255),  # bicubic in values of 8 bits
        (changed(np.zeros((24, 20, 20), np.float32), 0.1, np.linspace(3, 250, 960)), 255),  # digits on black
        (np.array([[[0.0, 1.0, 16.0]]]), 255),  # whole numbers, as bytes are
    ],
)
def test_white_of_floats_is_one_or_255_by_what_most_of_them_say(values: Pixels, white: float) -> None:
    assert floating_white(spread_of(values)) == white


@pytest.mark.parametrize(
    "values",
    [
        FRACTIONS * 1.6,  # a third of them above 1
        changed(FRACTIONS, 0.02, 40.0),  # too many for broken pixels, too few for bytes
        FRACTIONS * 10,
        FRACTIONS * 2 - 1,
        FRACTIONS * 4095,
        (FRACTIONS - 0.5) / 0.25,
        changed(FRACTIONS, 0.01, -9999.0),
    ],
)
def test_floats_that_could_be_either_or_are_neither_are_refused_with_the_flag_that_settles_it(values: Pixels) -> None:
    with pytest.raises(ValueError, match=r"data: got pixel values from .* to .*, wanted 0 to 1 or 0 to 255.*") as error:
        told_white(spread_of(values))
    assert "--white-level (white_level=) says which value is white" in str(error.value)


def deep(number: int, top: int) -> Pixels:
    return RNG.integers(top // 3, top + 1, (number, 32, 32)).astype(np.uint16)


def test_a_broken_pixel_does_not_make_12_bits_16_and_a_few_bright_pictures_do() -> None:
    twelve = deep(20, 4000)
    assert integer_white(spread_of(twelve)) == 4095
    twelve[3, 1, 1] = twelve[7, 5, 5] = 65535
    assert integer_white(spread_of(twelve)) == 4095
    assert integer_white(spread_of(np.concatenate([deep(100, 900), deep(1, 60000)]))) == 65535
    assert integer_white(spread_of(changed(deep(20, 4000), 0.001, 50000))) == 65535


def test_spreads_of_parts_are_together_that_of_the_whole_and_travel_as_numbers() -> None:
    for whole in (changed(FRACTIONS, 0.05, 1.5), changed(deep(24, 4000), 0.01, 65535)):
        parts = [spread_of(one[None], counted=True) for one in whole]
        together = merged([from_numbers(as_numbers(part).tolist()) for part in parts])
        assert together == spread_of(whole, counted=True)
        assert together.above[1] == (whole > (255.255 if together.floating else 255)).sum()
        assert together.positive == (whole > 0).sum()


def test_bad_images_have_no_say() -> None:
    values = FRACTIONS.copy()
    values[5] = np.nan
    values[6] = 900
    assert floating_white(spread_of(values, {5: "", 6: ""})) == 1
    assert spread_of(values, {5: "", 6: ""}).num_images == 22


def test_half_precision_is_compared_with_numbers_beyond_its_range_without_a_warning() -> None:
    assert floating_white(spread_of((FRACTIONS * 255).astype(np.float16))) == 255


def test_integers_here_and_floats_there_are_told_apart() -> None:
    spreads = [spread_of(one[None], counted=True) for one in (*deep(4, 1000), *(FRACTIONS * 255))]
    levels, notes = told_of_both(spreads, "{} images looked at")
    assert levels == WhiteLevels(integer=1023.0, floating=255.0)
    assert levels_of_run(levels.fact()) == levels
    assert levels.fact() == {"integer": 1023, "floating": 255}
    assert "read as 10 bits" in notes[0]
    assert "of 4 images looked at" in notes[0]
    assert "pixels are floats: read with 255 as white" in notes[1]
    assert "of 24 images looked at" in notes[1]


def test_what_was_not_told_has_a_white_of_its_own_kind() -> None:
    kinds = [np.dtype(kind) for kind in (np.uint8, np.uint16, np.float32, np.bool_)]
    assert [WhiteLevels().of(kind) for kind in kinds] == [255, 255, 1, 1]
    assert [levels_asked(4095).of(kind) for kind in kinds] == [4095, 4095, 4095, 1]
    assert levels_of_run({"integer": 4095, "of a later version": 3}) == WhiteLevels(integer=4095.0)


@pytest.mark.parametrize("wrong", [0, -1, "many", float("nan"), float("inf"), True])
def test_a_white_that_cannot_be_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"white_level: got .*, wanted the value of white: 1, 255, 4095 or 65535"):
        levels_asked(wrong)
