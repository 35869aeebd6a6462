"""VICReg (Bardes et al. 2022, arXiv 2105.04906): invariance, variance and covariance, each a function of embeddings.

    s(z, z') = mean |z - z'|^2,    v(z) = mean_j max(0, 1 - sqrt(Var z_j + eps)),    c(z) = sum_{i != j} C_ij^2 / D

with C = (z - mean)^T (z - mean) / (N - 1) of one view (section 4.1), and the same per position where embeddings
have positions (VICRegL). With fewer samples than features C (D x D) is never built: with K = Zc Zc^T (N x N),

    sum_{i != j} C_ij^2 = |K|^2 / (N - 1)^2 - sum_i Var(z_i)^2.
"""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.collectives import AllMean, all_mean as mean_over_processes, identity, num_processes
from barlow.correlation import Form, center
from barlow.methods.method import Method
from barlow.methods.terms import Terms
from barlow.networks.heads import HeadSpec

Convention = Literal["official", "paper"]

INVARIANCE_WEIGHT, VARIANCE_WEIGHT, COVARIANCE_WEIGHT = 25.0, 25.0, 1.0
"""lambda, mu and nu of the paper (section 4.2) and of the official code."""
EPS = 1e-4
"""Added to variances inside the root (section 4.1): the gradient stays finite at collapse."""
GRAM_BELOW = 1.0
"""Gram costs 4 N^2 D multiply-adds forward and backward, direct 4 N D^2: Gram is cheaper for N < D."""


def vicreg_loss(
    z_a: Float[Tensor, "n d"],
    z_b: Float[Tensor, "n d"],
    *,
    invariance_weight: float = INVARIANCE_WEIGHT,
    variance_weight: float = VARIANCE_WEIGHT,
    covariance_weight: float = COVARIANCE_WEIGHT,
    convention: Convention = "official",
    form: Form = "auto",
    all_mean: AllMean = identity,
) -> Terms:
    """Keep two views alike, every feature's spread at 1 or more, and features uncorrelated within a view.

        L = lambda s(z_a, z_b) + mu [v(z_a) + v(z_b)] / 2 + nu [c(z_a) + c(z_b)]        (official)

    The paper prints equation 6 without the 1/2, and s (equation 5) as a mean over samples of the *sum* over
    features, so D times as large. Its figures come from the code, which is therefore the default.

    Args:
        z_a: embeddings of view a.
        z_b: embeddings of view b, row by row of the same samples.
        invariance_weight: lambda.
        variance_weight: mu.
        covariance_weight: nu.
        convention: "official" (main_vicreg.py, VICReg.forward) or "paper" (equations 1 to 6).
        form: "direct" (D x D), "gram" (N x N) or "auto", the cheaper; value and gradient are the same.
        all_mean: mean over all processes, `barlow.collectives.all_mean` in a distributed run.

    Returns:
        Terms with parts "invariance", "variance" and "covariance", weighted, that add up to the total.

    Raises:
        ValueError: shapes that differ or are not (N, D), fewer than 2 samples, unknown names, negative weights.
    """
    _check(z_a, z_b, (invariance_weight, variance_weight, covariance_weight), convention, form)
    s = invariance(z_a, z_b, all_mean=all_mean)
    v = variance(z_a, all_mean=all_mean) + variance(z_b, all_mean=all_mean)
    c = covariance(z_a, form=form, all_mean=all_mean) + covariance(z_b, form=form, all_mean=all_mean)
    s, v = (s, v / 2) if convention == "official" else (s * z_a.shape[1], v)
    s, v, c = invariance_weight * s, variance_weight * v, covariance_weight * c
    return Terms(s + v + c, {"invariance": s, "variance": v, "covariance": c})


def invariance(
    z_a: Float[Tensor, "n *slots d"], z_b: Float[Tensor, "n *slots d"], *, all_mean: AllMean = identity
) -> Float[Tensor, ""]:
    """Return the mean square difference of two views, over samples, positions and features.

        s = sum_n |z_a[n] - z_b[n]|^2 / (N D)        (equation 5, divided by D as in the official code)

    Args:
        z_a: embeddings of view a.
        z_b: embeddings of view b, of the same shape.
        all_mean: mean over all processes.

    Returns:
        s, in float32 or the precision of the input if that is higher.
    """
    return all_mean((_precise(z_a) - _precise(z_b)).square().mean(), z_a.shape[0])


def variance(
    z: Float[Tensor, "n *slots d"], *, target: float = 1.0, eps: float = EPS, all_mean: AllMean = identity
) -> Float[Tensor, ""]:
    """Return how far the standard deviations of the features fall short of `target`, on average.

        v = mean_j max(0, target - sqrt(Var z_j + eps)),   Var unbiased (divided by N - 1)       (equations 1 and 2)

    Args:
        z: embeddings of one view; with positions, each position has its own variances.
        target: gamma, 1 in the paper.
        eps: added to the variance inside the root.
        all_mean: mean over all processes; the variance is that of all their samples.

    Returns:
        v, in float32 or the precision of the input if that is higher.

    Raises:
        ValueError: a single sample.
    """
    n = z.shape[0]
    centred = center(_precise(z).flatten(1), all_mean=all_mean)
    biased = all_mean(centred.square().mean(dim=0), n)
    deviation = torch.sqrt(biased * _bessel(n, z.device, all_mean) + eps)
    return torch.relu(target - deviation).mean()


def covariance(
    z: Float[Tensor, "n *slots d"], *, form: Form = "auto", all_mean: AllMean = identity
) -> Float[Tensor, ""]:
    """Return the squared covariances between different features of one view, per feature.

        c = sum_{i != j} C_ij^2 / D,   C unbiased (divided by N - 1)                             (equations 3 and 4)

    Args:
        z: embeddings of one view; with positions, c is the mean over theirs.
        form: "direct" builds C (D x D), "gram" an N x N matrix, "auto" the cheaper. Equal to rounding.
        all_mean: mean over all processes; C is reduced, so "auto" is "direct" unless it is `identity`.

    Returns:
        c, in float32 or the precision of the input if that is higher.

    Raises:
        ValueError: form="gram" with samples spread over processes; a single sample.
    """
    n, d = z.shape[0], z.shape[-1]
    bessel = _bessel(n, z.device, all_mean)
    if form == "gram" and all_mean is not identity:
        raise ValueError("form='gram' needs the whole batch on one process; wanted form='auto' or 'direct' here")
    gram = all_mean is identity and (form == "gram" or (form == "auto" and n < GRAM_BELOW * d))
    with torch.autocast(device_type=z.device.type, enabled=False):
        centred = center(_precise(z).flatten(1), all_mean=all_mean)
        per_slot = centred.unflatten(1, (-1, d)).transpose(0, 1)  # (positions, N, D)
        if gram:
            squares: Tensor = _OffDiagonalSquaresByGram.apply(per_slot)
        else:
            squares = _OffDiagonalSquares.apply(all_mean(_SecondMoment.apply(per_slot), n) * bessel)
        return squares.mean() / d


class _SecondMoment(torch.autograd.Function):
    """z -> z^T z / N per position. One product in the backward pass; autograd alone would take two."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        ctx.save_for_backward(z)
        moment: Tensor = (z.mT @ z).div_(z.shape[-2])
        return moment

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        grad_z: Tensor = (z @ (grad + grad.mT)).div_(z.shape[-2])
        return grad_z


class _OffDiagonalSquares(torch.autograd.Function):
    """C -> sum_{i != j} C_ij^2 per position, without a mask and without the diagonal ever in the sum."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        rest = matrix.clone()
        rest.diagonal(dim1=-2, dim2=-1).zero_()
        ctx.save_for_backward(rest)
        # Row by row, and rows in float64: one float32 sum of 8192^2 squares is wrong by half a percent.
        squares: Tensor = torch.linalg.vector_norm(rest, dim=-1).double().square().sum(dim=-1).to(matrix.dtype)
        return squares

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (rest,) = ctx.saved_tensors
        grad_matrix: Tensor = rest * (2 * grad)[:, None, None]
        return grad_matrix


class _OffDiagonalSquaresByGram(torch.autograd.Function):
    """The same of C = z^T z / (N - 1) for centred z, through K = z z^T, which is kept for the backward pass.

    With v_i = C_ii and F = |K|^2/(N-1)^2 - |v|^2:    dF/dz = (4/(N-1)) [K z/(N-1) - z diag(v)].
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        n = z.shape[-2]
        gram = z @ z.mT
        v = torch.linalg.vector_norm(z, dim=-2).square().div_(n - 1)
        ctx.save_for_backward(z, gram, v)
        # K_nn is about D, K_nm about sqrt(D), and there are N^2 terms: rows in z's precision, their sum in float64.
        squares = torch.linalg.vector_norm(gram, dim=-1).double().square().sum(dim=-1).div((n - 1) ** 2)
        rest: Tensor = (squares - v.double().square().sum(dim=-1)).to(z.dtype)
        return rest

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        z, gram, v = ctx.saved_tensors
        n = z.shape[-2]
        scale = (4 / (n - 1) * grad)[:, None, None]
        through_gram: Tensor = (gram * (scale / (n - 1))) @ z
        return through_gram.addcmul_(z, v[:, None, :] * scale, value=-1)


class VICReg(Method):
    """Backbone, expander and the loss: views -> Terms.

    Args:
        backbone: batch -> h of shape (N, d).
        projector: h -> z of shape (N, D), the paper's expander.
        loss: (z_a, z_b, all_mean=...) -> Terms; `vicreg_loss` with the run's weights.
    """

    def __init__(self, backbone: nn.Module, projector: nn.Module, loss: Callable[..., Terms] = vicreg_loss) -> None:
        super().__init__(backbone, projector)
        self.loss = loss

    def forward(self, views: Sequence[Any]) -> Terms:
        """Return the loss of two views of one batch.

        Raises:
            ValueError: not exactly two views.
        """
        if len(views) != 2:
            raise ValueError(f"views: got {len(views)}, wanted 2 for VICReg")
        # One pass per view, not one over both: BatchNorm statistics are per view, as in the official code.
        z_a, z_b = (self.projector(self.represent(view)) for view in views)
        return self.loss(z_a, z_b, all_mean=mean_over_processes if num_processes() > 1 else identity)


def vicreg(
    backbone: nn.Module,
    head: HeadSpec,
    num_features: int,
    *,
    invariance_weight: float = INVARIANCE_WEIGHT,
    variance_weight: float = VARIANCE_WEIGHT,
    covariance_weight: float = COVARIANCE_WEIGHT,
    convention: Convention = "official",
) -> VICReg:
    """Build the method with the numbers of a recipe.

    The last layer has no bias, as in the official expander: all three terms would cancel it.
    """
    loss = partial(
        vicreg_loss,
        invariance_weight=invariance_weight,
        variance_weight=variance_weight,
        covariance_weight=covariance_weight,
        convention=convention,
    )
    return VICReg(backbone, head.build(num_features, last_bias=False), loss)


def _precise(z: Tensor) -> Tensor:
    """Half precision becomes float32: differences and squares of embeddings need it."""
    return z.to(torch.promote_types(z.dtype, torch.float32))


def _bessel(n: int, device: torch.device, all_mean: AllMean) -> Tensor | float:
    """Return N / (N - 1) for the N samples of all processes, of which n are here."""
    if all_mean is identity:
        if n < 2:
            raise ValueError(f"z: got {n} sample, wanted at least 2: variances are statistics of the batch")
        return n / (n - 1)
    # The mean of 1/n_r over all samples is W/N; no process knows how many samples the others have.
    inverse = all_mean(torch.tensor(1 / n, device=device, dtype=torch.float64), n) / num_processes()
    return 1 / (1 - inverse)


def _check(z_a: Tensor, z_b: Tensor, weights: tuple[float, float, float], convention: str, form: str) -> None:
    if z_a.ndim != 2 or z_a.shape != z_b.shape:
        raise ValueError(
            f"z_a, z_b: got shapes {tuple(z_a.shape)} and {tuple(z_b.shape)}, wanted the same (N, D) twice"
        )
    for name, weight in zip(("invariance", "variance", "covariance"), weights, strict=True):
        if weight < 0:
            raise ValueError(f"{name}_weight: got {weight}, wanted 0 or more")
    for argument, got, choices in (("convention", convention, get_args(Convention)), ("form", form, get_args(Form))):
        if got not in choices:
            nearest = get_close_matches(str(got), choices, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise ValueError(f"{argument}: got {got!r}, wanted one of {', '.join(choices)}{hint}")
