"""Water-filling: how the best linear projector spends D standardised outputs on directions of different invariance.

rho_1 >= ... >= rho_d are the eigenvalues of T^-1/2 B T^-1/2. Outputs of variance 1 are rows of length 1 on those
directions. The budget g_k of direction k is the sum of its squared coefficients over outputs, and sum_k g_k = D.
Theorem 2: with t = sum_k rho_k g_k, d' = min(D, d) and lambda <= 1 the least loss is that of the convex programme

    min over g >= 0, sum_k g_k = D of    D - 2t + (1-lambda) t^2/D + lambda sum_{k<=d'} rho_k^2 g_k^2
      =  (1-lambda) (D-t)^2/D  +  lambda [ sum_{k<=d'} (1 - rho_k g_k)^2  +  D - d' ].

Its solution is exact, no iteration. If the first a directions are active, then with weights 1/rho^2 over them,
p their sum, beta the weighted mean of rho and e the weighted sum of squares around it,

    h = (lambda D + (1-lambda) e) / (1 - (1-lambda) beta),    waterline w = beta - h/p,
    g_k = (D/h) (rho_k - w) / rho_k^2,

and a is the largest number with rho_a > w_a. As h grows with lambda, the waterline sinks, and "how large must lambda
be for a directions" is one linear equation. If even the last positive rho leaves w < 0 and directions with rho = 0
are at hand, those take what is too much: w = 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

ROUNDING = 1e-9
"""How far outside [0, 1] a correlation may be by rounding: eigenvalues in float64 with some room, not an estimate's
noise, which the caller has to clip."""
NO_INVARIANCE = 1e-12
"""A rho below counts as 0: it changes the loss by less than 2 D times as much, and 1/rho^2 stays finite."""
LEAST_WEIGHT = 1e-12
"""lambda = 0 is the limit from above, where equal rho share the budget; below this the limit is reached."""


@dataclass(frozen=True, eq=False)
class WaterFilling:
    """The best use of D outputs on given invariant directions.

    Attributes:
        budget: (d,) g, in the order in which the correlations came; its sum is D.
        loss: L*, the least loss of Theorem 2.
        num_active: how many directions with rho > 0 receive budget: the rank of the cross-correlation matrix at the
            optimum. The other outputs are copies.
        waterline: w, never below 0. Of the D largest rho, those above it are used; where it is 0, every positive one.
        least_active: smallest rho that is used, NaN if none is.
        diagonal: C_ii = t/D of every output at the optimum.
    """

    budget: Float64[Tensor, " d"]
    loss: float
    num_active: int
    waterline: float
    least_active: float
    diagonal: float


def water_filling(
    correlations: Float[Tensor, " d"] | Sequence[float], num_features: int, redundancy_weight: float
) -> WaterFilling:
    """Solve the programme of Theorem 2 exactly.

    >>> round(water_filling([1.0, 0.5], 2, 1.0).loss, 6)
    0.2

    Args:
        correlations: (d,) rho, the intraclass correlations, in any order, each in [0, 1].
        num_features: D, width of the embedding.
        redundancy_weight: lambda in [0, 1]; 0 is taken as the limit from above.

    Returns:
        Budget, loss, number of active directions and waterline.

    Raises:
        ValueError: a correlation outside [0, 1], D below 1 or lambda outside [0, 1].
    """
    values = _checked(correlations, num_features, redundancy_weight)
    rho, order = values.sort(descending=True, stable=True)
    size = min(num_features, len(rho))
    found, waterline = _solve(rho[:size], num_features, redundancy_weight)
    num_active = int(((found > 0) & (rho[:size] > NO_INVARIANCE)).sum())
    missing = float((found * (1.0 - rho[:size])).sum())  # D - t, without cancellation
    redundant = float((1.0 - rho[:size] * found).square().sum()) + num_features - size
    return WaterFilling(
        budget=torch.zeros_like(rho).index_copy(0, order[:size], found),
        loss=(1.0 - redundancy_weight) * missing**2 / num_features + redundancy_weight * redundant,
        num_active=num_active,
        waterline=waterline,
        least_active=float(rho[num_active - 1]) if num_active else float("nan"),
        diagonal=1.0 - missing / num_features,
    )


def loss_of_use(used: Float[Tensor, " r"], num_features: int, redundancy_weight: float) -> Float64[Tensor, ""]:
    """Return the loss of a budget g that was chosen elsewhere, from what it uses: rho_k g_k of each direction.

    (1-lambda) (D-t)^2/D + lambda [ sum_{k<=d'} (1 - rho_k g_k)^2 + D - d' ], t = sum_k rho_k g_k, d' = min(D, r), for
    directions in descending order. Never below the least loss of the same rho.
    """
    leading = used[:num_features]
    missing, redundant = num_features - leading.sum(), (1.0 - leading).square().sum() + num_features - len(leading)
    loss: Tensor = (1.0 - redundancy_weight) * missing.square() / num_features + redundancy_weight * redundant
    return loss


def redundancy_weight_for(
    correlations: Float[Tensor, " d"] | Sequence[float], num_features: int, num_active: int | None = None
) -> float | None:
    """Return the lambda in [0, 1) above which the optimum uses at least a = `num_active` directions, None without one.

    rho_a = w_a(lambda), which is linear: with c = p (beta - rho_a) over the first a directions,
    lambda = (c (1 - beta) - e) / (D - e - c beta). At that lambda the last direction has no budget yet. By default a is
    as large as it can be, min(D, d).
    """
    rho = _checked(correlations, num_features, 1.0).sort(descending=True).values
    most = min(num_features, len(rho))
    wanted = most if num_active is None else num_active
    if not 1 <= wanted <= most:
        raise ValueError(f"num_active: got {wanted}, wanted 1 to {most} (D = {num_features}, {len(rho)} correlations)")
    if rho[wanted - 1] <= NO_INVARIANCE:
        return None
    _, beta, e, c = (float(part[-1]) for part in _prefixes(rho[:wanted]))
    if num_features <= c:
        return None
    return max(0.0, c * (1.0 - beta) - e) / (num_features - e - c * beta)


def num_features_for(
    correlations: Float[Tensor, " d"] | Sequence[float], redundancy_weight: float, at_most: int | None = None
) -> int:
    """Return the largest D at which the optimum uses all D outputs for directions of their own.

    A smaller D need not be better: D = 4 may leave one unused where D = 5, whose last two rho are close, uses all. D is
    looked for up to min(`at_most`, d), by default up to d; it is 0 where no rho is positive.
    """
    if at_most is not None and at_most < 1:
        raise ValueError(f"at_most: got {at_most}, wanted at least 1")
    rho = _checked(correlations, 1, redundancy_weight).sort(descending=True).values[:at_most]
    rho = rho[rho > NO_INVARIANCE]
    widths = torch.arange(1, len(rho) + 1, dtype=rho.dtype)
    return int((widths * _last_is_active(rho, widths, redundancy_weight)).max()) if len(rho) else 0


def _solve(rho: Tensor, num_features: int, weight: float) -> tuple[Tensor, float]:
    """Budget and waterline for descending rho, of which there are at most D."""
    budget = torch.zeros_like(rho)
    positive = rho[rho > NO_INVARIANCE]
    rank = len(positive)
    if not rank:
        return budget + num_features / len(rho), 0.0
    width = torch.tensor(float(num_features), dtype=rho.dtype)
    active = int(_last_is_active(positive, width, weight).nonzero().max()) + 1
    weight = max(weight, LEAST_WEIGHT)
    p, beta, e, _ = (float(part[active - 1]) for part in _prefixes(positive))
    h = (weight * num_features + (1.0 - weight) * e) / (1.0 - beta + weight * beta)
    waterline = beta - h / p
    used = positive[:active]
    if waterline < 0 and rank < len(rho):
        # Lowering every C_kk by noise is better than copies: each direction gets the same rho_k g_k, noise the rest.
        budget[:rank] = num_features / (weight * num_features + (1.0 - weight) * rank) / positive
        budget[rank:] = (num_features - budget[:rank].sum()) / (len(rho) - rank)
    else:
        budget[:active] = num_features / h * ((used - beta) + h / p).clamp(min=0.0) / used.square()
        budget *= num_features / budget.sum()
    return budget, max(0.0, waterline)


def _prefixes(rho: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For the first a of descending positive rho, a = 1..r: p, beta, e, and c = p (beta - rho_a).

    Sums of positive terms only, so that ties stay ties.
    """
    weights = rho.reciprocal().square()
    p = weights.cumsum(0)
    steps = p[:-1] * (rho[:-1] - rho[1:])
    c = torch.cat([rho.new_zeros(1), steps.cumsum(0)])[: len(rho)]
    beta = rho + c / p
    moves = weights[1:] * (p[:-1] / p[1:]) * (beta[:-1] - rho[1:]).square()
    e = torch.cat([rho.new_zeros(1), moves.cumsum(0)])[: len(rho)]
    return p, beta, e, c


def _last_is_active(rho: Tensor, width: Tensor, weight: float) -> Tensor:
    """Whether rho_a > w_a for every a, at one D or at one for each a: h > c, multiplied by its denominator."""
    _, beta, e, c = _prefixes(rho)
    weight = max(weight, LEAST_WEIGHT)
    return weight * width + (1.0 - weight) * e > c * (1.0 - beta + weight * beta)


def _checked(correlations: Tensor | Sequence[float], num_features: int, weight: float) -> Tensor:
    """Correlations as float64, with what rounding leaves outside [0, 1] put back."""
    rho = torch.as_tensor(correlations, dtype=torch.float64)
    if rho.ndim != 1 or not len(rho):
        raise ValueError(f"correlations: got shape {tuple(rho.shape)}, wanted one row of at least 1")
    outside = ~((rho >= -ROUNDING) & (rho <= 1.0 + ROUNDING))  # NaN is outside
    if outside.any():
        raise ValueError(f"correlations: got {float(rho[outside][0])}, wanted 0 to 1; clip estimates first")
    if num_features < 1:
        raise ValueError(f"num_features: got {num_features}, wanted at least 1")
    if not 0.0 <= weight <= 1.0:
        reason = "above 1 unequal diagonals can do better, and the formula is not valid"
        raise ValueError(f"redundancy_weight: got {weight}, wanted 0 to 1 ({reason})")
    return rho.clamp(0.0, 1.0)
