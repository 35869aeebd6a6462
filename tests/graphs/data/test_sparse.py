"""Sparse products equal dense ones, with the gradients of both factors."""

import torch
from torch import Tensor

from barlow.graphs.data.graph import features_of, normalised_rows
from barlow.graphs.data.sparse import SparseMatrix


def matrix(rows: int = 7, columns: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    return values * (torch.rand(rows, columns, generator=generator) < 0.4)


def test_a_product_equals_the_dense_one_in_value_and_gradient() -> None:
    dense = matrix()
    sparse = SparseMatrix.of(dense)
    values = sparse.values.clone().requires_grad_()
    other = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    product = sparse.with_values(values) @ other
    torch.testing.assert_close(product, dense @ other)
    assert torch.autograd.gradcheck(lambda v, o: sparse.with_values(v) @ o, (values, other))


def test_rows_are_taken_in_any_order_and_transposing_twice_is_nothing() -> None:
    dense = matrix()
    sparse = SparseMatrix.of(dense)
    rows = torch.tensor([6, 0, 6, 3])
    assert torch.equal(sparse.take(rows).dense(), dense[rows])
    assert torch.equal(sparse.transposed.dense(), dense.T)
    assert torch.equal(sparse.transposed.transposed.dense(), dense)


def test_half_precision_is_computed_in_float32() -> None:
    sparse = SparseMatrix.of(matrix().float())
    half = torch.randn(5, 3).bfloat16()
    assert (sparse @ half).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (sparse @ half.float()).dtype == torch.float32


def test_rows_are_divided_by_their_sum_and_rows_of_zero_stay() -> None:
    dense = matrix().abs()
    dense[2] = 0
    expected = dense / dense.sum(dim=1, keepdim=True).clamp(min=1e-30)
    for x in (dense, SparseMatrix.of(dense)):
        found = normalised_rows(x)
        torch.testing.assert_close(found.dense() if isinstance(found, SparseMatrix) else found, expected)


def test_features_are_kept_sparse_where_most_are_zero() -> None:
    words = (torch.rand(20, 100) < 0.05).float()
    assert isinstance(features_of(words), SparseMatrix)
    assert isinstance(features_of(torch.rand(20, 100)), Tensor)
    assert isinstance(features_of(SparseMatrix.of(torch.rand(20, 100))), Tensor)
