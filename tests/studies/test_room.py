"""The study in a world with room: its arms and their budgets, and its predictions on metrics that are known."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from barlow.report.study_page import Finding, Table
from barlow.studies import room
from barlow.studies.cells import Metrics
from barlow.studies.images import EnumeratedImages
from barlow.studies.normalization import Prediction
from barlow.studies.room import ARMS, OPTIMAL, PREDICTIONS, STUDY
from barlow.studies.variants import Variant, small_backbone, train_variant
from tests.report.html_page import Page
from tests.studies.tiny import SETTINGS, carried_out, tiny

P2, P2_INVARIANCE, P3, P3_INVARIANCE, P3_UNCENTRED, P4, P4_INVARIANCE, P1, P5, BEST = PREDICTIONS


def test_every_arm_has_the_same_budget_and_a_seed_is_whole_before_the_next() -> None:
    cells = STUDY.cells(replace(SETTINGS, form="core", seeds=5))
    trained = [cell for cell in cells if not cell.name.startswith("last_norm")]
    assert len(trained) == (12 + 1) * 5  # twelve arms of the core form, and the optimal projector
    assert [cell.arguments["seed"] for cell in cells] == sorted(cell.arguments["seed"] for cell in cells)
    budgets = {str({k: v for k, v in c.arguments.items() if k in ("steps", "trial_steps", "rates", "draws")})
               for c in cells if c.name.rsplit("-seed", 1)[0] in ARMS}  # fmt: skip
    assert len(budgets) == 1
    assert min(room.RATES) == 3e-4
    assert STUDY.seeds == 5


def test_a_weight_is_chosen_as_the_rate_is_and_judged_by_one_weight(digits: EnumeratedImages) -> None:
    variant = Variant("pearson", "linear-32", "none", frozen=True)
    found = train_variant(digits, variant, seed=0, steps=15, rates=(1e-6, 0.01), weights=(0.01, 1e6))
    assert set(found.validation) == {"1e-06", "0.01", "0.01 with 0.01", "0.01 with 1000000.0"}
    best = min(found.validation, key=found.validation.__getitem__)
    assert (found.rate, found.weight) == (0.01, 0.01 if "with" in best else 0.02)
    assert found.validation["0.01 with 1000000.0"] > found.validation[best]


def test_the_optimal_projector_is_trained_and_judged_by_its_own_loss(digits: EnumeratedImages) -> None:
    variant = Variant("optimal", "none", "none", frozen=False)
    found = train_variant(digits, variant, seed=0, steps=15, rates=(0.003,), weights=(0.1, 0.4))
    assert all(0 < loss < 64 for loss in found.validation.values())  # 64: nothing of any feature is the image
    assert len(set(found.validation.values())) == 3
    assert not torch.equal(next(found.backbone.parameters()), next(small_backbone(1, 8, 0).parameters()))
    assert found.weight in (0.1, 0.2, 0.4)


def arm(limit: float, few: float, linear: float, share: float = 0.5) -> Metrics:
    start = {"backbone_limit": 9.8, "few_labels": 0.16, "linear": 0.37, "share_h": 0.94, "pearson_loss": 28.0}
    end = {"backbone_limit": limit, "few_labels": few, "linear": linear, "share_h": share, "pearson_loss": 5.0}
    return {"start": start, "end": end, "rate": 0.003}


def found(**changes: Sequence[Metrics]) -> dict[str, Sequence[Metrics]]:
    arms: dict[str, Any] = {
        "pearson-linear-trained": [arm(4.8, 0.45, 0.62)] * 2,
        "scalar-linear-trained": [arm(5.5, 0.43, 0.60)] * 2,
        "centred_cosine-linear-trained": [arm(5.6, 0.43, 0.60)] * 2,
        "sample_cosine-linear-trained": [arm(8.3, 0.17, 0.40, 0.85)] * 2,
        "covariance-linear-trained": [arm(7.4, 0.30, 0.50, 0.75)] * 2,
        "pearson-mlp-trained": [arm(5.2, 0.44, 0.61)] * 2,
        "covariance-mlp-trained": [arm(7.7, 0.25, 0.45)] * 2,
        "covariance-mlp_bn-trained": [arm(6.5, 0.33, 0.52)] * 2,
        "last_norm": [{"gradient_difference": 0.0}] * 2,
        OPTIMAL: [arm(3.4, 0.54, 0.69)] * 2,
    }
    return arms | changes


def finding(which: Prediction, **changes: Sequence[Metrics]) -> Finding:
    return which.finding(found(**changes))


def test_accuracy_and_invariance_are_judged_apart() -> None:
    assert [finding(one).outcome for one in (P2, P2_INVARIANCE, P3, P3_INVARIANCE)] == ["held"] * 4
    assert finding(P3_UNCENTRED).outcome == "failed"
    useless = {"covariance-linear-trained": [arm(7.4, 0.15, 0.36, 0.75)] * 2}
    assert (finding(P2, **useless).outcome, finding(P2_INVARIANCE, **useless).outcome) == ("failed", "held")
    far = {"scalar-linear-trained": [arm(5.5, 0.32, 0.52)] * 2}
    assert (finding(P3, **far).outcome, finding(P3_INVARIANCE, **far).outcome) == ("failed", "held")


def test_batch_norm_inside_has_to_lie_between() -> None:
    assert (finding(P4).outcome, finding(P4_INVARIANCE).outcome) == ("held", "held")
    worse = {"covariance-mlp_bn-trained": [arm(6.5, 0.20, 0.40)] * 2}
    assert (finding(P4, **worse).outcome, finding(P4_INVARIANCE, **worse).outcome) == ("failed", "held")


def test_the_optimal_projector_has_to_beat_both_projectors_by_both_accuracies() -> None:
    assert finding(BEST).outcome == "held"
    assert finding(BEST, **{"pearson-mlp-trained": [arm(5.2, 0.44, 0.75)] * 2}).outcome == "failed"
    assert finding(BEST, **{OPTIMAL: [arm(3.4, 0.54, 0.62), arm(3.4, 0.44, 0.62)]}).outcome == "undecided"


def test_a_short_study_of_digits_on_canvases_from_end_to_end(tmp_path: Path) -> None:
    small = {"most_train": 300, "most_test": 60, "steps": 4, "trial_steps": 2, "draws": 1, "rates": [0.003]}
    result = carried_out(tiny(STUDY, **small), tmp_path / "out")
    assert {finding.claim: finding.outcome for finding in result.conclusion.findings}["P5"] == "undecided"  # not run
    rates = next(part for part in result.conclusion.parts if part.title == "Learning rates and gradients")
    assert isinstance(rates, Table)
    assert rates.head[:3] == ["", "chosen, by seed", "weight, by seed"]
    assert [row[0] for row in rates.rows] == room.QUICK
    page = Page.of(result.page)
    assert not page.problems
    assert "Accuracy against invariance" in page.text
