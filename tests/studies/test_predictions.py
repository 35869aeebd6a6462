"""Predictions: each is made to hold, to fail and to stay open by figures that are known."""

from collections.abc import Sequence
from typing import Any

import pytest

from barlow.studies.predictions import p1, p2, p3, p3_uncentred, p4, p5, p7, p8, predictions
from barlow.studies.spread import Spread, all_of, positive, spread

Figures = dict[str, Any]


def arm(
    limit: float = 2.5,
    *,
    few: float = 0.9,
    share: float = 0.4,
    loss: float = 2.0,
    frozen: bool = False,
    rate: float = 0.01,
) -> Figures:
    sizes = [32.0, 128.0, 512.0]
    asymmetry = {"sizes": sizes, "measured": [n**-0.5 for n in sizes], "expected": [n**-0.5 for n in sizes]}
    start = {"backbone_limit": 7.0, "few_labels": 0.8, "share_h": 0.8, "pearson_loss": 22.0, "asymmetry": asymmetry}
    end = {
        "backbone_limit": limit,
        "few_labels": 0.8 if frozen else few,
        "share_h": share,
        "pearson_loss": loss,
        "asymmetry": asymmetry,
        "budget": {"active": 5.0, "best_active": 5.0, "below_waterline": 0.02},
    }
    return {"start": start, "end": end, "rate": rate}


def solved(gradient: float = 1e-9, moved: float = 0.0) -> Figures:
    start, end = {"few_labels": 0.8}, {"few_labels": 0.8 + moved}
    found = {"largest_gradient": gradient, "raw_random": 1000.0, "pearson_solved": 5.0, "num_test": 600}
    return {"start": start, "end": end, **found}


def grid(**changes: Sequence[Figures]) -> dict[str, Sequence[Figures]]:
    """Arms under which every prediction holds, with some replaced."""
    cell = {"width": 32, "weight": 0.02, "loss": 6.76, "floor": 6.75, "active": 5, "predicted": 5, "waterline": 0.4}
    arms: dict[str, Sequence[Figures]] = {
        "solved": [solved()],
        "waterline": [{"found": [cell]}],
        "last_norm": [{"gradient_difference": 1e-6}],
        "pearson-linear-trained": [arm(2.5, few=0.95)],
        "scalar-linear-trained": [arm(2.9, share=0.45)],
        "centred_cosine-linear-trained": [arm(2.7, share=0.42)],
        "sample_cosine-linear-trained": [arm(2.8, share=0.42)],
        "covariance-linear-trained": [arm(4.8, few=0.875, share=0.7)],
        "covariance-mlp-trained": [arm(5.2)],
        "covariance-mlp_bn-trained": [arm(4.0)],
        "pearson-mlp-trained": [arm(2.8, loss=1.8)],
        "pearson-mlp-frozen": [arm(7.0, loss=4.0, frozen=True)],
    }
    return arms | changes


def test_all_hold_on_figures_like_those_of_the_notes() -> None:
    found = predictions(grid())
    assert [verdict.claim for verdict in found] == ["P1", "P2", "P3", "P3", "P4", "P5", "P7", "P8"]
    assert {verdict.outcome for verdict in found} == {"held"}


@pytest.mark.parametrize("judge", [p1, p2, p3, p3_uncentred, p4, p5, p7, p8])
def test_nothing_is_said_of_what_was_not_measured(judge: Any) -> None:
    verdict = judge({})
    assert verdict.outcome == "undecided"
    assert "not measured in this form" in verdict.evidence


def test_a_gradient_or_an_accuracy_that_moves_refutes_p1() -> None:
    assert p1(grid(solved=[solved(), solved(gradient=1.0)])).outcome == "failed"
    assert p1(grid(solved=[solved(moved=0.05)])).outcome == "failed"
    assert p1(grid(solved=[solved(moved=0.01)])).outcome == "held"


def test_p2_needs_raw_between_untrained_and_pearson() -> None:
    assert p2(grid(**{"covariance-linear-trained": [arm(7.5, few=0.875)]})).outcome == "failed"
    assert p2(grid(**{"covariance-linear-trained": [arm(2.0, few=0.875)]})).outcome == "failed"
    assert p2(grid(**{"covariance-linear-trained": [arm(4.8, few=0.945)]})).outcome == "undecided"
    both = p2(grid(**{"raw-linear-trained": [arm(8.0, few=0.875)]}))
    assert both.outcome == "failed"
    assert "raw: L*_P(h) fell by -1" in both.evidence


def test_p3_fails_where_a_scalar_ends_beside_raw() -> None:
    assert p3(grid(**{"scalar-linear-trained": [arm(4.7, share=0.45)]})).outcome == "failed"
    assert p3(grid(**{"centred_cosine-linear-trained": [arm(2.7, share=0.69)]})).outcome == "failed"
    assert p3_uncentred(grid(**{"sample_cosine-linear-trained": [arm(4.8, share=0.7)]})).outcome == "failed"
    assert p3(grid(**{"scalar-linear-trained": [arm(3.6, share=0.45)]})).outcome == "undecided"


def test_p3_stays_open_where_seeds_disagree() -> None:
    arms = grid()
    seeds = {name: [*figures, *figures] for name, figures in arms.items()}
    assert p3(seeds).outcome == "held"
    seeds["scalar-linear-trained"] = [arm(2.6, share=0.45), arm(4.5, share=0.45)]
    assert p3(seeds).outcome == "undecided"


def test_p4_needs_the_identity_and_the_order() -> None:
    assert p4(grid(last_norm=[{"gradient_difference": 0.1}])).outcome == "failed"
    assert p4(grid(**{"covariance-mlp_bn-trained": [arm(5.9)]})).outcome == "failed"
    assert p4(grid(**{"covariance-mlp_bn-trained": [arm(5.15)]})).outcome == "undecided"


def test_p5_is_about_more_than_half() -> None:
    found = p5(grid())
    assert "89% of it" in found.evidence
    assert p5(grid(**{"pearson-mlp-frozen": [arm(7.0, loss=16.0, frozen=True)]})).outcome == "failed"
    assert p5(grid(**{"pearson-mlp-frozen": [arm(7.0, loss=11.5, frozen=True)]})).outcome == "undecided"
    assert p5(grid(**{"pearson-mlp-frozen": [arm(7.0, loss=4.0, few=0.9)]})).outcome == "failed"


@pytest.mark.parametrize(("active", "outcome"), [(5, "held"), (6, "held"), (12, "failed")])
def test_p7_counts_directions(active: int, outcome: str) -> None:
    cell = {"width": 32, "weight": 0.02, "loss": 6.8, "floor": 6.75, "active": active, "predicted": 5}
    assert p7(grid(waterline=[{"found": [cell]}])).outcome == outcome


@pytest.mark.parametrize(("power", "level"), [(-0.4, 1.0), (-0.5, 1.3)])
def test_p8_needs_slope_and_level(power: float, level: float) -> None:
    wrong = arm()
    sizes = wrong["end"]["asymmetry"]["sizes"]
    wrong["end"] = wrong["end"] | {
        "asymmetry": {
            "sizes": sizes,
            "measured": [level * n**power for n in sizes],
            "expected": [n**-0.5 for n in sizes],
        }
    }
    assert p8(grid(**{"pearson-linear-trained": [wrong]})).outcome == "failed"


def test_p8_says_nothing_from_one_size_of_batch() -> None:
    few = arm()
    few["start"]["asymmetry"] = {"sizes": [32.0], "measured": [1.0], "expected": [1.0]}
    assert p8(grid(**{"pearson-linear-trained": [few]})).outcome == "undecided"


def test_an_arm_that_diverged_decides_nothing() -> None:
    verdict = p3(grid(**{"scalar-linear-trained": [arm(rate=float("nan"))]}))
    assert verdict.outcome == "undecided"
    assert "no learning rate worked for scalar-linear-trained" in verdict.evidence


def test_one_seed_borrows_its_spread_and_two_have_a_wide_one() -> None:
    assert spread([1.0], 0.1).margin == pytest.approx(0.164)
    two = spread([1.0, 1.2], 0.1)
    assert two.mean == pytest.approx(1.1)
    assert two.margin == pytest.approx(6.31 * 0.1)  # standard error |1.2 - 1.0| / 2
    assert spread([1.0] * 20, 0.1).margin == 0
    with pytest.raises(ValueError, match="values: got none"):
        spread([], 0.1)


def test_three_outcomes() -> None:
    assert [positive(Spread(mean, 1.0, 3)) for mean in (2.0, 0.5, -0.5, -2.0)] == [
        "held",
        "undecided",
        "undecided",
        "failed",
    ]
    assert all_of(["held", "undecided"]) == "undecided"
    assert all_of(["undecided", "failed"]) == "failed"
    assert all_of(["held"]) == "held"
    assert all_of([]) == "undecided"


def test_evidence_has_numbers_and_no_gaps() -> None:
    for verdict in predictions(grid()):
        assert any(letter.isdigit() for letter in verdict.evidence), verdict.claim
        assert "nan" not in verdict.evidence, verdict.claim
