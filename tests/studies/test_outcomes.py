"""Outcomes: what differences over seeds and the parts of a statement come to."""

import pytest

from barlow.studies.outcomes import SeedMean, all_of, held_if, over_seeds


def test_one_seed_borrows_its_deviation_and_two_have_a_wide_one() -> None:
    assert over_seeds([1.0], 0.1).margin == pytest.approx(0.164)
    two = over_seeds([1.0, 1.2], 0.1)
    assert two.mean == pytest.approx(1.1)
    assert two.margin == pytest.approx(6.31 * 0.1)  # standard error |1.2 - 1.0| / 2
    assert over_seeds([1.0] * 20, 0.1).margin == 0
    with pytest.raises(ValueError, match="values: got none"):
        over_seeds([], 0.1)


def test_three_outcomes() -> None:
    assert [SeedMean(mean, 1.0, 3).positive for mean in (2.0, 0.5, -0.5, -2.0)] == [
        "held",
        "undecided",
        "undecided",
        "failed",
    ]
    assert all_of(["held", "undecided"]) == "undecided"
    assert all_of(["undecided", "failed"]) == "failed"
    assert all_of(["held"]) == "held"
    assert all_of([]) == "undecided"
    assert [held_if(condition) for condition in (True, False)] == ["held", "failed"]
