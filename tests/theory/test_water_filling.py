"""The exact solution against a general solver, the notes' figures, the limits, and the inverse questions."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from barlow.theory.water_filling import num_features_for, redundancy_weight_for, water_filling

SPECTRA = st.lists(st.one_of(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), st.floats(0.01, 1.0)), min_size=1, max_size=9)
"""Correlations with ties, zeros and ones."""


def objective(rho: Tensor, budget: Tensor, num_features: int, weight: float) -> float:
    """The formula of Theorem 2, as printed."""
    t = rho @ budget
    d = num_features
    return float(d - 2 * t + (1 - weight) * t**2 / d + weight * (rho * budget).square().sum())


def gradient(rho: Tensor, budget: Tensor, num_features: int, weight: float) -> Tensor:
    t = rho @ budget
    return -2 * rho + 2 * (1 - weight) * t / num_features * rho + 2 * weight * rho.square() * budget


@settings(max_examples=150, deadline=None)
@given(SPECTRA, st.integers(1, 12), st.floats(1e-4, 1.0))
def test_no_budget_can_be_moved_to_gain(rho: list[float], num_features: int, weight: float) -> None:
    found = water_filling(rho, num_features, weight)
    values = torch.tensor(rho, dtype=torch.float64)
    assert (found.budget >= 0).all()
    assert float(found.budget.sum()) == pytest.approx(num_features)
    assert found.loss == pytest.approx(objective(values, found.budget, num_features, weight), abs=1e-9)
    order = values.argsort(descending=True, stable=True)[:num_features]  # no more directions than outputs
    assert float(found.budget[order].sum()) == pytest.approx(num_features)
    slope = gradient(values, found.budget, num_features, weight)[order]
    used = found.budget[order] > 1e-9
    # The optimality conditions of a convex programme: equal slope where there is budget, no lower one elsewhere.
    level = float(slope[used].max())
    assert float(slope.min()) >= level - 1e-7
    assert found.num_active == int((used & (values[order] > 0)).sum())


@settings(max_examples=60, deadline=None)
@given(SPECTRA, st.integers(1, 12), st.floats(1e-4, 1.0), st.integers(0, 99))
def test_random_budgets_cost_no_less(rho: list[float], num_features: int, weight: float, seed: int) -> None:
    values = torch.tensor(rho, dtype=torch.float64).sort(descending=True).values[:num_features]
    shares = torch.rand(200, len(values), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) ** 4
    budgets = num_features * shares / shares.sum(dim=1, keepdim=True)
    least = min(objective(values, budget, num_features, weight) for budget in budgets)
    assert water_filling(rho, num_features, weight).loss <= least + 1e-9


def test_two_directions_have_the_checked_solution() -> None:
    found = water_filling([1.0, 0.5], 2, 1.0)
    assert found.loss == pytest.approx(0.2, abs=1e-12)
    assert found.budget.tolist() == pytest.approx([0.8, 1.2])
    assert (found.num_active, found.least_active) == (2, 0.5)
    assert found.waterline == pytest.approx(0.2)
    assert found.diagonal == pytest.approx(0.7)


def test_correlations_may_come_in_any_order() -> None:
    rho = torch.tensor([0.3, 0.9, 0.1, 0.7], dtype=torch.float64)
    turned = torch.tensor([2, 0, 3, 1])
    a, b = water_filling(rho, 3, 0.02), water_filling(rho[turned], 3, 0.02)
    torch.testing.assert_close(a.budget[turned], b.budget)
    assert (a.loss, a.waterline) == (b.loss, b.waterline)


@pytest.mark.parametrize("rho", [[0.8, 0.3, 0.8, 0.1], [0.8, 0.3], [1.0, 0.5, 0.2], [0.8] * 4])
@pytest.mark.parametrize("weight", [0.0, 1e-15, 1e-9])
def test_without_redundancy_weight_the_outputs_copy_the_most_invariant_direction(
    rho: list[float], weight: float
) -> None:
    found = water_filling(rho, 4, weight)
    assert found.loss == pytest.approx(4 * (1 - max(rho)) ** 2, abs=1e-7)
    best = [index for index, value in enumerate(rho) if value == max(rho)]
    assert found.budget[best].tolist() == pytest.approx([4 / len(best)] * len(best), abs=1e-6)


def test_perfect_invariance_of_fewer_directions_than_outputs_costs_the_welch_bound() -> None:
    found = water_filling([1.0] * 5, 16, 0.05)
    assert found.loss == pytest.approx(0.05 * (16**2 / 5 - 16), abs=1e-12)
    assert (found.num_active, found.waterline, found.diagonal) == (5, 0.0, 1.0)


def test_perfect_invariance_of_enough_directions_costs_nothing() -> None:
    assert water_filling([1.0] * 8 + [0.2], 8, 0.05).loss == pytest.approx(0.0, abs=1e-15)


def test_noise_takes_the_budget_that_would_only_make_copies() -> None:
    # With a direction of pure augmentation at hand all C_ii may sink: the raw problem of rank 1.
    found = water_filling([1.0, 0.0, 0.0], 4, 0.5)
    q = 1 / 4
    assert found.loss == pytest.approx(4 * 0.5 * (1 - q) / (q + 0.5 * (1 - q)))
    assert found.diagonal == pytest.approx(q / (q + 0.5 * (1 - q)))
    assert (found.num_active, found.waterline) == (1, 0.0)


def test_no_invariance_at_all_costs_every_output() -> None:
    found = water_filling([0.0, 0.0], 5, 0.3)
    assert (found.loss, found.num_active) == (5.0, 0)
    assert math.isnan(found.least_active)


def test_tiny_correlations_do_not_blow_up() -> None:
    for tiny in (1e-300, 1e-13, 1e-11, 1e-8):
        found = water_filling([0.9, 0.4, tiny], 6, 0.1)
        assert found.loss == pytest.approx(water_filling([0.9, 0.4, 0.0], 6, 0.1).loss, abs=1e-6)
        assert float(found.budget.sum()) == pytest.approx(6.0)


def test_a_long_spectrum_is_solved_to_full_precision() -> None:
    rho = torch.linspace(0.999, 0.001, 2048, dtype=torch.float64)
    found = water_filling(rho, 8192, 0.0051)
    slope = gradient(rho, found.budget, 8192, 0.0051)[found.budget > 0]
    assert float(slope.max() - slope.min()) < 1e-10


def test_equal_correlations_share_the_budget_equally() -> None:
    for weight in (1e-9, 0.01, 1.0):
        budget = water_filling([0.6] * 7 + [0.1] * 3, 8, weight).budget
        assert (budget[:7] - budget[0]).abs().max() < 1e-9
        assert (budget[7:] - budget[7]).abs().max() < 1e-9


@settings(max_examples=100, deadline=None)
@given(SPECTRA, st.integers(1, 12), st.data())
def test_above_the_threshold_so_many_directions_are_active_and_below_fewer(
    rho: list[float], num_features: int, data: st.DataObject
) -> None:
    wanted = data.draw(st.integers(1, min(num_features, len(rho))))
    threshold = redundancy_weight_for(rho, num_features, wanted)
    if threshold is None:
        assert water_filling(rho, num_features, 1.0).num_active < wanted
        return
    assert 0.0 <= threshold < 1.0
    above = threshold + 1e-6 * (1 - threshold)
    assert water_filling(rho, num_features, above).num_active >= wanted
    if threshold > 1e-6:
        assert water_filling(rho, num_features, threshold * (1 - 1e-6)).num_active < wanted


def test_the_threshold_asks_for_all_outputs_unless_told() -> None:
    rho = torch.linspace(0.9, 0.3, 8, dtype=torch.float64)
    assert redundancy_weight_for(rho, 6) == redundancy_weight_for(rho, 6, 6)
    assert redundancy_weight_for(rho, 20) == redundancy_weight_for(rho, 20, 8)
    assert redundancy_weight_for(rho, 6, 3) != redundancy_weight_for(rho, 6)
    assert redundancy_weight_for([0.9, 0.0], 2) is None


@settings(max_examples=100, deadline=None)
@given(SPECTRA, st.floats(1e-4, 1.0), st.integers(1, 12))
def test_the_largest_width_with_all_outputs_in_use_is_the_largest(
    rho: list[float], weight: float, at_most: int
) -> None:
    widths = range(1, min(len(rho), at_most) + 1)
    full = [width for width in widths if water_filling(rho, width, weight).num_active == width]
    assert num_features_for(rho, weight, at_most) == max(full, default=0)


def test_more_redundancy_weight_keeps_more_outputs_in_use() -> None:
    rho = np.linspace(0.95, 0.1, 32).tolist()
    counts = [water_filling(rho, 32, weight).num_active for weight in (0.001, 0.01, 0.1, 1.0)]
    waterlines = [water_filling(rho, 32, weight).waterline for weight in (0.001, 0.01, 0.1, 1.0)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]
    assert waterlines == sorted(waterlines, reverse=True)


@pytest.mark.parametrize(
    ("rho", "num_features", "weight", "message"),
    [
        ([0.5, 1.001], 2, 0.1, r"correlations: got 1\.001"),
        ([-0.02, 0.5], 2, 0.1, r"correlations: got -0\.02"),
        ([0.5, math.nan], 2, 0.1, "correlations: got nan"),
        ([], 2, 0.1, "correlations: got shape"),
        ([0.5], 0, 0.1, "num_features: got 0"),
        ([0.5], 2, 1.01, r"redundancy_weight: got 1\.01.*unequal diagonals"),
        ([0.5], 2, -0.1, "redundancy_weight: got -0.1"),
        ([0.5], 2, math.nan, "redundancy_weight: got nan"),
    ],
)
def test_impossible_arguments_are_named(rho: Sequence[float], num_features: int, weight: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        water_filling(rho, num_features, weight)


def test_impossible_questions_are_named() -> None:
    with pytest.raises(ValueError, match="num_active: got 3, wanted 1 to 2"):
        redundancy_weight_for([0.5, 0.4], 5, 3)
    with pytest.raises(ValueError, match="at_most: got 0"):
        num_features_for([0.5, 0.4], 0.1, 0)


def test_rounding_of_eigenvalues_is_no_error() -> None:
    assert water_filling([1.0 + 1e-12, -1e-12], 2, 0.1).loss == water_filling([1.0, 0.0], 2, 0.1).loss
