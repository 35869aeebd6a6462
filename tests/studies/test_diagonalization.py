"""Diagonalisation: any backbone, a linear projector, C = I; and what gradient descent makes of it."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from barlow.studies.cells import Finished
from barlow.studies.diagonalization import STUDY
from barlow.studies.study import Result
from barlow.theory.floors import raw_floor
from tests.studies.tiny import carried_out, outcomes, tiny, with_metrics

SMALL = tiny(STUDY, most_images=150, num_views=4, widths=[8, 300], descended=[8], steps=[5, 20, 80])


def test_every_backbone_reaches_the_identity_within_the_rank_and_the_floor_above(cells: Sequence[Finished]) -> None:
    assert [cell.arguments["network"] for cell in cells] == ["resnet", "mlp", "pixels"]
    for cell in cells:
        narrow, wide = cell.metrics["closed_form"]
        assert narrow["loss"] < 1e-18
        assert wide["loss"] == pytest.approx(raw_floor(300, cell.metrics["rank"], 0.02), rel=1e-9)
        assert wide["loss"] > 1
        assert narrow["unseen"] > 1e-3  # made for other images


def test_the_sum_over_pairs_is_symmetric_and_two_pipelines_are_not(cells: Sequence[Finished]) -> None:
    for cell in cells:
        found = cell.metrics["symmetry"]
        assert found["asymmetry"] < 1e-14
        assert found["difference_of_forms"] < 1e-14
        assert found["skew_with_plain_view"] > 0.01


def test_descent_falls_from_step_to_step_and_conditioning_is_what_slows_it(cells: Sequence[Finished]) -> None:
    for cell in cells:
        complete, batches, white = cell.metrics["descents"]
        assert [one["kind"] for one in (complete, batches, white)] == ["complete", "batches", "whitened"]
        for one in (complete, batches, white):
            assert one["best"] == sorted(one["best"], reverse=True)
        assert white["best"][-1] < 1e-2 * complete["best"][-1]
        assert complete["best"][-1] < batches["best"][-1]
        assert cell.metrics["condition"] > 100


def test_the_findings_follow(result: Result) -> None:
    assert outcomes(result, "C5") == ["held"]
    assert outcomes(result, "C6")[:2] == ["held", "failed"]  # within the rank; for every width
    assert all(part.title in result.page.read_text(encoding="utf-8") for part in result.conclusion.parts)


def test_the_findings_can_turn(cells: Sequence[Finished]) -> None:
    first = cells[0]
    broken = [one | {"loss": 0.5, "floor": 0.0, "unseen": 0.0} for one in first.metrics["closed_form"]]
    slow = [one | {"best": [9.0, 9.0, 9.0]} for one in first.metrics["descents"]]
    fast = [one | {"best": [1.0, 0.1, 1e-9]} for one in first.metrics["descents"]]
    skew = first.metrics["symmetry"] | {"asymmetry": 0.1}

    def after(**metrics: object) -> list[str]:
        return [finding.outcome for finding in STUDY.conclude([with_metrics(first, **metrics)]).findings]

    assert after(symmetry=skew)[0] == "failed"
    assert after(closed_form=broken)[1:4] == ["failed", "undecided", "held"]
    assert after(rank=3)[4] == "failed"
    assert after(rank=first.metrics["num_features"])[4] == "held"
    assert after(descents=slow)[5:] == ["failed", "failed"]
    assert after(descents=fast)[5:] == ["held", "held"]


def test_a_killed_study_computes_only_the_cell_that_is_gone(folder: Path, result: Result) -> None:
    files = {path.name: path.stat().st_mtime_ns for path in (folder / "cells").glob("*.json")}
    before = (folder / "cells" / "pixels-seed0.json").read_bytes()
    (folder / "cells" / "pixels-seed0.json").unlink()
    again = carried_out(SMALL, folder)
    after = {path.name: path.stat().st_mtime_ns for path in (folder / "cells").glob("*.json")}
    assert [name for name in files if files[name] != after[name]] == ["pixels-seed0.json"]
    assert again.conclusion == result.conclusion
    assert b'"closed_form"' in before
