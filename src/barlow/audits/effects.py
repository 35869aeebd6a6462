"""What each transform of a pipeline does to the features of a backbone: alone, among the others, and by strength.

Per sample two draws p and p' of all parameters are made. h(p) and h(p') give the variances B, W, T; for each
transform t

    h(p with t from p')     differs from h(p) in t only (total effect), and shares with h(p') t only (first order)
    h(t of p, nothing else) against h(nothing at all)                                            (marginal effect)

so m transforms take 3 + 2 m passes of each sample. "Nothing at all" is the pipeline with every transform left out, not
the plain view of evaluation, which may be resized with another filter. Which parameters are one transform is said in
`transforms.py`; the estimators are those of `theory/effects.py`.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from barlow.audits.blocks import Arrangement, arranged
from barlow.audits.quantities import measured
from barlow.audits.transforms import Transform, transform_named, transforms_of
from barlow.figures import Direction
from barlow.seams import AdjustableView, Params, Source, View, Views, nothing_applied
from barlow.theory.effects import half_distance_share, squared_distances
from barlow.theory.intraclass import intraclass_correlations
from barlow.theory.invariance import VarianceComponents, variance_components
from barlow.theory.moments import Moments
from barlow.theory.standard_errors import Jackknifed

BATCH_SIZE = 256
EFFECT_IMAGES = 1024
"""Samples behind the effects: a share of a half is then known to about a percent, with 30 passes of each."""
NUM_DIRECTIONS = 5
"""So many are told apart by their correlations on a few thousand samples; the page has room for them."""
Represent = Callable[[Any], Tensor]


@dataclass(frozen=True)
class TransformEffect:
    """What one transform does, as shares of a variance of h, each with its standard error over samples.

    NaN for features without variance.

    Attributes:
        marginal: E |h(tx) - h(x)|^2 / (2 tr B), the transform alone; 1: it moves a sample as far as to another. NaN
            or far above 1, with a large error, where h says next to nothing of the sample.
        total_effect: share of tr T that needs the transform, interactions with others included.
        first_order: share of tr T that the transform makes by itself.
        along: for each direction asked for, the total share of the variance along it; empty without directions.
    """

    name: str
    marginal: float
    marginal_error: float
    total_effect: float
    total_effect_error: float
    first_order: float
    first_order_error: float
    along: tuple[float, ...]
    along_error: tuple[float, ...]
    num_images: int


@torch.inference_mode()
def transform_effects(
    represent: Represent,
    source: Source,
    view: View,
    *,
    num_images: int = EFFECT_IMAGES,
    seed: int = 0,
    parts: bool = False,
    only: Collection[str] | None = None,
    directions: Float[Tensor, "m d"] | None = None,
    batch_size: int = BATCH_SIZE,
) -> dict[str, TransformEffect]:
    """Measure what each transform of a pipeline does to h, by name, in the order of the pipeline.

    `represent` (view -> (n, d), in evaluation mode) may also be any layer behind h. `view` is to accept parameters with
    transforms replaced or left out; of a located one the samples are taken. Of `source` at least 3 samples are used,
    evenly spread. `parts`: parts of transforms are measured as well ("affine.rotation", beside "affine"). The rows of
    `directions`, for `along`, are those of an `IntraclassSpectrum`, best of other samples, because on their own they
    look more invariant than they are. Fewer samples, or features that are not finite, raise ValueError.
    """
    (view,) = Views((view,)).bare().pipelines
    pairs: list[Tensor] = []
    squares: dict[str, list[Tensor]] = {}
    transforms: tuple[Transform, ...] = ()
    plan = _plan(source, view, num_images, batch_size)
    for samples, [(drawn, other)] in _draws(source, [view], plan, seed):
        transforms = transforms or tuple(
            t for t in transforms_of(view, drawn, parts=parts) if only is None or t.name in only
        )
        plain = _features(represent, nothing_applied(view, samples))
        h, h_other = (_features(represent, view.apply(samples, params)) for params in (drawn, other))
        pairs.append(torch.stack([h, h_other], dim=1))
        for transform in transforms:
            alone = _features(represent, view.apply(samples, transform.alone(drawn)))
            replaced = _features(represent, view.apply(samples, transform.replace(drawn, other)))
            columns = [squared_distances(*two) for two in ((plain, alone), (h, replaced), (h_other, replaced))]
            row = torch.stack(columns, dim=1)
            if directions is not None:
                row = torch.cat([row, _along(h - replaced, directions).square()], dim=1)
            squares.setdefault(transform.name, []).append(row)
    h_views = plan.rows(torch.cat(pairs))
    components = variance_components(h_views)
    along = None if directions is None else variance_components(_along(h_views, directions)).total
    return {name: _effect(name, plan.rows(torch.cat(rows)), components, along) for name, rows in squares.items()}


def _effect(
    name: str, squares: Float64[Tensor, "n columns"], components: VarianceComponents, along: Jackknifed | None
) -> TransformEffect:
    """Make the figures of squared distances: marginal, total, unexplained by this transform, then by direction."""
    marginal = half_distance_share(squares[:, 0], components.between_trace)
    total = half_distance_share(squares[:, 1], components.total_trace)
    unexplained = half_distance_share(squares[:, 2], components.total_trace)
    first_order = components.within_trace / components.total_trace - unexplained
    by_direction = None if along is None else half_distance_share(squares[:, 3:], along)
    return TransformEffect(
        name=name,
        marginal=float(marginal.value),
        marginal_error=float(marginal.standard_error),
        total_effect=float(total.value),
        total_effect_error=float(total.standard_error),
        first_order=float(first_order.value),
        first_order_error=float(first_order.standard_error),
        along=() if by_direction is None else tuple(by_direction.value.tolist()),
        along_error=() if by_direction is None else tuple(by_direction.standard_error.tolist()),
        num_images=len(squares),
    )


@dataclass(frozen=True)
class CurvePoint:
    """One point of a strength curve.

    Attributes:
        magnitude: 0: the transform does nothing, 1: as the pipeline has it.
        total_effect: in units of tr T at magnitude 1; its standard error is over samples.
    """

    magnitude: float
    total_effect: float
    total_effect_error: float


@torch.inference_mode()
def strength_curve(
    represent: Represent,
    source: Source,
    view: View,
    transform: str,
    magnitudes: Sequence[float],
    *,
    num_images: int = EFFECT_IMAGES,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
) -> list[CurvePoint]:
    """Measure the total effect of one transform from nothing to its full strength, and beyond if asked for.

    The strengths of the transform are scaled and everything else is drawn as before, so all points have the same
    samples, the same other transforms and the same random numbers; at magnitude 1 it is `transform_effects` of the same
    seed and number of samples. Where a curve stops rising, more of the transform changes nothing more; where it leaves
    0, invariance ends.

    `view` is an `AdjustableView`, not wrapped by `Views.on`: let `represent` move the views. `transform` has
    magnitudes, such as "affine", or is a part of one, such as "affine.rotation"; what has none, or a magnitude below 0
    or that the pipeline cannot have, raises ValueError.
    """
    (view,) = Views((view,)).bare().pipelines
    if not isinstance(view, AdjustableView):
        raise ValueError(
            f"view: got {type(view).__name__}, wanted an AdjustableView, such as one of barlow.image_views"
        )
    pipelines = [view, *(view.scaled(transform, magnitude) for magnitude in magnitudes)]
    pairs: list[Tensor] = []
    squares: list[list[Tensor]] = [[] for _ in magnitudes]
    plan = _plan(source, view, num_images, batch_size)
    for samples, draws in _draws(source, pipelines, plan, seed):
        moving = transform_named(view, transform, draws[0][0])
        pairs.append(torch.stack([_features(represent, view.apply(samples, params)) for params in draws[0]], dim=1))
        for found, pipeline, (drawn, other) in zip(squares, pipelines[1:], draws[1:], strict=True):
            if not set(moving.keys) <= set(drawn):  # at magnitude 0 there is nothing to draw
                found.append(torch.zeros(len(pairs[-1]), dtype=torch.float64))
                continue
            views = (pipeline.apply(samples, params) for params in (drawn, moving.replace(drawn, other)))
            found.append(squared_distances(*(_features(represent, made) for made in views)))
    total_trace = variance_components(plan.rows(torch.cat(pairs))).total_trace
    points = []
    for magnitude, found in zip(magnitudes, squares, strict=True):
        share = half_distance_share(plan.rows(torch.cat(found)), total_trace)
        points.append(CurvePoint(float(magnitude), float(share.value), float(share.standard_error)))
    return points


@dataclass(frozen=True, eq=False)
class Directions:
    """Directions of h, chosen on half of the samples and scored on the others, so that no pass of their own is needed.

    Attributes:
        vectors: (m, d) one per row, the most invariant first.
        correlations: (m,) of each, on samples that it was not chosen on, within [0, 1].
    """

    vectors: Float[Tensor, "m d"]
    correlations: Float[Tensor, " m"]


def top_directions(inside: Moments, basis: Float[Tensor, "r d"]) -> Directions:
    """Return the leading directions of one half of the samples; the sums are in the orthonormal rows of `basis`."""
    first, second = inside.halves()
    vectors = intraclass_correlations(first.between, first.total).directions[:NUM_DIRECTIONS]
    between, total = (
        torch.einsum("md,de,me->m", vectors, matrix.double(), vectors) for matrix in (second.between, second.total)
    )
    correlations = torch.where(total > 0, between / total, torch.zeros_like(total)).clamp(0, 1)
    return Directions(vectors @ basis.double(), correlations)


def followed(directions: Directions, effects: Mapping[str, TransformEffect]) -> list[Direction]:
    """Return for each direction its correlation and the transform with the largest share of its variance."""
    rows = []
    for place, correlation in enumerate(directions.correlations.tolist()):
        shares = {name: effect.along[place] for name, effect in effects.items() if math.isfinite(effect.along[place])}
        if shares:
            most = max(shares, key=lambda name: shares[name])
            error = effects[most].along_error[place]
            rows.append(Direction(correlation, most, measured(shares[most], error)))
    return rows


def _plan(source: Source, view: View, num_images: int, batch_size: int) -> Arrangement:
    if num_images < 3:
        raise ValueError(f"num_images: got {num_images}, wanted at least 3")
    return arranged(source, view, num_images, batch_size)


def _draws(
    source: Source, views: Sequence[View], plan: Arrangement, seed: int
) -> Iterator[tuple[Any, list[tuple[Params, Params]]]]:
    """Yield samples with two draws of each view, all views from the same random numbers."""
    generator = torch.Generator().manual_seed(seed)
    num_read = 0
    for batch in source.batches(plan.order, plan.batch_size):
        first, second = torch.randint(2**63 - 1, (2,), generator=generator).tolist()
        num_read += len(batch.indices)
        yield (
            batch.samples,
            [(_sample(view, batch.samples, first), _sample(view, batch.samples, second)) for view in views],
        )
    if num_read < 3:
        raise ValueError(f"source: {num_read} samples could be read, wanted at least 3")


def _sample(view: View, samples: Any, seed: int) -> Params:
    return view.sample(samples, torch.Generator().manual_seed(seed))


def _features(represent: Represent, view: Any) -> Tensor:
    """Features on the CPU, not below float32."""
    h = represent(view).cpu()
    return h if h.dtype == torch.float64 else h.float()


def _along(h: Tensor, directions: Tensor) -> Tensor:
    return h.double() @ directions.double().T
