"""Numbers are read with tolerance, intervals are cut to what is possible, and thresholds are only passed in whole."""

import math

import pytest

from barlow.auditing.measured import Figures, Measured, MissingFigureError


@pytest.mark.parametrize(
    ("value", "error", "above"),
    [
        (0.6, 0.04, True),
        (0.6, 0.06, None),
        (0.4, 0.06, None),
        (0.4, 0.04, False),
        (0.51, None, True),
        (0.5, None, False),
    ],
)
def test_a_threshold_is_passed_by_whole_intervals(value: float, error: float | None, above: bool | None) -> None:
    assert Measured(value, error).above(0.5) is above


def test_intervals_are_two_errors_wide_on_either_side_and_cut_to_what_is_possible() -> None:
    share = Measured(0.97, 0.02, 0.0, 1.0)
    assert share.low == pytest.approx(0.93)
    assert share.high == 1.0
    assert (Measured(0.5).low, Measured(0.5).high) == (None, None)


@pytest.mark.parametrize(
    ("measured", "percent", "number"),
    [
        (Measured(0.484, 0.01), "48% [46, 50]", "0.484 [0.464, 0.504]"),
        (Measured(0.4844, 0.002), "48.4% [48, 48.8]", "0.484 [0.48, 0.488]"),
        (Measured(0.484), "48% (error not known)", "0.484 (error not known)"),
        (Measured(0.484, exact=True), "48%", "0.484"),
    ],
)
def test_numbers_are_written_with_their_interval(measured: Measured, percent: str, number: str) -> None:
    assert measured.as_percent() == percent
    assert measured.as_number() == number


def test_only_finite_numbers_are_read() -> None:
    figures = Figures({"a": {"b": 2}, "n": math.nan, "t": True, "s": "3", "list": [1, 2.5, None, 4]})
    assert figures.number("a.b") == 2.0
    assert [figures.find(place) for place in ("n", "t", "s", "a", "a.b.c", "none")] == [None] * 6
    assert figures.numbers("list") == [1.0, 2.5]
    with pytest.raises(MissingFigureError, match=r"a\.c"):
        figures.number("a.c")


def test_a_quantity_is_cut_to_what_is_possible_with_its_error() -> None:
    figures = Figures({"quantities": {"augmentation_share": {"value": 1.03, "error": 0.02}, "rank": {"value": 8}}})
    share, rank = figures.quantity("augmentation_share"), figures.quantity("rank")
    assert (share.value, share.low, share.high) == (1.0, 0.96, 1.0)
    assert (rank.value, rank.error, rank.exact) == (8.0, None, True)
