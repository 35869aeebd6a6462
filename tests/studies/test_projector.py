"""The study of the projector: its grid, its findings on known metrics, and one small cell from end to end."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from barlow.methods.heads import projector_width
from barlow.studies import projector
from barlow.studies.cells import Cell, Finished, Metrics
from barlow.studies.projector import (
    STUDY,
    better_guide,
    by_projector,
    larger_share,
    less_invariance,
    projector_share,
    rank_correlation,
    z_and_h,
)
from barlow.studies.study import Settings, carry_out
from tests.report.html_page import Page

QUICK = Settings(data="digits", data_root="", seeds=1, form="quick")


def metrics(
    size: int, *, frozen: float = 5.0, limit: float = 2.5, share_z: float = 0.1, few: float = 0.9, loss: float = 2.0
) -> Metrics:
    start = {"pearson_loss": 22.0, "backbone_limit": 7.0, "share_z": 0.8, "share_h": 0.8, "few_labels": 0.8}
    start |= {"mean_rho": 0.09, "linear": 0.9, "knn": 0.9}
    end = start | {"pearson_loss": loss, "backbone_limit": limit, "share_z": share_z, "share_h": 0.4, "few_labels": few}
    return {
        "num_test": 600,
        "num_parameters": size,
        "frozen": {"start": start, "end": start | {"pearson_loss": frozen}, "rate": 0.01},
        "trained": {"start": start, "end": end, "rate": 0.003},
    }


def found(*seeds: Sequence[Metrics]) -> dict[str, Sequence[Metrics]]:
    return {f"{10 * place}-32": list(each) for place, each in enumerate(seeds)}


def test_the_grid_is_one_linear_and_three_depths_of_three_widths() -> None:
    assert len(projector.GRID) == len(set(projector.GRID)) == 1 + 3 * 3
    assert {projector_width(widths, 64) for widths in projector.GRID} == {32}
    assert set(projector.QUICK) <= set(projector.GRID)
    assert [len(STUDY.cells(replace(QUICK, form=form, seeds=2))) for form in ("quick", "core")] == [6, 20]


def test_the_share_is_that_of_the_fall() -> None:
    assert projector_share(metrics(1, frozen=12.0)) == pytest.approx(0.5)
    assert projector_share(metrics(1, frozen=22.0)) == 0
    assert math.isnan(projector_share(metrics(1, loss=22.0)))


@pytest.mark.parametrize(("small", "large", "outcome"), [(8, 4, "held"), (4, 8, "failed"), (5, 4.9, "undecided")])
def test_a_larger_projector_has_to_have_the_larger_share(small: float, large: float, outcome: str) -> None:
    finding = larger_share(found([metrics(1, frozen=float(small))], [metrics(2, frozen=float(large))]))
    assert finding.outcome == outcome


@pytest.mark.parametrize(("small", "large", "outcome"), [(2, 3, "held"), (3, 2, "failed"), (2.5, 2.6, "undecided")])
def test_the_backbone_has_to_gain_less(small: float, large: float, outcome: str) -> None:
    assert less_invariance(found([metrics(1, limit=float(small))], [metrics(2, limit=float(large))])).outcome == outcome


@pytest.mark.parametrize(("share_z", "outcome"), [(0.05, "failed"), (0.35, "held"), (0.2, "undecided")])
def test_the_backbone_is_as_invariant_as_z_or_not(share_z: float, outcome: str) -> None:
    assert z_and_h(found([metrics(1)], [metrics(2, share_z=share_z)])).outcome == outcome


def test_a_guide_is_judged_by_rank_and_not_on_few_projectors() -> None:
    ranks = range(6)
    loss = [2.0, 1.0, 3.0, 2.5, 1.5, 1.2]
    good = [[metrics(k, limit=3 - 0.2 * k, few=0.8 + 0.02 * k, loss=loss[k])] for k in ranks]
    assert better_guide(found(*good)).outcome == "held"
    assert better_guide(found(*good[:4])).outcome == "undecided"
    bad = [[metrics(k, limit=loss[k], few=0.8 + 0.02 * k, loss=3 - 0.2 * k)] for k in ranks]
    assert better_guide(found(*bad)).outcome == "failed"


def test_rank_correlation() -> None:
    assert rank_correlation([1.0, 2.0, 30.0], [5.0, 6.0, 7.0]) == pytest.approx(1)
    assert rank_correlation([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == pytest.approx(-1)
    assert rank_correlation([1.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0]) == pytest.approx(
        0.9486833
    )  # scipy.stats.spearmanr
    assert math.isnan(rank_correlation([1.0, 1.0], [1.0, 2.0]))


def test_projectors_come_by_size_and_seeds_in_order() -> None:
    cells = [
        Finished(f"{widths}-seed{seed}", {"widths": widths, "seed": seed}, metrics(size, few=float(seed)), 1.0)
        for seed, (widths, size) in (
            (1, ("512-32", 9)),
            (0, ("512-32", 9)),
            (0, ("linear-32", 2)),
            (1, ("linear-32", 2)),
        )
    ]
    ordered = by_projector(cells)
    assert list(ordered) == ["linear-32", "512-32"]
    assert [one["trained"]["end"]["few_labels"] for one in ordered["512-32"]] == [0, 1]
    assert len(STUDY.conclude(cells).findings) == 4


def test_a_shrunk_study_ends_in_a_page(tmp_path: Path) -> None:
    """Marked small: 3 steps on 100 images, whose findings mean nothing. It is the way through that is tested."""

    def shrunk(settings: Settings) -> list[Cell]:
        small = {"most_train": 120, "most_test": 60, "steps": 3, "draws": 1, "rates": [0.01]}
        cells = [cell for cell in STUDY.cells(settings) if cell.arguments["widths"] in ("linear-32", "128-32")]
        return [replace(cell, arguments={**cell.arguments, **small}) for cell in cells]

    result = carry_out("projector", replace(STUDY, cells=shrunk), QUICK, tmp_path / "out", jobs=1, quiet=True)
    page = Page.of(result.page)
    assert not page.problems
    assert result.conclusion.findings[0].evidence in page.text
