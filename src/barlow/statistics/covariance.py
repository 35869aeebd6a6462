"""The covariance matrix C of the features of one view: the sum of its off-diagonal squares, which is VICReg's term.

    C = Zc^T Zc / (N - 1)   (D x D, Zc centred),        F = sum_{i != j} C_ij^2 = |K|^2 / (N - 1)^2 - sum_i C_ii^2

with K = Zc Zc^T (N x N): with fewer samples than features C is never built. Embeddings that have positions have one C
per position. Over W processes, per position, each does so many operations and sends about so many numbers,

    direct    reduces C (a ring adds, then spreads the sums)     4 N D D/W      2 D^2 (W-1)/W
    gram      gathers Zc, keeps own N/W rows of K                4 N D N/W        N D (W-1)/W      for N < D

forward, and sends one number backward in either; the official code gathers Z with gradient (6 N D in all, and all of
C's work on every process).
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from barlow.statistics.collectives import ALONE, AllMean, Exchange, count_samples, exchange_of, identity
from barlow.statistics.correlation import Form, wide


def bessel(num_samples: int, all_mean: AllMean) -> float:
    """Return N / (N - 1), which makes a mean over the N samples of all processes unbiased as a variance.

    A bare `all_mean` of your own is refused: it does not tell N.
    """
    total = _total(num_samples, all_mean)
    return total / (total - 1)


def off_diagonal_squares(
    centred: Float[Tensor, "s n d"], *, form: Form = "auto", all_mean: AllMean = identity
) -> Float[Tensor, " s"]:
    """Return sum_{i != j} C_ij^2 of every position s, with exact gradients.

    The embeddings of one view come position by position, centred over the samples of all processes. "direct" builds C,
    "gram" own rows of K (n x N), "auto" the cheaper; they are equal to rounding. An `all_mean` of your own has to tell
    N (`MeanOver`) and allows the direct form only.
    """
    _, n, d = centred.shape
    exchange = exchange_of(all_mean)
    if exchange is None:
        if form == "gram":
            raise ValueError("form='gram' gathers rows: got an all_mean of your own, wanted barlow.all_mean")
        matrix = all_mean(_Moment.apply(centred, n), n) * bessel(n, all_mean)
        squares: Tensor = _OffDiagonalSquares.apply(matrix, ALONE)
        return squares
    n = _total(n, all_mean)
    if form == "gram" or (form == "auto" and n < d):
        squares = _OffDiagonalSquaresByGram.apply(centred, n - 1, exchange)
    else:
        squares = _OffDiagonalSquares.apply(_Moment.apply(centred, n - 1), exchange)
    return squares


def _total(num_samples: int, all_mean: AllMean) -> int:
    """N, the samples of all processes: at least 2."""
    total = count_samples(num_samples, all_mean)
    if total < 2:
        raise ValueError(f"z: got {total} sample, wanted at least 2: variances are statistics of the batch")
    return total


class _Moment(torch.autograd.Function):
    """z -> z^T z / divisor. One product in the backward pass; autograd alone would take two."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, divisor: int) -> Tensor:
        ctx.save_for_backward(z)
        ctx.divisor = divisor
        moment: Tensor = (z.mT @ z).div_(divisor)
        return moment

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (z,) = ctx.saved_tensors
        return (z @ (grad + grad.mT)).div_(ctx.divisor), None


class _OffDiagonalSquares(torch.autograd.Function):
    """Own part of C -> sum_{i != j} C_ij^2, for C the sum of the parts, so that each part's gradient is that of C."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, exchange: Exchange) -> Tensor:
        rest = part.clone() if exchange is ALONE else exchange.add(part)
        rest.diagonal(dim1=-2, dim2=-1).zero_()
        ctx.save_for_backward(rest)
        ctx.exchange = exchange
        # Row by row, and rows in float64: one float32 sum of 8192^2 squares is wrong by half a percent.
        squares: Tensor = wide(torch.linalg.vector_norm(rest, dim=-1)).square().sum(dim=-1).to(part.dtype)
        return squares

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (rest,) = ctx.saved_tensors
        return rest * (2 * ctx.exchange.add(grad))[:, None, None], None


class _OffDiagonalSquaresByGram(torch.autograd.Function):
    """The same from own rows z of Zc, through own rows of K (n x N), which are kept for the backward pass.

    With v_i = C_ii and divisor N - 1:    dF/dz = (4 / (N - 1)) [K Zc / (N - 1) - z diag(v)],    own rows of K.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, divisor: int, exchange: Exchange) -> Tensor:
        everyone = z if exchange is ALONE else exchange.gather(z.transpose(0, 1)).transpose(0, 1)
        gram = z @ everyone.mT
        own_v = wide(torch.linalg.vector_norm(z, dim=-2)).square()
        # K_nn is about D, K_nm about sqrt(D), and there are N^2 terms: rows in z's precision, their sum in float64.
        own_squares = wide(torch.linalg.vector_norm(gram, dim=-1)).square().sum(dim=-1, keepdim=True)
        sums = exchange.add(torch.cat([own_v, own_squares], dim=-1))
        v, squares = sums[:, :-1] / divisor, sums[:, -1] / divisor**2
        ctx.save_for_backward(z, everyone, gram, v.to(z.dtype))
        ctx.divisor, ctx.exchange = divisor, exchange
        rest: Tensor = (squares - v.square().sum(dim=-1)).to(z.dtype)
        return rest

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        z, everyone, gram, v = ctx.saved_tensors
        scale = (4 / ctx.divisor * ctx.exchange.add(grad))[:, None, None]
        through_gram: Tensor = (gram * (scale / ctx.divisor)) @ everyone
        return through_gram.addcmul_(z, v[:, None, :] * scale, value=-1), None, None
