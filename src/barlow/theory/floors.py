"""What no network can go below: lower bounds of the Barlow Twins loss that hold before any training.

raw_floor(D, r, lambda)         any C of rank r, the raw loss (Theorem 1)
batch_floor(N, D, lambda)       any network on N samples: rank N - 1
welch_bound(D, r, lambda)       rank r and all C_ii = 1: perfect invariance, standardised
pearson_floor(rho, D, lambda)   a linear projector with standardised outputs on a given backbone (Theorem 2)
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from barlow.theory.water_filling import water_filling


def raw_floor(num_features: int, rank: int, redundancy_weight: float) -> float:
    """Least Barlow Twins loss of a D x D matrix C of rank r.

    0 if D <= r, else  D lk / (1 + lk)  with  lk = lambda (D/r - 1)  (lambda <= 1): with t = tr C,
    |C|_F^2 >= t^2/r and sum_i C_ii^2 >= t^2/D, so  L >= D - 2t + (1-lambda) t^2/D + lambda t^2/r;
    the minimum over t is attained by a scaled equal-norm tight frame.

    Args:
        num_features: D, width of the embedding.
        rank: r, largest possible rank of C.
        redundancy_weight: lambda in [0, 1]; above 1 unequal diagonals can do better and the bound is not valid.

    Returns:
        The bound, in units of the loss.

    Raises:
        ValueError: a size below 1 or lambda outside [0, 1].
    """
    for name, value in (("num_features", num_features), ("rank", rank)):
        if value < 1:
            raise ValueError(f"{name}: got {value}, wanted at least 1")
    if not 0.0 <= redundancy_weight <= 1.0:
        raise ValueError(f"redundancy_weight: got {redundancy_weight}, wanted 0 to 1 (the bound needs convexity)")
    lk = redundancy_weight * max(0.0, num_features / rank - 1.0)
    return num_features * lk / (1.0 + lk)


def batch_floor(num_samples: int, num_features: int, redundancy_weight: float) -> float:
    """Least loss that any network can reach on a batch of N samples: `raw_floor` with rank N - 1.

    Centring takes one of the N ranks. It holds for every normalisation that centres the features per view;
    without centring the rank is N and the bound `raw_floor(D, N, lambda)`.

    >>> round(batch_floor(256, 8192, 0.0051)), round(batch_floor(2048, 8192, 0.0051), 1)
    (1122, 123.5)

    Args:
        num_samples: N, the batch over all processes, at least 2.
        num_features: D, width of the embedding.
        redundancy_weight: lambda in [0, 1].

    Returns:
        The floor, in units of the loss.

    Raises:
        ValueError: fewer than 2 samples, or what `raw_floor` refuses.
    """
    if num_samples < 2:
        raise ValueError(f"num_samples: got {num_samples}, wanted at least 2")
    return raw_floor(num_features, num_samples - 1, redundancy_weight)


def welch_bound(num_features: int, rank: int, redundancy_weight: float) -> float:
    """Least Barlow Twins loss of a D x D matrix C of rank r with all C_ii = 1: lambda (D^2/r - D) if D > r, else 0.

    |C|_F^2 >= (tr C)^2/r = D^2/r. It is what perfect invariance costs where the rank does not suffice, and never
    below `raw_floor`, which may lower C_ii a little to save copies.

    >>> round(welch_bound(8192, 2047, 0.0051), 1), round(raw_floor(8192, 2047, 0.0051), 1)
    (125.4, 123.5)

    Args:
        num_features: D, width of the embedding.
        rank: r, largest possible rank of C.
        redundancy_weight: lambda, at least 0.

    Returns:
        The bound, in units of the loss.

    Raises:
        ValueError: a size below 1 or lambda below 0.

    Source:
        Welch, "Lower bounds on the maximum cross correlation of signals" (1974).
    """
    for name, value in (("num_features", num_features), ("rank", rank)):
        if value < 1:
            raise ValueError(f"{name}: got {value}, wanted at least 1")
    if not redundancy_weight >= 0.0:
        raise ValueError(f"redundancy_weight: got {redundancy_weight}, wanted at least 0")
    return redundancy_weight * num_features * max(0.0, num_features / rank - 1.0)


def pearson_floor(
    correlations: Float[Tensor, " d"] | Sequence[float], num_features: int, redundancy_weight: float
) -> float:
    """Least Pearson loss that a linear projector reaches on features with these intraclass correlations.

    min { D - 2t + (1-lambda) t^2/D + lambda sum_{k<=d'} rho_k^2 g_k^2 :  g >= 0, sum_k g_k = D }, t = sum_k rho_k g_k,
    d' = min(D, d): Theorem 2, solved in `water_filling`, whose budget and waterline say more. It is of the complete
    loss: over all images and all pairs of views. A projector with a hidden layer can go below. For D <= d it falls in
    every rho, so that with the eigenvalues of the augmentations for rho no network goes below (docs/related-work.md).

    It is attained where a Hadamard matrix of size D exists, at lambda = 1 for every D, and nearly everywhere else
    (`equal_diagonals`): for rho = (0.9, 0.7, 0.5, 0.3) and lambda = 0.2 `pearson_projector` reaches it at D = 5, 6, 7,
    9, 10 and 11, and stays 0.0013 above it at D = 3. The other exception is odd D with two active directions, where
    it is a lower bound: for rho = (0.9, 0.5), lambda = 0.2 and D = 5 it is 1.239478, and the best that was found
    1.265984. Equal diagonals would take rows (+-c, +-s) there, whose products cancel for even D only.

    >>> round(pearson_floor([1.0, 0.5], 2, 1.0), 6)
    0.2

    Args:
        correlations: (d,) rho, the eigenvalues of T^-1/2 B T^-1/2, each in [0, 1].
        num_features: D, width of the embedding.
        redundancy_weight: lambda in [0, 1]; above 1 equal diagonals need not be best, and no such formula is known.

    Returns:
        The floor, in units of the loss.

    Raises:
        ValueError: a correlation outside [0, 1], D below 1 or lambda outside [0, 1].
    """
    return water_filling(correlations, num_features, redundancy_weight).loss
