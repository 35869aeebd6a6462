"""The figures of a matrix of every stage on every data set, by hand."""

import pytest

from barlow.applications.continual.matrix import Matrix, transfer

LOSSES = [[10.0, 30.0, 50.0], [14.0, 20.0, 48.0], [13.0, 26.0, 40.0]]


def test_figures_of_losses_are_those_of_their_definitions() -> None:
    found = transfer(LOSSES, [40.0, 36.0, 51.0], more_is_better=False)
    assert found.average == pytest.approx((13 + 26 + 40) / 3)
    assert found.backward == pytest.approx(((13 - 10) + (26 - 20)) / 2)
    assert found.forward == pytest.approx(((30 - 36) + (48 - 51)) / 2)
    assert found.forgetting == pytest.approx((3 + 6) / 2)


def test_forgetting_is_behind_the_best_stage_and_positive_for_accuracies_too() -> None:
    accuracies = [[0.6, 0.2], [0.5, 0.9]]
    assert transfer(accuracies, [0.1, 0.1], more_is_better=True).forgetting == pytest.approx(0.1)
    better_in_between: Matrix = [[0.6, 0.2, 0.1], [0.7, 0.5, 0.1], [0.65, 0.5, 0.9]]
    found = transfer(better_in_between, more_is_better=True)
    assert found.forgetting == pytest.approx(0.05 / 2)
    assert found.backward == pytest.approx(0.05 / 2)
    assert found.forward is None


def test_what_has_no_figure_takes_no_part() -> None:
    own: Matrix = [[10.0, None], [12.0, 20.0]]
    found = transfer(own, [None, None], more_is_better=False)
    assert (found.average, found.backward, found.forward, found.forgetting) == (16.0, 2.0, None, 2.0)
    assert transfer([[None, None], [None, 0.5]], more_is_better=True).backward is None
