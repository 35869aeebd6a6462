"""The best linear projectors z = P h of a frozen backbone, in closed form, and the loss that each reaches.

B is the covariance between images, T = B + W the total one, rho_k and a_k (rows of A) the intraclass correlations and
their directions: A T A^T = I, A B A^T = diag(rho). The complete losses, over all images and all pairs of views, are

    raw        C = P S P^T with S = B, or S = B + m m^T uncentred (equations 5 and 6): P = diag(l)^-1/2 U^T gives
               C = I for every backbone if D <= rank S; above, a scaled tight frame reaches `raw_floor`.
    whitened   C = P B P^T under P T P^T = I: the D most invariant directions, turned so that all C_ii are equal.
    Pearson    C = P B P^T with unit diagonal of P T P^T: P = V A with V = F diag(g)^1/2, g the budget of
               `water_filling` and F with orthonormal columns, so that V has unit rows and all C_ii are equal.

Equal diagonals, of one matrix or of diag(g) and diag(rho g) at once, are the matter of `equal_diagonals`. For two they
are known where a Hadamard matrix exists and found nearly everywhere else. Where they do not exist, for D = 3 and for
odd D with two directions, the best rows are found by descent and stay a little above the floor.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from barlow.theory.equal_diagonals import equalizing_rotation, flat_columns, tight_frame
from barlow.theory.floors import raw_floor
from barlow.theory.intraclass import check_square, intraclass_correlations
from barlow.theory.spectrum import RELATIVE_TOLERANCE
from barlow.theory.water_filling import water_filling

ASYMMETRY = 1e-6
"""Covariances are symmetric up to rounding, in units of their largest element; two pipelines differ by percents."""
STARTS = 4
"""Descents where equal diagonals are impossible; the best of them is kept."""
DESCENT_LIMIT = 1_000_000
"""Largest D a^2 to descend at, about a second: where it is impossible only two or three directions are in use."""


@dataclass(frozen=True, eq=False)
class LinearProjector:
    """A linear projector and what it reaches on the covariances it was made for.

    Attributes:
        weight: (D, d) P.
        loss: complete loss of z = P h, computed from P's rows, not taken from the formula of the floor.
        floor: least complete loss of any linear projector under the same constraint.
        rank: r, directions with variance that were at hand.
        num_active: directions of their own among the D outputs: the rank of P.
        waterline: rho that a direction has to exceed to be used; 0 where only the order counts.
    """

    weight: Float64[Tensor, "D d"]
    loss: float
    floor: float
    rank: int
    num_active: int
    waterline: float


def raw_projector(second_moment: Float[Tensor, "d d"], num_features: int, redundancy_weight: float) -> LinearProjector:
    """Return the projector that minimises the raw loss of C = P S P^T: C = I wherever D <= rank S.

    P = diag(l_1..l_D)^-1/2 U^T from S = U diag(l) U^T. For D > r the rows become those of an equal-norm tight frame
    times (q + lambda (1-q))^-1/2, q = r/D, which reaches `raw_floor`. Every choice of r directions and every rotation
    would do as well: the augmentation covariance W does not appear, which is why this loss teaches no invariance.

    Args:
        second_moment: (d, d) S = E ybar ybar^T, ybar the mean over views: B if centred. Negative directions of an
            estimate, and those below 1e-6 of the largest, are left out.
        num_features: D, width of the embedding.
        redundancy_weight: lambda in [0, 1].

    Returns:
        The projector; its `floor` is `raw_floor(D, rank S, lambda)`.

    Raises:
        ValueError: S not square, finite and symmetric, or without any positive direction, or what `raw_floor` refuses.

    Source:
        The paper's section 2, equations 4 to 6. D > r: Benedetto and Fickus, "Finite normalized tight frames"
        (2003).
    """
    _check_symmetric("second_moment", second_moment)
    values, vectors = torch.linalg.eigh(second_moment.double())
    kept = values.flip(0) > RELATIVE_TOLERANCE * values[-1].clamp(min=0.0)
    values, vectors = values.flip(0)[kept], vectors.flip(1)[:, kept]
    rank = len(values)
    if not rank:
        raise ValueError("second_moment: got no direction with positive variance, wanted at least one")
    floor = raw_floor(num_features, rank, redundancy_weight)
    used = min(num_features, rank)
    share = used / num_features
    scale = (share + redundancy_weight * (1.0 - share)) ** -0.5
    weight = scale * tight_frame(num_features, used) @ (vectors[:, :used] / values[:used].sqrt()).T
    rows = weight @ (vectors * values.sqrt())
    loss = float(_complete_loss(rows, torch.ones_like(values), redundancy_weight))
    return LinearProjector(weight, loss, floor, rank, used, 0.0)


def whitened_projector(
    between: Float[Tensor, "d d"], total: Float[Tensor, "d d"], num_features: int, redundancy_weight: float
) -> LinearProjector:
    """Return the projector that minimises the loss of C = P B P^T among those with P T P^T = I.

    P = O A_D, A_D the D most invariant directions. With t = sum_{k<=D} rho_k the least loss is

        D - 2t + (1-lambda) t^2/D + lambda sum_{k<=D} rho_k^2    for lambda <= 1, where O makes all C_ii = t/D,
        sum_{k<=D} (1 - rho_k)^2                                 for lambda >= 1, where O = I.

    For lambda < 1 C is not diagonal at the optimum: unequal C_ii cost more than small correlations.

    Args:
        between: (d, d) B, symmetric.
        total: (d, d) T = B + W, symmetric, positive semidefinite.
        num_features: D, at most the rank of T.
        redundancy_weight: lambda, at least 0.

    Returns:
        The projector; its `floor` is the formula.

    Raises:
        ValueError: D above the rank of T, lambda below 0, or matrices that are not symmetric, finite and of one size.
    """
    if not redundancy_weight >= 0.0:
        raise ValueError(f"redundancy_weight: got {redundancy_weight}, wanted at least 0")
    rho, directions = _spectrum(between, total)
    if not 1 <= num_features <= len(rho):
        reason = "the rank of the total covariance: no more outputs can be uncorrelated"
        raise ValueError(f"num_features: got {num_features}, wanted 1 to {len(rho)}, {reason}")
    top = rho[:num_features]
    weight, trace = min(redundancy_weight, 1.0), float(top.sum())
    floor = num_features - 2.0 * trace + (1.0 - weight) * trace**2 / num_features + weight * float(top.square().sum())
    rotation = equalizing_rotation(top) if redundancy_weight < 1.0 else torch.eye(num_features, dtype=rho.dtype)
    loss = float(_complete_loss(rotation, top, redundancy_weight))
    return LinearProjector(
        rotation @ directions[:num_features], loss, max(0.0, floor), len(rho), num_features, waterline=0.0
    )


def pearson_projector(
    between: Float[Tensor, "d d"], total: Float[Tensor, "d d"], num_features: int, redundancy_weight: float
) -> LinearProjector:
    """Return the best linear projector for the Pearson loss: C = P B P^T under unit diagonal of P T P^T (Theorem 2).

    P = F diag(g)^1/2 A, g from `water_filling`. Not the top eigenvectors: outputs may share invariant directions as
    far as lambda allows, and directions below the waterline are not used at all.

    Args:
        between: (d, d) B, symmetric. Negative correlations of an estimate count 0 in the budget and the floor.
        total: (d, d) T = B + W, symmetric, positive semidefinite; P acts on its range.
        num_features: D, width of the embedding, also above d.
        redundancy_weight: lambda in [0, 1].

    Returns:
        The projector. Its `loss` equals `floor` for D a power of two, for lambda = 1 and mostly elsewhere; where
        equal diagonals are impossible (D = 3, or odd D with two directions) it is slightly above.

    Raises:
        ValueError: lambda outside [0, 1], D below 1, T without variance, or matrices that are not symmetric, finite
            and of one size.
    """
    rho, directions = _spectrum(between, total)
    filling = water_filling(rho.clamp(0.0, 1.0), num_features, redundancy_weight)
    rows = _pearson_rows(filling.budget, rho, num_features, redundancy_weight)
    loss = float(_complete_loss(rows, rho, redundancy_weight))
    return LinearProjector(rows @ directions, loss, filling.loss, len(rho), filling.num_active, filling.waterline)


def _spectrum(between: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    """Intraclass correlations, descending, and their directions as rows."""
    _check_symmetric("between", between)
    _check_symmetric("total", total)
    spectrum = intraclass_correlations(between, total)
    if not spectrum.rank:
        raise ValueError("total: got no direction with variance, wanted at least one")
    return spectrum.correlations, spectrum.directions


def _check_symmetric(name: str, matrix: Tensor) -> None:
    check_square(name, matrix)
    skew, size = float((matrix - matrix.T).abs().max()), float(matrix.abs().max())
    if skew > ASYMMETRY * size:
        raise ValueError(f"{name}: got asymmetry {skew:.2g} of {size:.2g}, wanted a symmetric matrix")


def _complete_loss(rows: Tensor, rho: Tensor, weight: float) -> Tensor:
    """Loss of C = V diag(rho) V^T without building it: |C|_F^2 through V^T V."""
    diagonal = rows.square() @ rho
    squares = rho @ (rows.T @ rows).square() @ rho
    loss: Tensor = (1.0 - diagonal).square().sum() + weight * (squares - diagonal.square().sum()).clamp(min=0.0)
    return loss


def _pearson_rows(budget: Tensor, rho: Tensor, num_features: int, weight: float) -> Tensor:
    """Unit rows V with column sums of squares g and equal diagonal of V diag(rho) V^T, or as close as there are."""
    used = budget > 0
    count = int(used.sum())
    if weight == 1.0:  # the loss has no say on the diagonal beyond its trace
        padded = torch.cat([budget[used], budget.new_zeros(num_features - count)])
        columns, equal = equalizing_rotation(padded)[:, :count], True
    else:
        columns, equal = flat_columns(torch.stack([budget[used], (budget * rho)[used]]), num_features)
    rows = torch.zeros(num_features, len(rho), dtype=torch.float64)
    rows[:, used] = columns * budget[used].sqrt()
    rows = torch.nn.functional.normalize(rows, dim=1)
    near = count + 2  # a direction just below the waterline may help where equal diagonals are impossible
    if not equal and num_features * near**2 <= DESCENT_LIMIT:
        rows[:, :near] = _descend(rows[:, :near], rho[:near], weight)
    return rows


def _descend(rows: Tensor, rho: Tensor, weight: float) -> Tensor:
    """The best unit rows near given ones, by L-BFGS: where no rotation gives equal diagonals, nothing is exact."""
    best, least = rows, float(_complete_loss(rows, rho, weight))
    for start in range(STARTS):
        noise = torch.randn(rows.shape, dtype=rows.dtype, generator=torch.Generator().manual_seed(start))
        v = (rows + 0.1 * noise).requires_grad_()
        optimizer = torch.optim.LBFGS([v], max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

        def closure(v: Tensor = v, optimizer: torch.optim.LBFGS = optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = _complete_loss(torch.nn.functional.normalize(v, dim=1), rho, weight)
            torch.autograd.backward(loss)
            return loss

        optimizer.step(closure)
        unit = torch.nn.functional.normalize(v.detach(), dim=1)
        loss = float(_complete_loss(unit, rho, weight))
        if loss < least:
            best, least = unit, loss
    return best
