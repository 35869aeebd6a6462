"""Duality: the identities hold to rounding, and what dropping the pairs n = m changes."""

from collections.abc import Sequence

import pytest

from barlow.studies.cells import Finished
from barlow.studies.duality import STUDY
from barlow.studies.study import Result
from tests.studies.tiny import outcomes, tiny, with_metrics

SMALL = tiny(STUDY, most_images=150, widths=[8, 24], batches=[8, 128], draws=10)


def test_both_sides_agree_in_value_and_gradient_for_more_and_for_fewer_samples_than_features(
    cells: Sequence[Finished],
) -> None:
    for cell in cells:
        assert {(row["batch"], row["width"]) for row in cell.metrics["rows"]} == {(8, 8), (8, 24), (128, 8), (128, 24)}
        for row in cell.metrics["rows"]:
            for name in ("one_view", "one_view_gradient", "two_views", "two_views_gradient", "removed"):
                assert row[name] < 1e-13


def test_for_independent_features_the_pairs_of_a_sample_with_itself_are_all_there_is(
    cells: Sequence[Finished],
) -> None:
    (gaussian,) = [cell for cell in cells if cell.arguments["kind"] == "gaussian"]
    for row in gaussian.metrics["rows"]:
        # Centring takes one of N samples: (N-1)/N.
        assert row["share_pearson"] == pytest.approx(1 - 1 / row["batch"], abs=0.12)
    (optimum,) = [cell for cell in cells if cell.arguments["kind"] == "optimum"]
    assert all(row["share_pearson"] < 0.3 for row in optimum.metrics["rows"] if row["batch"] == 128)


def test_in_large_batches_the_direction_stays_and_in_small_ones_it_does_not(cells: Sequence[Finished]) -> None:
    for cell in cells:
        for row in cell.metrics["rows"]:
            assert row["cosine_covariance"] < 1
            if row["batch"] == 128:
                assert row["cosine_pearson"] > 0.99
    worst = min(row["cosine_covariance"] for cell in cells for row in cell.metrics["rows"])
    assert worst < 0.97


def test_the_findings_follow_and_can_turn(result: Result, cells: Sequence[Finished]) -> None:
    assert outcomes(result, "Duality") == ["held", "failed"]
    first = cells[0]
    off = [row | {"two_views": 1e-3} for row in first.metrics["rows"]]
    same = [
        row | {name: 1.0 for name in row if name.startswith("cosine")} | {"share_pearson": 0.5}
        for row in first.metrics["rows"]
    ]

    def after(rows: list[dict[str, float]]) -> list[str]:
        return [finding.outcome for finding in STUDY.conclude([with_metrics(first, rows=rows)]).findings]

    assert after(off)[0] == "failed"
    assert after(same) == ["held", "held", "failed", "held", "held", "held"]
