"""Projectors: their loss on B and T, by the plain formula, against closed forms and direct optimisation."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from barlow.theory.floors import pearson_floor, raw_floor
from barlow.theory.projectors import LinearProjector, pearson_projector, raw_projector, whitened_projector
from tests.theory.test_floors import best_unit_rows

CHECKED = [0.95, 0.8, 0.6, 0.4, 0.2, 0.1]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def covariances(rho: list[float] | Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """B and T with these intraclass correlations, in a random basis of moderate condition."""
    correlations = torch.as_tensor(rho, dtype=torch.float64)
    size = len(correlations)
    mixing = torch.linalg.qr(normal(size, size, seed=seed)).Q * torch.linspace(0.5, 3.0, size, dtype=torch.float64)
    mixing = mixing @ torch.linalg.qr(normal(size, size, seed=seed + 1)).Q
    return mixing @ torch.diag(correlations) @ mixing.T, mixing @ mixing.T


def spread(size: int, seed: int = 0) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def loss_of(c: Tensor, weight: float) -> float:
    off = c - torch.diag(c.diagonal())
    return float((1 - c.diagonal()).square().sum() + weight * off.square().sum())


def pearson(projector: LinearProjector, between: Tensor, total: Tensor) -> Tensor:
    p = projector.weight
    scale = (p @ total @ p.T).diagonal().rsqrt()
    return scale[:, None] * (p @ between @ p.T) * scale


# Raw


@pytest.mark.parametrize("num_features", [1, 4, 12])
def test_the_raw_complete_matrix_becomes_the_identity_for_any_backbone(num_features: int) -> None:
    h = torch.tanh(normal(400, 12) @ normal(12, 12, seed=1))
    second_moment = h.T @ h / len(h)
    found = raw_projector(second_moment, num_features, 0.005)
    c = found.weight @ second_moment @ found.weight.T
    torch.testing.assert_close(c, torch.eye(num_features, dtype=torch.float64), rtol=0, atol=1e-10)
    assert found.loss < 1e-20
    assert (found.floor, found.rank, found.num_active) == (0.0, 12, num_features)


@pytest.mark.parametrize(
    ("num_features", "rank", "weight"), [(32, 8, 0.005), (32, 8, 0.05), (20, 7, 1.0), (9, 8, 0.1), (7, 1, 0.3)]
)
def test_above_the_rank_the_raw_loss_is_its_floor(num_features: int, rank: int, weight: float) -> None:
    factor = normal(11, rank)
    second_moment = factor @ factor.T
    found = raw_projector(second_moment, num_features, weight)
    c = found.weight @ second_moment @ found.weight.T
    assert loss_of(c, weight) == pytest.approx(raw_floor(num_features, rank, weight), abs=1e-10)
    assert found.loss == pytest.approx(found.floor, abs=1e-10)
    assert (found.rank, found.num_active) == (rank, rank)
    assert float(c.diagonal().max() - c.diagonal().min()) < 1e-10


def test_negative_directions_of_an_estimate_are_left_out() -> None:
    basis = torch.linalg.qr(normal(5, 5)).Q
    estimate = basis @ torch.diag(torch.tensor([2.0, 1.0, 0.5, -0.1, -0.3]).double()) @ basis.T
    found = raw_projector(estimate, 3, 0.1)
    assert found.rank == 3
    identity = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(found.weight @ estimate @ found.weight.T, identity, rtol=0, atol=1e-12)


# Whitened


def test_the_whitened_optimum_has_the_checked_value() -> None:
    between, total = covariances(CHECKED)
    assert whitened_projector(between, total, 4, 0.05).loss == pytest.approx(0.39922, abs=5e-6)
    assert whitened_projector(between, total, 4, 0.0051).loss == pytest.approx(0.3915, abs=5e-5)
    assert whitened_projector(between, total, 4, 0.3).loss == pytest.approx(0.4422, abs=5e-5)
    assert whitened_projector(between, total, 4, 1.0).loss == pytest.approx(0.5625, abs=5e-5)


@pytest.mark.parametrize("weight", [0.0, 0.05, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("num_features", [1, 3, 4, 6])
def test_whitened_outputs_are_uncorrelated_and_reach_the_formula(num_features: int, weight: float) -> None:
    between, total = covariances(CHECKED)
    found = whitened_projector(between, total, num_features, weight)
    p = found.weight
    identity = torch.eye(num_features, dtype=torch.float64)
    torch.testing.assert_close(p @ total @ p.T, identity, rtol=0, atol=1e-10)
    assert loss_of(p @ between @ p.T, weight) == pytest.approx(found.floor, abs=1e-10)
    assert found.loss == pytest.approx(found.floor, abs=1e-10)


@pytest.mark.parametrize("weight", [0.05, 0.5, 2.0])
def test_no_descent_over_whitened_projectors_gets_below(weight: float) -> None:
    rho = torch.tensor(CHECKED, dtype=torch.float64)
    best = float("inf")
    for seed in range(5):
        v = normal(6, 4, seed=seed).requires_grad_()
        optimizer = torch.optim.LBFGS([v], max_iter=1000, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

        def closure(v: Tensor = v, optimizer: torch.optim.LBFGS = optimizer) -> Tensor:
            optimizer.zero_grad()
            rows = torch.linalg.qr(v).Q.T
            c = (rows * rho) @ rows.T
            squares = c.diagonal().square().sum()
            loss: Tensor = (1 - c.diagonal()).square().sum() + weight * (c.square().sum() - squares)
            torch.autograd.backward(loss)
            return loss

        optimizer.step(closure)
        best = min(best, closure().item())
    assert best == pytest.approx(whitened_projector(*covariances(CHECKED), 4, weight).loss, abs=1e-5)


# Pearson


@pytest.mark.parametrize("weight", [0.0051, 0.05, 0.3, 1.0])
def test_the_pearson_optimum_has_the_checked_value(weight: float) -> None:
    checked = {0.0051: 0.0575, 0.05: 0.1999, 0.3: 0.4182, 1.0: 0.5212}
    assert pearson_projector(*covariances(CHECKED), 4, weight).loss == pytest.approx(checked[weight], abs=5e-5)


@pytest.mark.parametrize("num_features", [1, 2, 4, 8, 16, 5, 6, 7, 12, 31])
@pytest.mark.parametrize("weight", [0.005, 0.05, 1.0])
def test_the_loss_on_the_covariances_is_the_one_returned_and_the_floor(num_features: int, weight: float) -> None:
    rho = spread(24, seed=3)
    between, total = covariances(rho)
    found = pearson_projector(between, total, num_features, weight)
    assert loss_of(pearson(found, between, total), weight) == pytest.approx(found.loss, abs=1e-10)
    assert found.floor == pytest.approx(pearson_floor(rho, num_features, weight), abs=1e-10)
    possible = found.num_active != 2 or num_features % 2 == 0  # two directions and odd D: no equal diagonals
    assert found.loss == pytest.approx(found.floor, abs=1e-9 if possible else 0.01)
    variance = (found.weight @ total @ found.weight.T).diagonal()
    torch.testing.assert_close(variance, torch.ones_like(variance), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("num_features", "size"), [(2, 2), (4, 16), (8, 6), (3, 6), (3, 3), (5, 2), (5, 10), (7, 3)])
@pytest.mark.parametrize("weight", [0.05, 0.4])
def test_direct_optimisation_finds_no_better_projector(num_features: int, size: int, weight: float) -> None:
    rho = spread(size, seed=num_features)
    found = pearson_projector(*covariances(rho), num_features, weight)
    best = best_unit_rows(rho, num_features, weight)
    assert found.loss == pytest.approx(best, abs=1e-5)
    assert found.floor <= best + 1e-9


def test_where_the_floor_is_out_of_reach_both_losses_are_told() -> None:
    found = pearson_projector(*covariances([0.9, 0.6]), 3, 0.3)
    assert found.num_active == 2
    assert found.floor + 1e-4 < found.loss < found.floor + 0.05


def test_over_all_pairs_of_views_the_losses_are_those_returned() -> None:
    # 40 images, 3 views each, through an untrained layer: every ordered pair of views, also of a view with itself.
    images, shifts = normal(40, 1, 6), 0.5 * normal(1, 3, 6, seed=1)
    h = torch.tanh((images + shifts) @ normal(6, 6, seed=2))
    h = h - h.mean(dim=(0, 1))
    means = h.mean(dim=1)
    between, total = means.T @ means / 40, torch.einsum("nkd,nke->de", h, h) / 120

    def complete(p: Tensor) -> Tensor:
        z = h @ p.T
        return sum((z[:, a].T @ z[:, b] for a in range(3) for b in range(3)), torch.zeros(4, 4).double()) / (9 * 40)

    identity = torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(complete(raw_projector(between, 4, 0.1).weight), identity, rtol=0, atol=1e-10)
    found = pearson_projector(between, total, 4, 0.1)
    deviation = (h @ found.weight.T).square().mean(dim=(0, 1)).sqrt()
    c = complete(found.weight) / deviation / deviation[:, None]
    assert loss_of(c, 0.1) == pytest.approx(found.floor, abs=1e-10)


def test_noise_directions_take_what_would_only_make_copies() -> None:
    between, total = covariances([1.0, 0.0, 0.0])
    found = pearson_projector(between, total, 4, 0.5)
    assert found.num_active == 1
    assert loss_of(pearson(found, between, total), 0.5) == pytest.approx(raw_floor(4, 1, 0.5), abs=1e-10)


def test_more_outputs_than_directions_share_them() -> None:
    found = pearson_projector(*covariances([0.9, 0.7, 0.5]), 8, 0.05)
    assert found.weight.shape == (8, 3)
    assert (found.rank, found.num_active) == (3, 3)
    assert found.loss == pytest.approx(pearson_floor([0.9, 0.7, 0.5], 8, 0.05), abs=1e-10)


def test_directions_below_the_waterline_are_not_used() -> None:
    rho = [0.95, 0.9, 0.3, 0.05]
    between, total = covariances(rho)
    found = pearson_projector(between, total, 4, 0.05)
    assert found.waterline > 0.05
    assert found.num_active == sum(value > found.waterline for value in rho)
    assert int(torch.linalg.matrix_rank(found.weight)) == found.num_active


def test_dead_and_repeated_features_change_nothing_but_the_rank() -> None:
    between, total = covariances(CHECKED)
    copy = torch.eye(6, dtype=torch.float64)[[0, 1, 2, 3, 4, 5, 2]]  # feature 2 twice
    wide = torch.cat([copy, torch.zeros(1, 6, dtype=torch.float64)])  # and a dead one
    found = pearson_projector(wide @ between @ wide.T, wide @ total @ wide.T, 4, 0.05)
    assert found.weight.shape == (4, 8)
    assert found.rank == 6
    assert found.loss == pytest.approx(pearson_projector(between, total, 4, 0.05).loss, abs=1e-9)
    white = whitened_projector(wide @ between @ wide.T, wide @ total @ wide.T, 6, 0.05)
    assert white.rank == 6


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 100.0), st.sampled_from([2, 4, 6, 8]))
def test_no_invertible_map_of_the_features_changes_what_a_projector_reaches(
    seed: int, scale: float, num_features: int
) -> None:
    between, total = covariances(spread(6, seed=seed), seed=seed)
    mixing = scale * torch.linalg.qr(normal(6, 6, seed=seed + 2)).Q * (0.5 + spread(6, seed=seed + 3))
    mixed = mixing @ between @ mixing.T, mixing @ total @ mixing.T
    for projector in (pearson_projector, whitened_projector):
        if projector is whitened_projector and num_features > 6:
            continue
        plain, other = projector(between, total, num_features, 0.1), projector(*mixed, num_features, 0.1)
        assert other.loss == pytest.approx(plain.loss, abs=1e-8)
        assert other.num_active == plain.num_active
    assert raw_projector(mixed[0], num_features, 0.1).loss == pytest.approx(raw_floor(num_features, 6, 0.1), abs=1e-8)


def test_a_noisy_estimate_of_the_between_covariance_is_taken_as_it_is() -> None:
    between, total = covariances([0.8, 0.5, -0.1, -0.2])
    found = pearson_projector(between, total, 2, 0.1)
    assert found.floor == pytest.approx(pearson_floor([0.8, 0.5, 0.0, 0.0], 2, 0.1), abs=1e-10)
    assert loss_of(pearson(found, between, total), 0.1) == pytest.approx(found.loss, abs=1e-10)


def test_single_precision_covariances_are_enough() -> None:
    between, total = covariances(CHECKED)
    found = pearson_projector(between.float(), total.float(), 4, 0.05)
    assert found.weight.dtype == torch.float64
    assert found.loss == pytest.approx(0.1999, abs=1e-4)


# Errors


@pytest.mark.usefixtures("as_users_call_it")
def test_impossible_arguments_are_named() -> None:
    between, total = covariances(CHECKED)
    skewed = between + 0.1 * torch.triu(torch.ones(6, 6, dtype=torch.float64), 1)
    with pytest.raises(ValueError, match="second_moment: got asymmetry"):
        raw_projector(skewed, 2, 0.1)
    with pytest.raises(ValueError, match="between: got asymmetry"):
        pearson_projector(skewed, total, 2, 0.1)
    with pytest.raises(ValueError, match="second_moment: got no direction"):
        raw_projector(torch.zeros(3, 3), 2, 0.1)
    with pytest.raises(ValueError, match="total: got no direction"):
        pearson_projector(torch.zeros(3, 3), torch.zeros(3, 3), 2, 0.1)
    with pytest.raises(ValueError, match="num_features: got 7, wanted 1 to 6"):
        whitened_projector(between, total, 7, 0.1)
    with pytest.raises(ValueError, match="redundancy_weight: got -1"):
        whitened_projector(between, total, 2, -1.0)
    with pytest.raises(ValueError, match="redundancy_weight: got 2"):
        pearson_projector(between, total, 2, 2.0)
    with pytest.raises(ValueError, match="second_moment: got shape"):
        raw_projector(torch.zeros(3, 2), 2, 0.1)
    with pytest.raises(ValueError, match="total: has values that are not finite"):
        pearson_projector(between, total * float("nan"), 2, 0.1)
