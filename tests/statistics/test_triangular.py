"""Factors and solutions, also where the device cannot: then elsewhere, with the same value and gradient."""

import pytest
import torch
from torch import Tensor

from barlow.statistics import triangular
from barlow.statistics.triangular import cholesky, solve_lower


def solved(matrix: Tensor, right: Tensor) -> Tensor:
    factor, failed = cholesky(matrix)
    assert not failed.any()
    return solve_lower(factor, right)


def test_without_the_functions_value_and_gradient_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    root, right = torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.float64)
    matrix = (root @ root.mT + torch.eye(4)).requires_grad_()
    expected = solved(matrix, right)
    torch.testing.assert_close(torch.linalg.cholesky(matrix) @ expected, right)
    (gradient,) = torch.autograd.grad(expected.square().sum(), matrix)
    moved: list[Tensor] = []

    def counted(one: Tensor) -> Tensor:
        moved.append(one)
        return one.clone()

    monkeypatch.setattr(triangular, "WITHOUT", ("cpu",))
    monkeypatch.setattr(Tensor, "cpu", counted)
    elsewhere = solved(matrix, right)
    assert len(moved) == 3  # the matrix, its factor and the right side
    torch.testing.assert_close(elsewhere, expected, rtol=0, atol=0)
    torch.testing.assert_close(torch.autograd.grad(elsewhere.square().sum(), matrix)[0], gradient)


def test_what_has_no_factor_gives_a_number_and_no_error() -> None:
    _, failed = cholesky(torch.stack([torch.eye(2), -torch.eye(2)]))
    assert (failed > 0).tolist() == [False, True]
