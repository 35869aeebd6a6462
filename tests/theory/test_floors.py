"""The floors against direct optimisation and the figures of the paper's notes."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from barlow.theory.floors import batch_floor, pearson_floor, raw_floor, welch_bound


def descended(loss_of: Callable[[Tensor], Tensor], *shape: int, starts: int = 4) -> float:
    """Least loss of a matrix of this shape found by L-BFGS from several starts."""
    best = float("inf")
    for seed in range(starts):
        p = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        p = (p * 0.5).requires_grad_()
        optimizer = torch.optim.LBFGS([p], max_iter=2000, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

        def closure(p: Tensor = p, optimizer: torch.optim.LBFGS = optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = loss_of(p)
            torch.autograd.backward(loss)
            return loss

        optimizer.step(closure)
        best = min(best, closure().item())
    return best


def loss(c: Tensor, weight: float) -> Tensor:
    """L(C) without cancellation: a difference of two sums of squares would leave 1e-15 of C = I."""
    diagonal = c.diagonal()
    return (1 - diagonal).square().sum() + weight * (c - diagonal.diag()).square().sum()


def best_loss(num_features: int, rank: int, weight: float) -> float:
    """Least L(P P^T) over D x r matrices P."""
    return descended(lambda p: loss(p @ p.T, weight), num_features, rank)


def best_unit_rows(rho: Tensor, num_features: int, weight: float, starts: int = 6) -> float:
    """Least L(V diag(rho) V^T) over V with unit rows."""

    def unit_loss(v: Tensor) -> Tensor:
        unit = v / v.norm(dim=1, keepdim=True)
        return loss((unit * rho) @ unit.T, weight)

    return descended(unit_loss, num_features, len(rho), starts=starts)


def spectrum(size: int, seed: int = 0) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("d", "r", "weight"), [(32, 8, 0.005), (32, 8, 0.05), (20, 7, 1.0), (6, 6, 0.1), (5, 9, 0.1)])
def test_raw_floor_is_what_direct_optimisation_reaches(d: int, r: int, weight: float) -> None:
    assert abs(best_loss(d, r, weight) - raw_floor(d, r, weight)) < 1e-5


def test_raw_floor_has_the_checked_values() -> None:
    assert raw_floor(32, 8, 0.005) == pytest.approx(0.472906, abs=1e-6)
    assert raw_floor(32, 8, 0.05) == pytest.approx(4.173913, abs=1e-6)
    assert raw_floor(20, 7, 1.0) == pytest.approx(13.0, abs=1e-9)
    assert raw_floor(8192, 2048, 0.0051) == pytest.approx(123.4, abs=0.1)


@pytest.mark.parametrize(
    ("n", "d", "floor"),
    [(32, 8192, 4695), (64, 8192, 3251), (128, 8192, 2004), (256, 8192, 1122), (512, 8192, 583), (2048, 8192, 123.5),
     (64, 2048, 284), (128, 2048, 147), (256, 2048, 70.9), (512, 2048, 30.9), (256, 512, 2.6)],
)  # fmt: skip
def test_batch_floor_has_the_published_values(n: int, d: int, floor: float) -> None:
    assert batch_floor(n, d, 0.0051) == pytest.approx(floor, abs=0.5 if floor > 100 else 0.05)


@pytest.mark.parametrize(("n", "d", "weight"), [(6, 12, 0.05), (5, 16, 0.005), (3, 4, 1.0)])
def test_batch_floor_is_what_the_best_batch_of_standardised_embeddings_reaches(n: int, d: int, weight: float) -> None:
    def batch_loss(z: Tensor) -> Tensor:
        a, b = ((view - view.mean(dim=0)) / view.std(dim=0, correction=0) for view in z.view(2, n, d))
        return loss(a.T @ b / n, weight)

    assert abs(descended(batch_loss, 2 * n, d) - batch_floor(n, d, weight)) < 1e-5


def test_batch_floor_has_the_value_of_the_notes_to_ten_digits() -> None:
    assert batch_floor(6, 12, 0.05) == pytest.approx(0.7850467290, abs=5e-11)


def test_there_is_no_floor_when_the_batch_is_large_enough() -> None:
    assert batch_floor(129, 128, 0.005) == 0.0
    assert batch_floor(128, 128, 0.005) > 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 8, 0.1), "num_samples: got 1"),
        ((8, 0, 0.1), "num_features: got 0"),
        ((8, 8, 1.5), "redundancy_weight: got 1.5"),
    ],
)
def test_impossible_arguments_are_named(arguments: tuple[int, int, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        batch_floor(*arguments)


@pytest.mark.parametrize(("d", "r", "weight"), [(8, 4, 0.05), (9, 4, 0.005), (5, 3, 1.0), (4, 4, 0.1), (3, 5, 0.1)])
def test_the_welch_bound_is_what_outputs_of_perfect_invariance_reach(d: int, r: int, weight: float) -> None:
    best = best_unit_rows(torch.ones(r, dtype=torch.float64), d, weight, starts=2)
    assert best == pytest.approx(welch_bound(d, r, weight), abs=1e-5)


def test_the_welch_bound_has_the_checked_values() -> None:
    assert welch_bound(8192, 255, 0.0051) == pytest.approx(1300, abs=0.5)
    assert welch_bound(8192, 2047, 0.0051) == pytest.approx(125.4, abs=0.05)
    assert welch_bound(2048, 255, 0.0051) == pytest.approx(73.4, abs=0.05)
    assert welch_bound(10, 10, 0.3) == 0.0
    assert welch_bound(64, 5, 2.0) > 0.0  # no convexity needed: the diagonal is given


@pytest.mark.parametrize("num_features", [2, 4, 8])
@pytest.mark.parametrize("size", [2, 5, 16])
@pytest.mark.parametrize("weight", [0.005, 0.05, 1.0])
def test_the_pearson_floor_is_reached_where_a_hadamard_matrix_exists(
    num_features: int, size: int, weight: float
) -> None:
    rho = spectrum(size, seed=size + num_features)
    best = best_unit_rows(rho, num_features, weight)
    assert best == pytest.approx(pearson_floor(rho, num_features, weight), abs=1e-5)


@pytest.mark.parametrize("num_features", [3, 5, 7])
@pytest.mark.parametrize("size", [2, 3, 12])
@pytest.mark.parametrize("weight", [0.005, 0.2])
def test_the_pearson_floor_is_a_lower_bound_elsewhere(num_features: int, size: int, weight: float) -> None:
    rho = spectrum(size, seed=size + num_features)
    excess = best_unit_rows(rho, num_features, weight) - pearson_floor(rho, num_features, weight)
    assert -1e-9 < excess < 0.02


def test_two_directions_stay_above_the_pearson_floor_for_odd_d_as_its_docstring_says_and_reach_it_for_even() -> None:
    rho = torch.tensor([0.9, 0.5], dtype=torch.float64)
    assert pearson_floor(rho, 5, 0.2) == pytest.approx(1.239478, abs=1e-6)
    assert best_unit_rows(rho, 5, 0.2) == pytest.approx(1.265984, abs=1e-6)
    assert best_unit_rows(rho, 6, 0.2) == pytest.approx(pearson_floor(rho, 6, 0.2), abs=1e-9)  # no Hadamard matrix


@pytest.mark.parametrize("num_features", [3, 5, 7])
def test_the_pearson_floor_is_reached_at_lambda_one_for_every_width(num_features: int) -> None:
    rho = spectrum(6, seed=num_features)
    assert best_unit_rows(rho, num_features, 1.0) == pytest.approx(pearson_floor(rho, num_features, 1.0), abs=1e-7)


def test_the_pearson_floor_has_the_checked_values() -> None:
    assert pearson_floor([1.0, 0.5], 2, 1.0) == pytest.approx(0.2, abs=1e-12)
    rho = [0.95, 0.8, 0.6, 0.4, 0.2, 0.1]
    for weight, value in {0.0051: 0.0575, 0.05: 0.1999, 0.3: 0.4182, 1.0: 0.5212}.items():
        assert pearson_floor(rho, 4, weight) == pytest.approx(value, abs=5e-5)
    assert pearson_floor([0.9, 0.4], 6, 0.0) == pytest.approx(6 * 0.1**2)
    assert pearson_floor([1.0] * 5, 12, 0.05) == pytest.approx(welch_bound(12, 5, 0.05))


def test_no_floor_of_a_given_rank_exceeds_the_pearson_floor() -> None:
    for size in (1, 3, 7, 12):
        rho = spectrum(size)
        assert pearson_floor(rho, 9, 0.05) >= raw_floor(9, size, 0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 2, 0.1), "num_features: got 0"),
        ((4, 0, 0.1), "rank: got 0"),
        ((4, 2, -0.1), "redundancy_weight: got -0.1"),
        ((4, 2, float("nan")), "redundancy_weight: got nan"),
    ],
)
def test_impossible_arguments_of_the_welch_bound_are_named(arguments: tuple[int, int, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        welch_bound(*arguments)


def test_the_pearson_floor_says_why_it_refuses_a_large_weight() -> None:
    with pytest.raises(ValueError, match=r"redundancy_weight: got 1\.5.*unequal diagonals can do better"):
        pearson_floor([0.5, 0.4], 2, 1.5)
    with pytest.raises(ValueError, match=r"correlations: got 1\.1"):
        pearson_floor([1.1], 2, 0.5)
