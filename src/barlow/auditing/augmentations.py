"""What each transform of a pipeline does to the features of a backbone: alone, among the others, and by strength.

Per image two draws p and p' of all parameters are made. h(p) and h(p') give the variances B, W, T; for each transform t

    h(p with t from p')     differs from h(p) in t only (total effect), and shares with h(p') t only (first order)
    h(t of p, nothing else) against h(nothing at all)                                            (marginal effect)

so m transforms take 3 + 2 m passes of each image. "Nothing at all" is the pipeline with every transform left out, not
the plain view of evaluation, which may be resized with another filter. Which parameters are one transform is said in
`transforms.py`; the estimators are those of `theory/effects.py`.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from barlow.auditing.transforms import Transform, scaled, transform_named, transforms_of
from barlow.data.source import Source
from barlow.evidence import spread
from barlow.theory.effects import half_distance_share, squared_distances
from barlow.theory.invariance import VarianceComponents, variance_components
from barlow.theory.jackknifed import Jackknifed
from barlow.views.located import without_place
from barlow.views.pipeline import ImagePipeline
from barlow.views.views import Params, View, Views

BATCH_SIZE = 256
EFFECT_IMAGES = 1024
"""Images behind the effects: a share of a half is then known to about a percent, with 30 passes of each."""
Represent = Callable[[Any], Tensor]


@dataclass(frozen=True)
class TransformEffect:
    """What one transform does, as shares of a variance of h; NaN for features without variance.

    Attributes:
        name: of the transform.
        marginal: E |h(tx) - h(x)|^2 / (2 tr B), the transform alone; 1: it moves an image as far as to another. NaN
            or far above 1, with a large error, where h says next to nothing of the image.
        marginal_error: its standard error over images, as are the others below.
        total_effect: share of tr T that needs the transform, interactions with others included.
        total_effect_error: its standard error.
        first_order: share of tr T that the transform makes by itself.
        first_order_error: its standard error.
        along: for each direction asked for, the total share of the variance along it; empty without directions.
        along_error: their standard errors.
        num_images: behind the figures.
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
    """Measure what each transform of a pipeline does to h.

    Args:
        represent: view -> (n, d) features, in evaluation mode; also h or any layer behind it.
        source: samples; `num_images` of them, evenly spread, are used.
        view: one pipeline; it is to accept parameters with transforms replaced or left out. Of a located one the
            images are taken.
        num_images: at least 3.
        seed: of the draws.
        parts: whether parts of transforms are measured as well ("affine.rotation", beside "affine").
        only: names of those to measure; None: all.
        directions: (m, d) directions of feature space, one per row, for `along`: those of an `IntraclassSpectrum`, best
            of other images, because on their own they look more invariant than they are.
        batch_size: images at once.

    Returns:
        By name of the transform, in the order of the pipeline; empty for a pipeline without transforms.

    Raises:
        ValueError: fewer than 3 images, or features that are not finite.
    """
    (view,) = without_place(Views((view,))).pipelines
    pairs: list[Tensor] = []
    squares: dict[str, list[Tensor]] = {}
    transforms: tuple[Transform, ...] = ()
    for samples, [(drawn, other)] in _draws(source, [view], num_images, seed, batch_size):
        transforms = transforms or tuple(t for t in transforms_of(drawn, parts=parts) if only is None or t.name in only)
        plain, h, h_other = (_features(represent, view.apply(samples, params)) for params in ({}, drawn, other))
        pairs.append(torch.stack([h, h_other], dim=1))
        for transform in transforms:
            alone = _features(represent, view.apply(samples, transform.alone(drawn)))
            replaced = _features(represent, view.apply(samples, transform.replace(drawn, other)))
            columns = [squared_distances(*two) for two in ((plain, alone), (h, replaced), (h_other, replaced))]
            row = torch.stack(columns, dim=1)
            if directions is not None:
                row = torch.cat([row, _along(h - replaced, directions).square()], dim=1)
            squares.setdefault(transform.name, []).append(row)
    h_views = torch.cat(pairs)
    components = variance_components(h_views)
    along = None if directions is None else variance_components(_along(h_views, directions)).total
    return {name: _effect(name, torch.cat(rows), components, along) for name, rows in squares.items()}


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
        magnitude: m; 0: the transform does nothing, 1: as the pipeline has it.
        total_effect: of the transform at this magnitude, in units of tr T at magnitude 1.
        total_effect_error: its standard error over images.
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
    images, the same other transforms and the same random numbers; at magnitude 1 it is `transform_effects` of the
    same seed and number of images. Where a curve stops rising, more of the transform changes nothing more; where it
    leaves 0, invariance ends.

    Args:
        represent: view -> (n, d) features, in evaluation mode.
        source: samples; `num_images` of them, evenly spread, are used.
        view: an `ImagePipeline`, or one with its place, not wrapped by `Views.on`: let `represent` move the views.
        transform: a transform with magnitudes, such as "affine", or a part of one, such as "affine.rotation".
        magnitudes: 0 or more each.
        num_images: at least 3.
        seed: of the draws.
        batch_size: images at once.

    Returns:
        One point per magnitude, in the order given.

    Raises:
        ValueError: a view that is no image pipeline or has no such transform, a transform without magnitudes, a
            magnitude that the pipeline cannot have, or what `transform_effects` refuses.
    """
    (view,) = without_place(Views((view,))).pipelines
    if not isinstance(view, ImagePipeline):
        raise ValueError(f"view: got {type(view).__name__}, wanted an ImagePipeline: only its strengths can be scaled")
    pipelines = [view, *(scaled(view, transform, magnitude) for magnitude in magnitudes)]
    pairs: list[Tensor] = []
    squares: list[list[Tensor]] = [[] for _ in magnitudes]
    for samples, draws in _draws(source, pipelines, num_images, seed, batch_size):
        moving = transform_named(transform, draws[0][0])
        pairs.append(torch.stack([_features(represent, view.apply(samples, params)) for params in draws[0]], dim=1))
        for found, pipeline, (drawn, other) in zip(squares, pipelines[1:], draws[1:], strict=True):
            if not set(moving.keys) <= set(drawn):  # at magnitude 0 there is nothing to draw
                found.append(torch.zeros(len(pairs[-1]), dtype=torch.float64))
                continue
            views = (pipeline.apply(samples, params) for params in (drawn, moving.replace(drawn, other)))
            found.append(squared_distances(*(_features(represent, made) for made in views)))
    total_trace = variance_components(torch.cat(pairs)).total_trace
    points = []
    for magnitude, found in zip(magnitudes, squares, strict=True):
        share = half_distance_share(torch.cat(found), total_trace)
        points.append(CurvePoint(float(magnitude), float(share.value), float(share.standard_error)))
    return points


def _draws(
    source: Source, views: Sequence[View], num_images: int, seed: int, batch_size: int
) -> Iterator[tuple[Any, list[tuple[Params, Params]]]]:
    """Yield samples with two draws of each view, all views from the same random numbers."""
    if num_images < 3:
        raise ValueError(f"num_images: got {num_images}, wanted at least 3")
    generator = torch.Generator().manual_seed(seed)
    num_read = 0
    for batch in source.batches(spread(len(source), num_images), batch_size):
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
