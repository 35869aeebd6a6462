"""A Barlow Twins loss taken apart: what the batch size, the backbone, the projector and sampling each add to it.

batch loss = floor + backbone limit + projector gap + sampling bias

floor            what no network can go below at N, D and lambda (theory/floors.py)
backbone limit   L* - floor: what the best linear projector on this backbone leaves (theory/water_filling.py)
projector gap    complete loss - L*: what this projector adds; below 0 where an MLP does what no linear one can
sampling bias    batch loss - complete loss: what correlations by chance add in a batch of N

All but the floor are estimates, and each has its error. The complete loss is estimated from one pair of views of each
image, L* from K views of each (optimistic and pessimistic, see `spectra.py`).
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from barlow.auditing.estimated_losses import sampling_bias
from barlow.auditing.quantities import number
from barlow.auditing.spectra import Spectra
from barlow.methods.barlow_twins import Normalization
from barlow.theory.floors import batch_floor, pearson_floor, raw_floor
from barlow.theory.jackknifed import Jackknifed
from barlow.theory.water_filling import num_features_for, redundancy_weight_for, water_filling

Record = dict[str, Any]
CENTRED = ("pearson", "scalar", "covariance", "whiten")
ROUNDING = 1e-12
"""Errors of less than this share of a value are those of float64 sums."""
NO_VARIANCE_BOUND = ("raw", "covariance")
"""Normalisations that leave the total variance free: C is P B P^T, and only the rank of B counts (Theorem 1)."""


def loss_taken_apart(
    z_a: Float[Tensor, "n p"],
    z_b: Float[Tensor, "n p"],
    known: Spectra,
    *,
    batch_size: int,
    redundancy_weight: float,
    normalization: Normalization,
    complete: Jackknifed,
    start: Jackknifed | None,
) -> Record:
    """Return "loss" of the figures.

    Args:
        z_a: embeddings of view a.
        z_b: embeddings of view b.
        known: spectra of h.
        batch_size: N of the run.
        redundancy_weight: lambda, at most 1.
        normalization: of the run; the limit of a linear projector is known for "pearson", and is `raw_floor` of the
            rank of B for "raw" and "covariance". Others have no parts.
        complete: `complete_loss` of these embeddings.
        start: the same before training, where it is known, in the same blocks of images.
    """
    width = z_a.shape[1]
    rank_of_batch = batch_size - 1 if normalization in CENTRED else batch_size
    floor = raw_floor(width, rank_of_batch, redundancy_weight)
    found: Record = {"normalization": normalization, "num_pairs": len(z_a), "floor": floor}
    found |= (
        _with_error("complete", complete) | _with_error("start", start) | _with_error("fall", _fall(start, complete))
    )
    bias = sampling_bias(
        z_a, z_b, float(complete.value),
        batch_size=batch_size, redundancy_weight=redundancy_weight, normalization=normalization,
    )  # fmt: skip
    found |= {"batch": None, "batch_error": None, "batch_measured_at": None}
    if bias is not None:
        error = math.hypot(float(complete.standard_error), bias[1])
        found |= {"batch": float(complete.value) + bias[0], "batch_error": number(error), "batch_measured_at": bias[2]}
    best, worst = limits(known, width=width, redundancy_weight=redundancy_weight, normalization=normalization)
    found |= _with_error("limit", best) | _with_error("limit_cross_fit", worst) | {"parts": []}
    if best is not None and bias is not None:
        gap = complete - best
        parts = {
            "floor": (floor, None),
            "backbone limit": (float(best.value) - floor, _error(best) or None),  # a count has no error
            "projector gap": (float(gap.value), _error(gap)),
            "sampling bias": (bias[0], number(bias[1])),
        }
        found["parts"] = [{"name": name, "value": value, "error": error} for name, (value, error) in parts.items()]
    return found


def limits(
    known: Spectra, *, width: int, redundancy_weight: float, normalization: Normalization
) -> tuple[Jackknifed, Jackknifed] | tuple[None, None]:
    """Return the least loss of a linear projector, optimistic and pessimistic; None where no such number is known.

    Args:
        known: spectra of h.
        width: D.
        redundancy_weight: lambda, at most 1.
        normalization: "pearson": Theorem 2, of plug-in and cross-fit correlations. "raw" and "covariance": Theorem 1,
            of the upper and lower end of the rank of B; those are counts that have an interval already, and no error.
    """
    if normalization == "pearson":
        return pearson_limits(known, width, redundancy_weight)
    if normalization not in NO_VARIANCE_BOUND:
        return None, None
    rank, free, num_features = known.between_rank, int(normalization == "raw"), known.basis.shape[1]
    ranks = [min(rank[end] + free, num_features) for end in ("high", "low")]  # the mean may lie in the span of B
    best, worst = (raw_limit(one, width, redundancy_weight) for one in ranks)
    num_blocks = len(known.plug_in.left_out)
    return _without_error(best, num_blocks), _without_error(worst, num_blocks)


def pearson_limits(known: Spectra, width: int, redundancy_weight: float) -> tuple[Jackknifed, Jackknifed]:
    """Return the least Pearson loss of a linear projector by plug-in and by cross-fit correlations (Theorem 2)."""

    def limit(correlations: Tensor) -> float:
        return pearson_limit(correlations, width, redundancy_weight)

    return known.plug_in.map(limit), known.cross_fit.map(limit)


def pearson_limit(correlations: Tensor, width: int, redundancy_weight: float) -> float:
    """Return `pearson_floor`; D for features without variance, of which every C is 0."""
    return pearson_floor(correlations, width, redundancy_weight) if len(correlations) else float(width)


def raw_limit(rank: int, width: int, redundancy_weight: float) -> float:
    """Return `raw_floor` of C = P B P^T; D where no direction is known to differ between images, and C is 0.

    Args:
        rank: of B; one more where C is not centred, for the mean is a direction that all images share.
        width: D.
        redundancy_weight: lambda, at most 1.
    """
    return raw_floor(width, rank, redundancy_weight) if rank else float(width)


def with_waterline(spectrum: Record, known: Spectra, *, width: int, redundancy_weight: float) -> Record:
    """Return the spectrum with the budget of the best linear projector and its waterline, from both ends.

    Args:
        spectrum: of the figures.
        known: the spectra that it was taken from.
        width: D.
        redundancy_weight: lambda, at most 1.
    """
    if not len(known.plug_in.value) or not len(known.cross_fit.value):
        return spectrum
    found = dict(spectrum)
    found["budget"] = water_filling(known.plug_in.value, width, redundancy_weight).budget.tolist()

    def waterline(rho: Tensor) -> float:
        return water_filling(rho, width, redundancy_weight).waterline

    def num_active(rho: Tensor) -> float:
        return float(water_filling(rho, width, redundancy_weight).num_active)

    for end, rho in (("", known.plug_in), ("_cross_fit", known.cross_fit)):
        found |= _with_error(f"num_active{end}", rho.map(num_active))
        found |= _with_error(f"waterline{end}", rho.map(waterline))
    return found


def advice(correlations: Sequence[float], *, width: int, redundancy_weight: float) -> Record:
    """Return the smallest lambda and the largest D at which the best linear projector uses all it can."""
    if not correlations:
        return {}
    return {
        "redundancy_weight_for_all": redundancy_weight_for(correlations, width),
        "width_for_all": num_features_for(correlations, redundancy_weight, width) or None,
    }


def floor_curves(
    known: Spectra, *, width: int, redundancy_weight: float, batch_size: int | None
) -> dict[str, list[Record]]:
    """Return the floors against D, lambda and N, around the settings of the run: closed forms only.

    Args:
        known: spectra of h. "pearson" is of the plug-in correlations; "raw", of the centred loss without
            normalisation, is of the upper end of the rank of B: the lowest that the images leave possible.
        width: D.
        redundancy_weight: lambda, at most 1.
        batch_size: N, where it is known.
    """
    rho, rank = known.plug_in.value, known.between_rank["high"]

    def row(x: float, features: int, weight: float) -> Record:
        batch = None if batch_size is None else batch_floor(batch_size, features, weight)
        raw, pearson = raw_limit(rank, features, weight), pearson_limit(rho, features, weight)
        return {"x": x, "raw": raw, "batch": batch, "pearson": pearson}

    widths = sorted({width, *(2**k for k in range(4, 15))})
    weights = sorted({redundancy_weight, *(10 ** (-4 + k / 2) for k in range(9))})
    sizes = sorted({*(2**k for k in range(4, 15)), *([batch_size] if batch_size else [])})
    return {
        "width": [row(float(d), d, redundancy_weight) for d in widths],
        "redundancy_weight": [row(weight, width, weight) for weight in weights if weight <= 1],
        "batch_size": [{"x": n, "batch": batch_floor(n, width, redundancy_weight)} for n in sizes],
    }


def _without_error(value: float, num_blocks: int) -> Jackknifed:
    whole = torch.tensor(value, dtype=torch.float64)
    return Jackknifed(whole, whole.expand(num_blocks))


def _fall(start: Jackknifed | None, complete: Jackknifed) -> Jackknifed | None:
    """The part of the loss before training by which it fell; None where there was none to fall."""
    return (start - complete) / start if start is not None and float(start.value) > 0 else None


def _with_error(name: str, found: Jackknifed | None) -> Record:
    if found is None:
        return {name: None, f"{name}_error": None}
    return {name: number(found.value), f"{name}_error": _error(found)}


def _error(found: Jackknifed) -> float | None:
    """The standard error, None where no replicate is known; equal replicates have none but that of rounding."""
    error = number(found.standard_error)
    return 0.0 if error is not None and error < ROUNDING * abs(float(found.value)) else error
