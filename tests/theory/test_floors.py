"""The floors against direct optimisation and the figures of the paper's notes."""

import pytest
import torch
from torch import Tensor

from barlow.theory.floors import batch_floor, raw_floor


def best_loss(num_features: int, rank: int, weight: float, starts: int = 4) -> float:
    """Least L(P P^T) over D x r matrices P found by L-BFGS from several starts."""
    best = float("inf")
    for seed in range(starts):
        p = torch.randn(num_features, rank, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        p = (p * 0.5).requires_grad_()
        optimizer = torch.optim.LBFGS([p], max_iter=2000, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

        def closure(p: Tensor = p, optimizer: torch.optim.LBFGS = optimizer) -> Tensor:
            optimizer.zero_grad()
            c = p @ p.T
            diagonal = c.diagonal()
            loss = (1 - diagonal).square().sum() + weight * (c.square().sum() - diagonal.square().sum())
            loss.backward()
            return loss

        optimizer.step(closure)
        best = min(best, closure().item())
    return best


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
