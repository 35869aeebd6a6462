"""A run that was in vain says so, and one that was not does not."""

import pytest

from barlow.report.learnt import nothing_learnt

GOOD = {
    "mean_correlation": 0.8,
    "mean_correlation_untrained": 0.5,
    "directions_above_chance": 40.0,
    "backbone_limit": 20.0,
    "backbone_limit_untrained": 60.0,
}


def test_a_run_that_became_more_invariant_has_learnt() -> None:
    assert nothing_learnt(GOOD) == ""
    assert nothing_learnt({}) == ""


def test_no_direction_beyond_chance_is_nothing_whatever_the_untrained_network_had() -> None:
    said = nothing_learnt(GOOD | {"directions_above_chance": 0.0})
    assert said.startswith("Nothing was learnt")
    assert "mean correlation 0.8, untrained 0.5" in said


@pytest.mark.parametrize(
    ("changed", "in_vain"),
    [
        ({"mean_correlation": 0.49, "backbone_limit": 61.0}, True),
        ({"mean_correlation": 0.49}, False),  # fewer directions agree, and those better: the limit fell
        ({"backbone_limit": 61.0}, False),
        ({"mean_correlation": 0.5, "backbone_limit": 60.0}, True),
    ],
)
def test_features_that_agree_no_better_than_before_are_said_to(changed: dict[str, float], in_vain: bool) -> None:
    assert nothing_learnt(GOOD | changed).startswith("Training has not helped") == in_vain


def test_methods_without_a_limit_are_judged_by_the_agreement_alone() -> None:
    figures = {name: value for name, value in GOOD.items() if "limit" not in name}
    assert nothing_learnt(figures) == ""
    assert nothing_learnt(figures | {"mean_correlation": 0.4})
