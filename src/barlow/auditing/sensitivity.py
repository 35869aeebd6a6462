"""What h still reacts to: bars per transform, strength curves of the strongest, and shares layer by layer.

Where the pipelines of a and b differ, a transform that they draw alike is measured in that of a, and the others in each
that has them. All of it together takes no more views through the network than it is given: where they do not suffice,
bars, curves and layers are of fewer images alike.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from barlow.auditing.augmentations import TransformEffect, strength_curve, transform_effects
from barlow.auditing.directions import Directions, followed
from barlow.auditing.layers import backbone_stages, layer_shares
from barlow.auditing.observation import set_apart
from barlow.auditing.quantities import number
from barlow.auditing.subjects import Subject
from barlow.auditing.transforms import drawn_alike, scaled, transforms_of
from barlow.data.source import Source
from barlow.evidence import spread
from barlow.training.progress import Progress
from barlow.views.pipeline import ImagePipeline
from barlow.views.views import View, Views

EFFECT_IMAGES = 512
CURVE_IMAGES = 256
LEAST_IMAGES = 16
"""With fewer images an error is as large as an effect, so that these are spent in any case."""
MAGNITUDES = (0.25, 0.5, 1.0, 1.5)
STRONGEST = 2
"""Transforms whose strength curve is drawn: those with the largest effect that have a strength."""
EFFECT_FIELDS = (
    "marginal", "marginal_error", "total_effect", "total_effect_error", "first_order", "num_images",
)  # fmt: skip


@dataclass(frozen=True)
class Bar:
    """What is measured of one transform: its name, the pipeline, and which one that is; "": a and b draw it alike."""

    transform: str
    view: View
    side: str

    @property
    def name(self) -> str:
        """Return "blur (view a)", or "blur" where both views draw it alike."""
        return f"{self.transform} (view {self.side})" if self.side else self.transform


@dataclass(frozen=True)
class Plan:
    """Images behind bars, behind each curve, and behind the layers."""

    effects: int
    curves: int
    layers: int


def sensitivity(
    subject: Subject, *, directions: Directions, num_images: int, forwards: float, seed: int, quiet: bool = True
) -> dict[str, Any]:
    """Return "augmentations", "directions" and "layers" of the figures; nothing for features without a network.

    Args:
        subject: what is audited.
        directions: of h, to say which transform each follows most.
        num_images: at most so many images.
        forwards: at most about so many views through the network, all together; at least `LEAST_IMAGES` are looked at.
        seed: of the views.
        quiet: no progress on the terminal.
    """
    trained, source, views = subject.trained, subject.source, subject.views
    if trained is None or source is None or views is None:
        return {}
    wanted = bars_of(views, source)
    passes = [bars for view in set_apart(views) if (bars := [bar for bar in wanted if bar.view is view])]
    plan = plan_within(forwards, num_images=num_images, num_bars=[len(bars) for bars in passes])
    parts = Progress("audit of augmentations and layers", len(passes) + STRONGEST + 1, unit="parts", quiet=quiet)
    measured: list[tuple[Bar, TransformEffect]] = []
    curves = {}
    with parts as progress:
        for place, bars in enumerate(passes):
            progress.update(place, "effects")
            measured += _effects(trained.backbone, source, bars, directions, num_images=plan.effects, seed=seed)
        for place, bar in enumerate(_strongest(measured)):
            progress.update(len(passes) + place, f"strength of {bar.name}")
            curves[bar.name] = _curve(trained.backbone, source, bar, num_images=plan.curves, seed=seed)
        progress.update(len(passes) + STRONGEST, "layers")
        stages = backbone_stages(trained.backbone) if isinstance(trained.backbone, nn.Module) else {}
        layers = layer_shares(
            trained.backbone, trained.projector, source, views.pipelines[0],
            stages=stages, num_images=plan.layers, seed=seed,
        )  # fmt: skip
        progress.update(len(passes) + STRONGEST + 1)
    return {
        "augmentations": [_record(bar, effect, curves.get(bar.name, [])) for bar, effect in measured],
        "directions": followed(directions, {bar.name: effect for bar, effect in measured}),
        "layers": [{key: _plain(value) for key, value in asdict(layer).items()} for layer in layers.values()],
    }


def bars_of(views: Views, source: Source) -> list[Bar]:
    """Return what is to be measured: each transform once, twice where the pipelines of a and b draw it differently.

    Args:
        views: the pipelines; more than two are the first two.
        source: samples to draw parameters of.
    """
    batch = next(source.batches(spread(len(source), LEAST_IMAGES), LEAST_IMAGES))
    pipelines = set_apart(views)
    found: dict[str, list[Bar]] = {}
    for side, view in zip("ab", pipelines, strict=False):
        for transform in transforms_of(view.sample(batch.samples, torch.Generator().manual_seed(0))):
            alike = len(pipelines) == 1 or drawn_alike(transform.name, *pipelines)
            bar = Bar(transform.name, view, "" if alike else side)
            if not (alike and found.get(transform.name)):
                found.setdefault(transform.name, []).append(bar)
    return [bar for bars in found.values() for bar in bars]


def plan_within(forwards: float, *, num_images: int, num_bars: Sequence[int]) -> Plan:
    """Share the views that may go through the network: each part gets the same share of the images it would take.

    Args:
        forwards: of all parts together.
        num_images: at most so many images for each.
        num_bars: transforms to measure, for each pipeline that has any.
    """
    most = Plan(min(EFFECT_IMAGES, num_images), min(CURVE_IMAGES, num_images), min(EFFECT_IMAGES, num_images))
    of_effects = sum(3 + 2 * bars for bars in num_bars)  # see augmentations.py
    of_curves = min(STRONGEST, sum(num_bars)) * (2 + 2 * len(MAGNITUDES))
    share = forwards / (most.effects * of_effects + most.curves * of_curves + most.layers * 2)

    def images(wanted: int) -> int:
        return min(wanted, max(LEAST_IMAGES, int(min(1.0, share) * wanted)))

    return Plan(images(most.effects), images(most.curves), images(most.layers))


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


def _strongest(measured: Sequence[tuple[Bar, TransformEffect]]) -> list[Bar]:
    """The bars with the largest effect whose transform has a strength, no transform twice."""
    found: dict[str, Bar] = {}
    for bar, _ in sorted(measured, key=lambda pair: -_or_zero(pair[1].total_effect)):
        if _magnitudes(bar):
            found.setdefault(bar.transform, bar)
    return list(found.values())[:STRONGEST]


def _magnitudes(bar: Bar) -> list[float]:
    """The magnitudes that the pipeline can have; none for a flip, which happens or does not."""
    return [magnitude for magnitude in MAGNITUDES if _has(bar, magnitude)]


def _has(bar: Bar, magnitude: float) -> bool:
    if not isinstance(bar.view, ImagePipeline):
        return False
    try:
        return bool(scaled(bar.view, bar.transform, magnitude))
    except ValueError:  # no strength at all, or a crop of less than nothing
        return False


def _record(bar: Bar, effect: TransformEffect, curve: list[list[float]]) -> dict[str, Any]:
    figures = {key: _plain(getattr(effect, key)) for key in EFFECT_FIELDS}
    return {"name": bar.name, "transform": bar.transform, "view": bar.side, **figures, "curve": curve}


def _plain(value: Any) -> Any:
    return number(value) if isinstance(value, float) else value


def _or_zero(value: float) -> float:
    return value if math.isfinite(value) else 0.0
