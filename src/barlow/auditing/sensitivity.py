"""What h still reacts to: bars per transform, strength curves of the strongest, and shares layer by layer."""

import math
from dataclasses import asdict
from typing import Any

from torch import nn

from barlow.auditing.augmentations import strength_curve, transform_effects
from barlow.auditing.layers import backbone_stages, layer_shares
from barlow.auditing.quantities import number
from barlow.auditing.subjects import Subject
from barlow.data.source import Source
from barlow.views.pipeline import ImagePipeline
from barlow.views.views import View

EFFECT_IMAGES = 512
CURVE_IMAGES = 256
MAGNITUDES = (0.25, 0.5, 1.0, 1.5)
STRONGEST = 2
"""Transforms whose strength curve is drawn: those with the largest effect."""
EFFECT_FIELDS = ("name", "marginal", "marginal_error", "total_effect", "total_effect_error", "first_order")


def sensitivity(subject: Subject, *, num_images: int, seed: int) -> dict[str, Any]:
    """Return "augmentations" and "layers" of the figures; nothing for features without a network.

    Args:
        subject: what is audited.
        num_images: at most so many images, and `EFFECT_IMAGES`.
        seed: of the views.
    """
    trained, source, views = subject.trained, subject.source, subject.views
    if trained is None or source is None or views is None:
        return {}
    view, some = views.pipelines[0], min(EFFECT_IMAGES, num_images)
    effects = transform_effects(trained.backbone, source, view, num_images=some, seed=seed)
    strongest = sorted(effects.values(), key=lambda effect: -_or_zero(effect.total_effect))[:STRONGEST]
    bars = []
    for effect in effects.values():
        curve = _curve(trained.backbone, source, view, effect.name, seed) if effect in strongest else []
        bars.append({key: _plain(getattr(effect, key)) for key in EFFECT_FIELDS} | {"curve": curve})
    stages = backbone_stages(trained.backbone) if isinstance(trained.backbone, nn.Module) else {}
    layers = layer_shares(trained.backbone, trained.projector, source, view, stages=stages, num_images=some, seed=seed)
    return {
        "augmentations": bars,
        "layers": [{key: _plain(value) for key, value in asdict(layer).items()} for layer in layers.values()],
    }


def _curve(represent: Any, source: Source, view: View, name: str, seed: int) -> list[list[float]]:
    """Total effect against strength; empty where the transform has no strength to scale."""
    if not isinstance(view, ImagePipeline):
        return []
    some = min(CURVE_IMAGES, len(source))
    try:
        points = strength_curve(represent, source, view, name, MAGNITUDES, num_images=some, seed=seed)
    except ValueError:  # a flip has no magnitude
        return []
    return [[0.0, 0.0], *([point.magnitude, _or_zero(point.total_effect)] for point in points)]


def _plain(value: Any) -> Any:
    return number(value) if isinstance(value, float) else value


def _or_zero(value: float) -> float:
    return value if math.isfinite(value) else 0.0
