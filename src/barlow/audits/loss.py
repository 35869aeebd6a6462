"""A Barlow Twins loss taken apart: what the batch size, the backbone, the projector and sampling each add to it.

batch loss = floor + best linear projector + projector gap + sampling bias

floor                   what no network can go below at N, D and lambda (theory/floors.py)
best linear projector   L* - floor: what the best one on this backbone leaves (theory/water_filling.py)
projector gap           complete loss - L*: what this projector adds; below 0 where an MLP does what no linear one can
sampling bias           batch loss - complete loss: what correlations by chance add in a batch of N

All but the floor are estimates, and each has its error. The complete loss is estimated from one pair of views of each
sample, L* from K views of each, from two sides (see `spectra.py`).
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from barlow.audits.estimated_losses import sampling_bias
from barlow.audits.quantities import jackknifed, measured
from barlow.audits.settings import NO_VARIANCE_BOUND
from barlow.audits.spectra import Scores, Spectra
from barlow.figures import (
    NUM_ERRORS,
    Advice,
    BatchFloor,
    Floor,
    Floors,
    Loss,
    LossParts,
    Measured,
    Range,
    Spectrum,
)
from barlow.methods.barlow_twins import Normalization
from barlow.theory.floors import batch_floor, pearson_floor, raw_floor
from barlow.theory.standard_errors import Jackknifed
from barlow.theory.water_filling import loss_of_use, num_features_for, redundancy_weight_for, water_filling

CENTRED = ("pearson", "scalar", "covariance", "whiten")
ROUNDING = 1e-12
"""Errors of less than this share of a value are those of float64 sums."""


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
) -> Loss:
    """Return the loss with its parts.

    The limit of a linear projector is known for "pearson", and is `raw_floor` of the rank of B for "raw" and
    "covariance"; other normalisations have no parts. Lambda is at most 1; `complete` is `complete_loss` of these
    embeddings, and `start` the same before training, where it is known, in the same blocks of samples.
    """
    width = z_a.shape[1]
    rank_of_batch = batch_size - 1 if normalization in CENTRED else batch_size
    floor = Measured(raw_floor(width, rank_of_batch, redundancy_weight))
    best, worst = limits(known, width=width, redundancy_weight=redundancy_weight, normalization=normalization)
    found = Loss(
        normalization=normalization, num_pairs=len(z_a), floor=floor,
        complete=_rounded(complete), start=_rounded(start), fall=_rounded(_fall(start, complete)),
        limit=best, limit_cross_fit=worst,
    )  # fmt: skip
    bias = sampling_bias(
        z_a, z_b, float(complete.value),
        batch_size=batch_size, redundancy_weight=redundancy_weight, normalization=normalization,
    )  # fmt: skip
    if bias is None:
        return found
    added, error, size = bias
    batch = measured(complete.value + added, math.hypot(float(complete.standard_error), error))
    parts = LossParts()
    if best is not None:
        gap = _error_of_gap(complete, best, known, width, redundancy_weight)
        parts = LossParts(
            floor=floor,
            backbone_limit=Measured(best.value - floor.value, best.error or None),  # a count has no error
            projector_gap=measured(complete.value - best.value, gap),
            sampling_bias=measured(added, error),
        )
    return replace(found, batch=batch, batch_measured_at=size, parts=parts)


def limits(
    known: Spectra, *, width: int, redundancy_weight: float, normalization: Normalization
) -> tuple[Measured | None, Measured | None]:
    """Return the least loss of a linear projector, and where it is a count both ends; None where it is not known.

    "pearson": Theorem 2, one number with its error. "raw" and "covariance": Theorem 1, of the upper and lower end of
    the rank of B; those are counts that have an interval already, and no error. Lambda is at most 1.
    """
    if normalization == "pearson":
        return least_pearson_loss(known, width, redundancy_weight), None
    if normalization not in NO_VARIANCE_BOUND:
        return None, None
    (_, low, high), free, num_features = known.between_rank, int(normalization == "raw"), known.basis.shape[1]
    ranks = [min(end + free, num_features) for end in (high, low)]  # the mean may lie in the span of B
    best, worst = (Measured(raw_limit(one, width, redundancy_weight), 0.0) for one in ranks)
    return best, worst


def least_pearson_loss(known: Spectra, width: int, redundancy_weight: float) -> Measured:
    """Return the least Pearson loss of a linear projector (Theorem 2) with an error that holds the truth.

    From two sides, both corrected: by plug-in correlations, which chance spreads too far apart, and as the loss of the
    budget that all samples but one block choose, on that block. The value is the middle, and two errors reach the
    farther end of either with its own error; coverage is on `docs/calibration.md`.
    """

    def limit(correlations: Tensor) -> float:
        return pearson_limit(correlations, width, redundancy_weight)

    chosen = known.plug_in.map(limit)
    sides = [(chosen.corrected, chosen.corrected_error)]
    if known.scores is not None and known.scores.chosen.shape[1]:
        judged = _judged(known.scores, width, redundancy_weight)
        sides += [(judged.corrected, judged.corrected_error)]
    value = min(max(sum(float(side) for side, _ in sides) / len(sides), 0.0), float(width))
    if known.scores is not None and known.scores.chosen.shape[1]:
        sides += [(judged.value, judged.standard_error)]  # uncorrected, it errs on the high side
    ends = [float(side + sign * NUM_ERRORS * error) for side, error in sides for sign in (-1, 1)]
    low, high = max(0.0, min(ends)), min(float(width), max(ends))
    error = max(value - low, high - value, 0.0) / NUM_ERRORS
    return Measured(value, 0.0 if error < ROUNDING * value else error, least=0.0)


def _error_of_gap(complete: Jackknifed, best: Measured, known: Spectra, width: int, redundancy_weight: float) -> float:
    """Error of complete loss less the best: chance moves both alike, and what else the best has comes on top."""
    if not best.error:
        return float(complete.standard_error)
    chosen = known.plug_in.map(lambda rho: pearson_limit(rho, width, redundancy_weight))
    if len(chosen.left_out) != len(complete.left_out):
        return math.hypot(float(complete.standard_error), best.error)
    more = max(0.0, best.error**2 - float(chosen.standard_error) ** 2)
    return math.hypot(float((complete - chosen).standard_error), math.sqrt(more))


def _judged(scores: Scores, width: int, redundancy_weight: float) -> Jackknifed:
    """The loss of the budget that all blocks but one choose, on that one."""
    budget = torch.stack([water_filling(rho, width, redundancy_weight).budget for rho in scores.chosen])
    return scores.over_blocks(lambda g: loss_of_use(scores.weighted(budget, g), width, redundancy_weight))


def pearson_limit(correlations: Tensor, width: int, redundancy_weight: float) -> float:
    """Return `pearson_floor`; D for features without variance, of which every C is 0."""
    return pearson_floor(correlations, width, redundancy_weight) if len(correlations) else float(width)


def raw_limit(rank: int, width: int, redundancy_weight: float) -> float:
    """Return `raw_floor` of C = P B P^T; D where no direction is known to differ between samples, and C is 0.

    `rank` is of B; one more where C is not centred, for the mean is a direction that all samples share.
    """
    return raw_floor(width, rank, redundancy_weight) if rank else float(width)


def with_waterline(spectrum: Spectrum, known: Spectra, *, width: int, redundancy_weight: float) -> Spectrum:
    """Return the spectrum with the budget of the best linear projector and its waterline, from both ends."""
    if not len(known.plug_in.value) or not len(known.cross_fit.value):
        return spectrum

    def waterline(rho: Tensor) -> float:
        return water_filling(rho, width, redundancy_weight).waterline

    def num_active(rho: Tensor) -> float:
        return float(water_filling(rho, width, redundancy_weight).num_active)

    plug_in, cross_fit = known.plug_in.value, known.cross_fit.value
    return replace(  # no errors: both jump where correlations are equal or 0, and have a range instead
        spectrum,
        budget=water_filling(plug_in, width, redundancy_weight).budget.tolist(),
        num_active=Measured(num_active(plug_in)),
        num_active_cross_fit=Measured(num_active(cross_fit)),
        num_active_range=Range(num_active(cross_fit), *known.range_of(num_active)),
        waterline=Measured(waterline(plug_in)),
        waterline_cross_fit=Measured(waterline(cross_fit)),
        waterline_range=Range(waterline(cross_fit), *known.range_of(waterline)),
    )


def advice(correlations: Sequence[float], *, width: int, redundancy_weight: float) -> Advice:
    """Return the smallest lambda and the largest D at which the best linear projector uses all it can."""
    if not correlations:
        return Advice()
    return Advice(
        redundancy_weight_for(correlations, width),
        num_features_for(correlations, redundancy_weight, width) or None,
    )


def floor_curves(known: Spectra, *, width: int, redundancy_weight: float, batch_size: int | None) -> Floors:
    """Return the floors against D, lambda and N, around the settings of the run: closed forms only.

    "pearson" is of the plug-in correlations; "raw", of the centred loss without normalisation, is of the upper end of
    the rank of B: the lowest that the samples leave possible.
    """
    rho, (*_, rank) = known.plug_in.value, known.between_rank

    def floor(x: float, features: int, weight: float) -> Floor:
        batch = None if batch_size is None else batch_floor(batch_size, features, weight)
        raw, pearson = raw_limit(rank, features, weight), pearson_limit(rho, features, weight)
        return Floor(x=x, batch=batch, raw=raw, pearson=pearson)

    widths = sorted({width, *(2**k for k in range(4, 15))})
    weights = sorted({redundancy_weight, *(10 ** (-4 + k / 2) for k in range(9))})
    sizes = sorted({*(2**k for k in range(4, 15)), *([batch_size] if batch_size else [])})
    return Floors(
        width=[floor(float(d), d, redundancy_weight) for d in widths],
        redundancy_weight=[floor(weight, width, weight) for weight in weights if weight <= 1],
        batch_size=[BatchFloor(n, batch_floor(n, width, redundancy_weight)) for n in sizes],
    )


def _fall(start: Jackknifed | None, complete: Jackknifed) -> Jackknifed | None:
    """The part of the loss before training by which it fell; None where there was none to fall."""
    return (start - complete) / start if start is not None and float(start.value) > 0 else None


def _rounded(found: Jackknifed | None) -> Measured | None:
    """The number with its error; equal replicates have none but that of rounding, which is 0."""
    if found is None:
        return None
    known = jackknifed(found)
    return replace(known, error=0.0) if known.error is not None and known.error < ROUNDING * abs(known.value) else known
