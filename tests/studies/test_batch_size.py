"""Batch size: bias, asymmetry and floors against the formulas, with numbers found before."""

from collections.abc import Sequence

import pytest

from barlow.studies.batch_size import STUDY
from barlow.studies.cells import Finished
from barlow.studies.study import Result
from tests.studies.tiny import outcomes, tiny, with_metrics

SMALL = tiny(
    STUDY,
    batches=[16, 32, 64, 256, 1024],
    draws=100,
    most_images=150,
    numbers={"epochs": 1, "width": 4, "projector": "16-16", "precision": "32-true"},
    cases=[[8, 24, 0.05]],
)
PREDICTED = {32: 9.43, 64: 8.39, 256: 7.63, 1024: 7.44}
MEASURED = {32: 9.55, 64: 8.57, 256: 7.63, 1024: 7.46}
"""Found before, apart from this code: by the two terms of C16, and over 300 batches."""


def named(cells: Sequence[Finished], name: str) -> Finished:
    return next(cell for cell in cells if cell.name.startswith(name))


def test_numbers_found_before_come_out(cells: Sequence[Finished]) -> None:
    metrics = named(cells, "gaussian").metrics
    assert metrics["complete"] == pytest.approx(7.377, abs=5e-4)
    for row in metrics["rows"]:
        if row["batch"] in PREDICTED:
            terms = metrics["complete"] + row["excess_off_diagonal"] + row["excess_diagonal"]
            assert terms == pytest.approx(PREDICTED[row["batch"]], abs=6e-3)
            mean, error = row["loss"]
            # 300 batches there and 100 here: the errors add up to 1.15 of ours.
            assert abs(mean - MEASURED[row["batch"]]) < 4 * 1.15 * error
            assert row["batch"] * row["off_diagonal"] == pytest.approx(row["batch"] / (row["batch"] - 1), rel=0.03)
            assert row["batch"] * row["skew"] == pytest.approx(1.342 * row["batch"] / (row["batch"] - 1), rel=0.04)


def test_the_correlation_shrinks_too_which_the_two_terms_leave_out(cells: Sequence[Finished]) -> None:
    row = next(row for row in named(cells, "gaussian").metrics["rows"] if row["batch"] == 32)
    assert row["excess_shrunk"] == pytest.approx(0.131, abs=0.002)


@pytest.mark.parametrize("name", ["gaussian", "trained"])
def test_without_variances_the_formula_is_exact_and_the_unbiased_loss_is_the_complete_one(
    cells: Sequence[Finished], name: str
) -> None:
    metrics = named(cells, name).metrics
    for row in metrics["rows"]:
        assert abs(row["raw"][0] - row["raw_expected"]) < 4.5 * row["raw"][1]
        assert abs(row["raw_removed"][0] - metrics["complete"]) < 4.5 * row["raw_removed"][1]
    small = metrics["rows"][0]
    assert small["raw"][0] - metrics["complete"] > 10 * small["raw"][1]  # where there was something to remove


def test_no_batch_is_below_its_floor_and_free_embeddings_reach_it(cells: Sequence[Finished]) -> None:
    (row,) = named(cells, "floors").metrics["rows"]
    assert row["found"] == pytest.approx(row["floor"], rel=1e-5)
    for cell in cells[1:]:
        assert all(row["least_loss"] > row["floor"] for row in cell.metrics["rows"])


def test_the_findings_follow(result: Result) -> None:
    assert outcomes(result, "P8")[0] == "held"
    assert outcomes(result, "Theorem 1") == ["held", "held"]
    assert outcomes(result, "C16")[0] in ("held", "undecided")
    assert outcomes(result, "Raw loss") == ["held", "held"]


def test_the_findings_can_turn(cells: Sequence[Finished]) -> None:
    floors, gaussian = cells[:2]
    rows = gaussian.metrics["rows"]

    def after(**metrics: object) -> list[str]:
        changed = [row | metrics for row in rows]
        return [one.outcome for one in STUDY.conclude([floors, with_metrics(gaussian, rows=changed)]).findings]

    assert after(loss=[20.0, 0.01])[0] == "failed"
    assert after()[1] == "undecided"  # nothing was trained
    assert after(raw=[20.0, 0.01])[2] == "failed"
    assert after(raw_removed=[20.0, 0.01])[3] == "failed"
    assert after(loss_removed=[20.0, 0.01])[4] == "failed"
    assert after(asymmetry=[1.0, 0.1])[5] == "failed"  # does not fall
    assert after(skew=1.0)[6] == "failed"
    assert after(least_loss=0.01)[8] == "failed"
    lower = with_metrics(floors, rows=[row | {"found": 0.9 * row["floor"]} for row in floors.metrics["rows"]])
    assert STUDY.conclude([lower, gaussian]).findings[7].outcome == "failed"
