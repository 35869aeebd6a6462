"""Orthonormal columns with equal diagonals, for one spectrum and for two."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from barlow.theory.equal_diagonals import equalizing_rotation, flat_columns, tight_frame


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unevenness(columns: Tensor, values: Tensor) -> float:
    diagonal = (columns @ torch.diag(values) @ columns.T).diagonal()
    return float((diagonal - values.sum() / len(columns)).abs().max())


def assert_orthonormal(columns: Tensor) -> None:
    torch.testing.assert_close(columns.T @ columns, torch.eye(columns.shape[1]).double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 64])
def test_a_tight_frame_has_orthonormal_columns_and_rows_of_equal_length(size: int) -> None:
    for rank in range(1, size + 1):
        frame = tight_frame(size, rank)
        assert_orthonormal(frame)
        assert unevenness(frame, torch.ones(rank, dtype=torch.float64)) < 1e-13


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20))
def test_plane_rotations_make_the_diagonal_of_any_spectrum_equal(values: list[float]) -> None:
    spectrum = torch.tensor(values, dtype=torch.float64)
    rotation = equalizing_rotation(spectrum)
    assert_orthonormal(rotation)
    assert unevenness(rotation, spectrum) < 1e-13


@pytest.mark.parametrize("size", [1, 2, 4, 16, 64])
def test_powers_of_two_have_flat_columns_for_any_two_spectra(size: int) -> None:
    for count in {1, size // 2 or 1, size}:
        columns, equal = flat_columns(uniform(2, count, seed=size), size)
        assert equal
        assert columns.shape == (size, count)
        assert_orthonormal(columns)
        torch.testing.assert_close(columns.abs(), torch.full((size, count), size**-0.5).double())


@pytest.mark.parametrize(
    ("size", "count"), [(5, 4), (6, 2), (7, 7), (12, 5), (17, 3), (23, 23), (31, 20), (60, 45), (100, 2), (321, 40)]
)
def test_other_sizes_have_columns_that_make_both_diagonals_equal(size: int, count: int) -> None:
    for seed in range(3):
        values = uniform(2, count, seed=seed)
        columns, equal = flat_columns(values, size)
        assert equal
        assert_orthonormal(columns)
        assert max(unevenness(columns, row) for row in values) < 1e-10


@pytest.mark.parametrize("size", [3, 5, 9, 35])
def test_two_columns_of_odd_length_cannot_be_flat_and_that_is_said(size: int) -> None:
    values = torch.tensor([[1.0, 2.0], [0.9, 0.4]], dtype=torch.float64)
    columns, equal = flat_columns(values, size)
    assert not equal
    assert_orthonormal(columns)
    assert max(unevenness(columns, row) for row in values) > 1e-6


def test_two_columns_of_equal_ratio_are_one_spectrum_and_no_obstacle() -> None:
    columns, equal = flat_columns(torch.tensor([[1.0, 2.0], [0.5, 1.0]], dtype=torch.float64), 5)
    assert equal
    assert unevenness(columns, torch.tensor([1.0, 2.0], dtype=torch.float64)) < 1e-10


def test_beyond_the_size_that_newton_can_take_the_first_diagonal_is_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("barlow.theory.equal_diagonals.LARGEST", 8)
    values = uniform(2, 10)
    columns, equal = flat_columns(values, 11)
    assert not equal
    assert_orthonormal(columns)
    assert unevenness(columns, values[0]) < 1e-12 < unevenness(columns, values[1])


def test_impossible_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="rank: got 4, wanted 1 to 3"):
        tight_frame(3, 4)
    with pytest.raises(ValueError, match="size: got 3, wanted at least the 4 columns"):
        flat_columns(uniform(2, 4), 3)
