"""A sparse matrix whose product with features has gradients: rows of edges or of bags of words, on any device."""

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

CHUNK = 1 << 24
"""Numbers of the largest temporary, so that a million edges with wide features stay within some 64 MB."""


@dataclass(frozen=True, eq=False)
class SparseMatrix:
    """Entries of a matrix (m, n), sorted by row.

    Attributes:
        rows: (nnz,) increasing.
        columns: (nnz,).
        values: (nnz,) floats; they may carry gradient.
        shape: (m, n).
    """

    rows: Int64[Tensor, " nnz"]
    columns: Int64[Tensor, " nnz"]
    values: Float[Tensor, " nnz"]
    shape: tuple[int, int]

    @staticmethod
    def of(dense: Float[Tensor, "m n"]) -> "SparseMatrix":
        """Return the entries of a matrix that are not 0."""
        rows, columns = dense.nonzero(as_tuple=True)
        return SparseMatrix(rows, columns, dense[rows, columns], (dense.shape[0], dense.shape[1]))

    def __len__(self) -> int:
        return self.shape[0]

    def to(self, device: torch.device | str) -> "SparseMatrix":
        """Return the same matrix on a device."""
        if self.values.device == torch.device(device):
            return self
        return SparseMatrix(self.rows.to(device), self.columns.to(device), self.values.to(device), self.shape)

    def dense(self) -> Float[Tensor, "m n"]:
        """Return all entries; those that stand in one place are added up."""
        return self.values.new_zeros(self.shape).index_put_((self.rows, self.columns), self.values, accumulate=True)

    def take(self, rows: Int64[Tensor, " k"]) -> "SparseMatrix":
        """Return some rows, in any order."""
        first = self.pointers[rows]
        counts = self.pointers[rows + 1] - first
        own = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), counts)
        places = torch.arange(len(own), device=rows.device) - (counts.cumsum(0) - counts)[own] + first[own]
        return SparseMatrix(own, self.columns[places], self.values[places], (len(rows), self.shape[1]))

    def with_values(self, values: Tensor) -> "SparseMatrix":
        """Return a matrix with other values in the same places; what is known of the places stays known."""
        other = SparseMatrix(self.rows, self.columns, values, self.shape)
        other.__dict__.update(
            {name: self.__dict__[name] for name in ("pointers", "by_column") if name in self.__dict__}
        )
        return other

    @cached_property
    def pointers(self) -> Int64[Tensor, " m_plus_1"]:
        """Where each row begins, and where the last one ends."""
        counts = torch.bincount(self.rows, minlength=self.shape[0])
        return torch.cat([counts.new_zeros(1), counts.cumsum(0)])

    @cached_property
    def by_column(self) -> Int64[Tensor, " nnz"]:
        """The entries in the order of the transposed matrix."""
        return self.columns.argsort(stable=True)

    @cached_property
    def transposed(self) -> "SparseMatrix":
        """The transposed matrix; its values do not carry gradient."""
        order = self.by_column
        return SparseMatrix(
            self.columns[order], self.rows[order], self.values.detach()[order], (self.shape[1], self.shape[0])
        )

    def __matmul__(self, dense: Shaped[Tensor, "n d"]) -> Float[Tensor, "m d"]:
        """Return the product, at least in float32, with the gradients of `dense` and, where wanted, of the values."""
        dense = dense.float() if dense.dtype in (torch.float16, torch.bfloat16) else dense
        product: Tensor = _Product.apply(self, self.values.to(dense.dtype), dense)
        return product


def multiply(matrix: SparseMatrix, values: Tensor, dense: Tensor) -> Tensor:
    """Return the product without gradient."""
    if dense.device.type in ("cpu", "cuda"):
        with (
            torch.autocast(dense.device.type, enabled=False),
            warnings.catch_warnings(),
        ):  # torch calls its CSR a beta, once a process
            warnings.simplefilter("ignore", UserWarning)
            place = (matrix.pointers, matrix.columns)
            return torch.sparse_csr_tensor(*place, values, matrix.shape, check_invariants=False) @ dense
    product = dense.new_zeros(matrix.shape[0], dense.shape[1])
    step = max(1, CHUNK // max(1, dense.shape[1]))
    for rows, columns, some in zip(*(p.split(step) for p in (matrix.rows, matrix.columns, values)), strict=True):
        product.index_add_(0, rows, some[:, None] * dense[columns])
    return product


class _Product(torch.autograd.Function):
    """A @ X with A given by its entries: dX = A^T dY, and dA_ij = dY_i . X_j in the places of A alone."""

    @staticmethod
    def forward(ctx: Any, matrix: SparseMatrix, values: Tensor, dense: Tensor) -> Tensor:
        ctx.matrix = matrix
        ctx.save_for_backward(values, dense)
        return multiply(matrix, values.detach(), dense.detach())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        values, dense = ctx.saved_tensors
        (grad,), matrix = grads, ctx.matrix
        of_values = of_dense = None
        if ctx.needs_input_grad[1]:
            step = max(1, CHUNK // max(1, dense.shape[1]))
            pairs = zip(matrix.rows.split(step), matrix.columns.split(step), strict=True)
            of_values = torch.cat([(grad[rows] * dense[columns]).sum(dim=1) for rows, columns in pairs])
        if ctx.needs_input_grad[2]:
            of_dense = multiply(matrix.transposed, values.detach()[matrix.by_column], grad.contiguous())
        return None, of_values, of_dense
