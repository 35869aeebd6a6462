"""What no network can go below: lower bounds of the Barlow Twins loss that hold before any training."""


def raw_floor(num_features: int, rank: int, redundancy_weight: float) -> float:
    """Least Barlow Twins loss of a D x D matrix C of rank r.

    0 if D <= r, else  D lk / (1 + lk)  with  lk = lambda (D/r - 1)  (lambda <= 1): with t = tr C,
    |C|_F^2 >= t^2/r and sum_i C_ii^2 >= t^2/D, so  L >= D - 2t + (1-lambda) t^2/D + lambda t^2/r;
    the minimum over t is attained by a scaled equal-norm tight frame.

    Args:
        num_features: D, width of the embedding.
        rank: r, largest possible rank of C.
        redundancy_weight: lambda in (0, 1]; above 1 unequal diagonals can do better and the bound is not valid.

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
