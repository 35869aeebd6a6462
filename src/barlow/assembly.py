"""From a Recipe to objects: the method, the optimizer's plan and the engine, each by one plain function."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from barlow.choices import did_you_mean, unknown
from barlow.data.image_statistics import channel_statistics, image_shape
from barlow.data.source import Source
from barlow.engine import resolve_precision
from barlow.loss_floor import loss_floor
from barlow.methods.barlow_twins import barlow_twins
from barlow.methods.byol import byol
from barlow.methods.method import Method
from barlow.methods.optimal_projector import optimal_projector
from barlow.methods.sigreg import sigreg
from barlow.methods.simclr import simclr
from barlow.methods.simsiam import simsiam
from barlow.methods.swav import swav
from barlow.methods.vicreg import vicreg
from barlow.methods.vicregl import vicregl
from barlow.methods.wmse import wmse
from barlow.networks.backbones import Backbone, build_backbone
from barlow.networks.heads import HeadSpec
from barlow.recipes import OWN, Recipe
from barlow.training.optimizers import build_optimizer
from barlow.training.plan import Plan, steps_of, steps_per_epoch
from barlow.training.schedules import warmup_cosine
from barlow.views.images import image_views
from barlow.views.views import Views

METHODS: dict[str, Callable[..., Method]] = {
    "barlow_twins": barlow_twins,
    "simclr": simclr,
    "swav": swav,
    "simsiam": simsiam,
    "vicreg": vicreg,
    "vicregl": vicregl,
    "wmse": wmse,
    "optimal_projector": optimal_projector,
    "byol": byol,
    "sigreg": sigreg,
}
"""Name -> builder(backbone, head, num_features, **options); its keyword arguments are the options of a recipe."""

LARGEST_AUTOMATIC_SIZE = 224
"""Side in pixels of the published ImageNet recipes; larger pictures are cropped and scaled to it unless told."""


def fitted(recipe: Recipe, source: Source, *, images: bool) -> tuple[Recipe, dict[str, Any]]:
    """Replace what a recipe leaves to the data and the machine, and state the facts of the data.

    Args:
        recipe: as asked for.
        source: what will be learnt from.
        images: whether the views are image views, which need sizes and channel statistics.

    Returns:
        The recipe with batch size, image size and precision settled, and the facts for `recipe.json`.
    """
    facts: dict[str, Any] = {
        "name": source.name,
        "num_samples": len(source),
        "num_classes": len(source.class_names) if source.labels is not None else 0,
    }
    recipe = replace(resolve_precision(recipe), batch_size=min(recipe.batch_size, len(source)))
    if images:
        shape = image_shape(source)
        mean, std = channel_statistics(source)
        facts |= {"image_shape": [shape.channels, shape.height, shape.width], "mean": mean, "std": std}
        size = recipe.image_size or min(shape.short_side, LARGEST_AUTOMATIC_SIZE)
        recipe = replace(recipe, image_size=size)
    return recipe, facts


def image_views_of(recipe: Recipe, facts: Mapping[str, Any]) -> Views:
    """Build the image pipelines of `recipe`, normalised by the statistics of its data.

    Raises:
        ValueError: no such pipelines, or some that a run was given as objects.
    """
    if recipe.views.startswith(OWN):
        raise ValueError(f"views: got {recipe.views!r}, wanted the object itself: no name stands for it")
    return image_views(
        recipe.views,
        size=recipe.image_size,
        channels=facts["image_shape"][0],
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
    )


def build_image_backbone(recipe: Recipe, channels: int) -> Backbone:
    """Build the network that `recipe` names; its weights follow from torch's generator.

    Raises:
        ValueError: no such network, or one that a run was given as an object.
    """
    if recipe.backbone.startswith(OWN):
        raise ValueError(f"backbone: got {recipe.backbone!r}, wanted the object itself: no name stands for it")
    return build_backbone(
        recipe.backbone,
        in_channels=channels,
        image_size=recipe.image_size,
        width=recipe.width,
        stem=recipe.stem,
        pretrained=recipe.pretrained,
        zero_init=recipe.zero_init,
    )


def untrained_backbone(recipe: Recipe, channels: int) -> Backbone:
    """Return the network as it was before the first step: the same seed, the same weights."""
    torch.manual_seed(recipe.seed)
    return build_image_backbone(recipe, channels)


def build_method(recipe: Recipe, backbone: nn.Module, num_features: int) -> Method:
    """Put the heads and the loss of `recipe` on top of a backbone with d features.

    Raises:
        ValueError: an unknown method, an option that the method does not have, or a bad projector.
    """
    if recipe.method not in METHODS:
        raise unknown("method", recipe.method, METHODS)
    builder = METHODS[recipe.method]
    head = HeadSpec(
        recipe.projector, recipe.projector_norm, activation=recipe.projector_activation, bias=recipe.projector_bias
    )
    # These two are fields of the recipe, because the floors and the theory ask for them too.
    shared = {"redundancy_weight": recipe.redundancy_weight, "normalization": recipe.normalization}
    known = inspect.signature(builder).parameters
    options = {name: value for name, value in shared.items() if name in known} | _checked_options(recipe)
    return builder(backbone, head, num_features, **options)


def options_of(method: str) -> dict[str, Any]:
    """Return the options of a method with their defaults."""
    parameters = inspect.signature(METHODS[method]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is not p.empty}


def _checked_options(recipe: Recipe) -> dict[str, Any]:
    known = options_of(recipe.method)
    for name in recipe.options:
        if name not in known:
            wanted = ", ".join(f"{option}={value}" for option, value in known.items()) or "none"
            raise ValueError(f"options: {recipe.method} has no {name!r}; it has {wanted}{did_you_mean(name, known)}")
    return recipe.options


def build_plan(recipe: Recipe, *, num_samples: int, num_features: int, checkpoint_minutes: float) -> Plan:
    """Turn epochs into steps and state the floor of the loss.

    Raises:
        ValueError: accumulation, a batch too small for a statistic, no training, or numbers out of their range.
    """
    _check_numbers(recipe)
    per_epoch = steps_per_epoch(num_samples, recipe.batch_size)
    total = steps_of(recipe.epochs, per_epoch)
    warmup = min(recipe.warmup_epochs * per_epoch, total / 10)
    return Plan(
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        factor=partial(
            warmup_cosine,
            total_steps=total,
            warmup_steps=math.floor(warmup),
            final=recipe.final_learning_rate,
            start=recipe.warmup_start,
        ),
        clip_norm=recipe.clip_norm,
        checkpoint_minutes=checkpoint_minutes,
        floor=loss_floor(recipe, num_features),
    )


def _check_numbers(recipe: Recipe) -> None:
    """Refuse before the first step what the loop would refuse at it, by the names of the fields."""
    if recipe.accumulate != 1:
        raise ValueError(
            f"accumulate: got {recipe.accumulate}, wanted 1: C is a statistic of the whole batch, so the loss of "
            "two half batches is not the loss of the batch. Use a smaller batch_size; the floor it brings is printed"
        )
    if recipe.batch_size < 2:
        raise ValueError(f"batch_size: got {recipe.batch_size}, wanted at least 2")
    if not 0 < recipe.epochs < math.inf:
        raise ValueError(f"epochs: got {recipe.epochs}, wanted a number above 0")
    for name in ("final_learning_rate", "warmup_start"):
        if not 0 <= getattr(recipe, name) <= 1:
            raise ValueError(f"{name}: got {getattr(recipe, name)}, wanted a fraction of the peak in [0, 1]")
    for name in ("warmup_epochs", "clip_norm", "learning_rate", "bias_learning_rate", "weight_decay"):
        if not 0 <= getattr(recipe, name) < math.inf:
            raise ValueError(f"{name}: got {getattr(recipe, name)}, wanted 0 or more")


def build_run_optimizer(recipe: Recipe, method: nn.Module, fabric: Fabric) -> torch.optim.Optimizer:
    """Build the optimizer of `recipe`; on a CPU the fused one, which is faster there and exact."""
    return build_optimizer(
        method,
        name=recipe.optimizer,
        learning_rate=recipe.learning_rate,
        bias_learning_rate=recipe.bias_learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        exclude_biases=recipe.exclude_biases,
        constant_part=recipe.constant_part,
        fused=fabric.device.type == "cpu",
    )
