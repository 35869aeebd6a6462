"""A Barlow Twins loss taken apart: what the batch size, the backbone, the projector and sampling each add to it.

batch loss = floor + backbone limit + projector gap + sampling bias

floor            what no network can go below at N, D and lambda (theory/floors.py)
backbone limit   L* - floor: what the best linear projector on this backbone leaves (theory/water_filling.py)
projector gap    complete loss - L*: what this projector adds; below 0 where an MLP does what no linear one can
sampling bias    batch loss - complete loss: what correlations by chance add in a batch of N
"""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from barlow.methods.barlow_twins import Bias, Normalization, barlow_twins_loss
from barlow.theory.floors import batch_floor, pearson_floor, raw_floor
from barlow.theory.water_filling import num_features_for, redundancy_weight_for, water_filling

Record = dict[str, Any]
BATCHES = 16
"""Batches behind the batch loss."""
CENTRED = ("pearson", "scalar", "covariance", "whiten")


def complete_loss(
    z_a: Float[Tensor, "n p"], z_b: Float[Tensor, "n p"], *, redundancy_weight: float, normalization: Normalization
) -> float:
    """Return the loss of the complete C, estimated without the bias of the sample (whitened views: with it)."""
    bias: Bias = "kept" if normalization == "whiten" else "removed"
    terms = barlow_twins_loss(z_a, z_b, redundancy_weight=redundancy_weight, normalization=normalization, bias=bias)
    return float(terms.total)


def batch_loss(
    z_a: Float[Tensor, "n p"],
    z_b: Float[Tensor, "n p"],
    *,
    batch_size: int,
    redundancy_weight: float,
    normalization: Normalization,
) -> float:
    """Return the mean loss of random batches of N of these images."""
    generator = torch.Generator().manual_seed(0)
    size = min(batch_size, len(z_a))
    losses = []
    for _ in range(BATCHES):
        rows = torch.randperm(len(z_a), generator=generator)[:size]
        terms = barlow_twins_loss(
            z_a[rows], z_b[rows], redundancy_weight=redundancy_weight, normalization=normalization
        )
        losses.append(float(terms.total))
    return fmean(losses)


def loss_taken_apart(
    z_a: Float[Tensor, "n p"],
    z_b: Float[Tensor, "n p"],
    correlations: Sequence[float],
    cross_fit: Sequence[float],
    *,
    batch_size: int,
    redundancy_weight: float,
    normalization: Normalization,
    start: float | None,
) -> Record:
    """Return "loss" of the figures.

    Args:
        z_a: embeddings of view a.
        z_b: embeddings of view b.
        correlations: rho of h, plug-in.
        cross_fit: rho of h, one half's directions in the other half.
        batch_size: N of the run.
        redundancy_weight: lambda, at most 1.
        normalization: of the run; the limit of a linear projector is known for "pearson", and is `raw_floor` for "raw"
            and "covariance". Others have no parts.
        start: complete loss before training, where it is known.
    """
    width = z_a.shape[1]
    same: Any = {"redundancy_weight": redundancy_weight, "normalization": normalization}
    batch, complete = batch_loss(z_a, z_b, batch_size=batch_size, **same), complete_loss(z_a, z_b, **same)
    rank_of_batch = batch_size - 1 if normalization in CENTRED else batch_size
    floor = raw_floor(width, rank_of_batch, redundancy_weight)
    found: Record = {"normalization": normalization, "start": start, "batch": batch, "complete": complete}
    found |= {"floor": floor, "limit": None, "limit_cross_fit": None, "parts": []}
    if normalization == "pearson":
        found["limit"] = pearson_floor(correlations, width, redundancy_weight)
        found["limit_cross_fit"] = pearson_floor(cross_fit, width, redundancy_weight)
    elif normalization in ("raw", "covariance"):
        found["limit"] = found["limit_cross_fit"] = raw_floor(width, len(correlations), redundancy_weight)
    if found["limit"] is not None:
        parts = {
            "floor": floor,
            "backbone limit": found["limit"] - floor,
            "projector gap": complete - found["limit"],
            "sampling bias": batch - complete,
        }
        found["parts"] = [{"name": name, "value": value} for name, value in parts.items()]
    return found


def with_waterline(spectrum: Record, *, width: int, redundancy_weight: float) -> Record:
    """Return the spectrum with the budget of the best linear projector and its waterline."""
    filled = water_filling(spectrum["plug_in"], width, redundancy_weight)
    return spectrum | {
        "budget": filled.budget.tolist(),
        "waterline": filled.waterline,
        "num_active": filled.num_active,
    }


def advice(correlations: Sequence[float], *, width: int, redundancy_weight: float) -> Record:
    """Return the smallest lambda and the largest D at which the best linear projector uses all it can."""
    return {
        "redundancy_weight_for_all": redundancy_weight_for(correlations, width),
        "width_for_all": num_features_for(correlations, redundancy_weight, width) or None,
    }


def floor_curves(
    correlations: Sequence[float], *, width: int, redundancy_weight: float, batch_size: int | None
) -> dict[str, list[Record]]:
    """Return the floors against D, lambda and N, around the settings of the run: closed forms only."""

    def row(x: float, features: int, weight: float) -> Record:
        batch = None if batch_size is None else batch_floor(batch_size, features, weight)
        raw = raw_floor(features, max(1, len(correlations)), weight)
        return {"x": x, "raw": raw, "batch": batch, "pearson": pearson_floor(correlations, features, weight)}

    widths = sorted({width, *(2**k for k in range(4, 15))})
    weights = sorted({redundancy_weight, *(10 ** (-4 + k / 2) for k in range(9))})
    sizes = sorted({*(2**k for k in range(4, 15)), *([batch_size] if batch_size else [])})
    return {
        "width": [row(float(d), d, redundancy_weight) for d in widths],
        "redundancy_weight": [row(weight, width, weight) for weight in weights if weight <= 1],
        "batch_size": [{"x": n, "batch": batch_floor(n, width, redundancy_weight)} for n in sizes],
    }
