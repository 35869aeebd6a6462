"""What h still reacts to: bars per transform, strength curves of the strongest, and shares layer by layer.

Where the pipelines of a and b differ, a transform that they draw the same way is measured in that of a, and the others
in each that has them. All of it together takes no more views through the network than it is given: where they do not
suffice, bars, curves and layers are each of fewer samples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from barlow.audits.effects import Directions, TransformEffect, followed, strength_curve, transform_effects
from barlow.audits.layers import LayerShare, backbone_stages, layer_shares
from barlow.audits.observation import set_apart
from barlow.audits.quantities import measured
from barlow.audits.subjects import Subject
from barlow.audits.transforms import same_distribution, transforms_of
from barlow.figures import Direction, Effect, Layer
from barlow.runs.evidence import spread
from barlow.seams import AdjustableView, Source, View, Views, is_replayable
from barlow.training.progress import Progress

EFFECT_IMAGES = 512
CURVE_IMAGES = 256
LEAST_IMAGES = 16
"""With fewer samples an error is as large as an effect, so that these are spent in any case."""
MAGNITUDES = (0.25, 0.5, 1.0, 1.5)
STRONGEST = 2
"""Transforms whose strength curve is drawn: those with the largest effect that have a strength."""


LEFT_OUT = {"effects of single augmentations": "effects", "strength curves": "curves", "layers": "layers"}
"""What may be left out, by the samples that it would have."""


@dataclass(frozen=True)
class Bar:
    """What is measured of one transform: its name, the pipeline, and which one that is; "": both draw it equally."""

    transform: str
    view: View
    side: str

    @property
    def name(self) -> str:
        """Return "blur (view a)", or "blur" where both views draw it the same way."""
        return f"{self.transform} (view {self.side})" if self.side else self.transform


@dataclass(frozen=True)
class Sensitivity:
    """What h reacts to; empty for features without a network. `left_out` says what there was no time for."""

    augmentations: Sequence[Effect] = ()
    directions: Sequence[Direction] = ()
    layers: Sequence[Layer] = ()
    left_out: Sequence[str] = ()


@dataclass(frozen=True)
class NumImages:
    """Samples behind bars, behind each curve, and behind the layers; 0: left out, for want of time."""

    effects: int
    curves: int
    layers: int


def sensitivity(
    subject: Subject, *, directions: Directions, num_images: int, forwards: float, seed: int, quiet: bool = True
) -> Sensitivity:
    """Measure what each transform does to h, what the most invariant directions follow, and every layer.

    `forwards` is about the most views through the network, all together. What would be of fewer than `LEAST_IMAGES` is
    left out: first the curves, then the bars, then the layers.
    """
    trained, source, views = subject.trained, subject.source, subject.views
    if trained is None or source is None or views is None:
        return Sensitivity()
    wanted = bars_of(views, source)
    passes = [bars for view in set_apart(views) if (bars := [bar for bar in wanted if bar.view is view])]
    images = images_within(forwards, num_images=num_images, num_bars=[len(bars) for bars in passes])
    parts = Progress("audit of augmentations and layers", len(passes) + STRONGEST + 1, unit="parts", quiet=quiet)
    effects: list[tuple[Bar, TransformEffect]] = []
    curves, layers = {}, dict[str, LayerShare]()
    with parts as progress:
        for place, bars in enumerate(passes if images.effects else []):
            progress.update(place, "effects")
            effects += _effects(trained.backbone, source, bars, directions, num_images=images.effects, seed=seed)
        for place, bar in enumerate(_strongest(effects) if images.curves else []):
            progress.update(len(passes) + place, f"strength of {bar.name}")
            curves[bar.name] = _curve(trained.backbone, source, bar, num_images=images.curves, seed=seed)
        progress.update(len(passes) + STRONGEST, "layers")
        if images.layers:
            stages = backbone_stages(trained.backbone) if isinstance(trained.backbone, nn.Module) else {}
            layers = layer_shares(
                trained.backbone, trained.projector, source, views.studied,
                stages=stages, num_images=images.layers, seed=seed,
            )  # fmt: skip
        progress.update(len(passes) + STRONGEST + 1)
    return Sensitivity(
        augmentations=[_effect(bar, effect, curves.get(bar.name, [])) for bar, effect in effects],
        directions=followed(directions, {bar.name: effect for bar, effect in effects}),
        layers=[_layer(layer) for layer in layers.values()],
        left_out=[name for name, of in LEFT_OUT.items() if not getattr(images, of)],
    )


def bars_of(views: Views, source: Source) -> list[Bar]:
    """Return what is to be measured: each transform once, twice where the pipelines of a and b draw it differently."""
    batch = next(source.batches(spread(len(source), LEAST_IMAGES), LEAST_IMAGES))
    pipelines = set_apart(views)
    found: dict[str, list[Bar]] = {}
    for side, view in zip("ab", pipelines, strict=False):
        if not is_replayable(view):  # a part cannot be changed where the rest does not stay
            continue
        for transform in transforms_of(view, view.sample(batch.samples, torch.Generator().manual_seed(0))):
            alike = len(pipelines) == 1 or same_distribution(transform.name, *pipelines)
            bar = Bar(transform.name, view, "" if alike else side)
            if not (alike and found.get(transform.name)):
                found.setdefault(transform.name, []).append(bar)
    return [bar for bars in found.values() for bar in bars]


def images_within(forwards: float, *, num_images: int, num_bars: Sequence[int]) -> NumImages:
    """Share the views that may go through the network: each part gets the same share of the samples it would take.

    `num_bars` counts the transforms to measure, for each pipeline that has any.
    """
    most = NumImages(min(EFFECT_IMAGES, num_images), min(CURVE_IMAGES, num_images), min(EFFECT_IMAGES, num_images))
    of_effects = sum(3 + 2 * bars for bars in num_bars)  # see effects.py
    of_curves = min(STRONGEST, sum(num_bars)) * (2 + 2 * len(MAGNITUDES))
    least = [LEAST_IMAGES * passes for passes in (2, of_effects, of_curves)]
    curves, effects = forwards >= sum(least), forwards >= sum(least[:2])
    if forwards < least[0]:
        return NumImages(0, 0, 0)
    parts = [(most.effects, of_effects, effects), (most.curves, of_curves, curves), (most.layers, 2, True)]
    fewest = sum(min(LEAST_IMAGES, wanted) * passes for wanted, passes, fits in parts if fits)
    rest = sum(max(0, wanted - LEAST_IMAGES) * passes for wanted, passes, fits in parts if fits)
    share = min(1.0, (forwards - fewest) / rest) if rest else 1.0
    found = [min(wanted, LEAST_IMAGES + int(share * max(0, wanted - LEAST_IMAGES))) for wanted, *_ in parts]
    return NumImages(*(images if fits else 0 for images, (*_, fits) in zip(found, parts, strict=True)))


def _effects(
    represent: Any, source: Source, bars: Sequence[Bar], directions: Directions, *, num_images: int, seed: int
) -> list[tuple[Bar, TransformEffect]]:
    """Effects of transforms of one pipeline."""
    only = [bar.transform for bar in bars]
    found = transform_effects(
        represent, source, bars[0].view, num_images=num_images, seed=seed, only=only, directions=directions.vectors
    )
    return [(bar, found[bar.transform]) for bar in bars if bar.transform in found]


def _curve(represent: Any, source: Source, bar: Bar, *, num_images: int, seed: int) -> list[list[float]]:
    """Points of magnitude and total effect, from no change at all."""
    points = strength_curve(
        represent, source, bar.view, bar.transform, _magnitudes(bar), num_images=num_images, seed=seed
    )
    return [[0.0, 0.0], *([point.magnitude, _or_zero(point.total_effect)] for point in points)]


def _strongest(effects: Sequence[tuple[Bar, TransformEffect]]) -> list[Bar]:
    """The bars with the largest effect whose transform has a strength, no transform twice."""
    found: dict[str, Bar] = {}
    for bar, _ in sorted(effects, key=lambda pair: -_or_zero(pair[1].total_effect)):
        if _magnitudes(bar):
            found.setdefault(bar.transform, bar)
    return list(found.values())[:STRONGEST]


def _magnitudes(bar: Bar) -> list[float]:
    """The magnitudes that the pipeline can have; none for a flip, which happens or does not."""
    return [magnitude for magnitude in MAGNITUDES if _has(bar, magnitude)]


def _has(bar: Bar, magnitude: float) -> bool:
    if not isinstance(bar.view, AdjustableView):
        return False
    try:
        return bool(bar.view.scaled(bar.transform, magnitude))
    except ValueError:  # no strength at all, or a crop of less than nothing
        return False


def _effect(bar: Bar, found: TransformEffect, curve: list[list[float]]) -> Effect:
    return Effect(
        bar.name, bar.transform, bar.side,
        total_effect=measured(found.total_effect, found.total_effect_error),
        marginal=measured(found.marginal, found.marginal_error),
        first_order=found.first_order, num_images=found.num_images, curve=curve,
    )  # fmt: skip


def _layer(found: LayerShare) -> Layer:
    return Layer(
        found.name, found.num_features, measured(found.augmentation_share, found.error),
        measured(found.mean_correlation, found.mean_correlation_error), found.effective_rank,
    )  # fmt: skip


def _or_zero(value: float) -> float:
    return value if math.isfinite(value) else 0.0
