"""From a Recipe to objects: the method, the optimizer's plan and the engine, each by one plain function."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from safetensors.torch import load, save
from torch import Tensor, nn

from barlow.evaluation.scores import CALIBRATION_SAMPLES, calibrate
from barlow.files import durable_file
from barlow.methods.heads import head_of, projector_width
from barlow.methods.table import METHODS, Builder, builder_of, options_in, options_of
from barlow.recipes import ABOUT, OF_THE_RUN, OWN, WITHOUT_MOMENTUM, Recipe, flat
from barlow.runs.floor import loss_floor
from barlow.seams import Around, Facts, Method, Modality, Source, Views, inside
from barlow.training.engine import resolve_precision
from barlow.training.machine import Machine
from barlow.training.optimizers import build_optimizer
from barlow.training.plan import Plan, steps_of, steps_per_epoch, warmup_cosine
from barlow.training.sharding import in_shards
from barlow.training.weights import WEIGHTS, read_weights, write_weights

VIEWS_FILE = "views.safetensors"
"""In the folder of checkpoints: the tensors that views are made with."""


def fitted(modality: Modality, recipe: Recipe, source: Source, *, facts: bool = True) -> tuple[Recipe, dict[str, Any]]:
    """Replace what a recipe leaves to the data and the machine, and state the facts of the data for `recipe.json`.

    `facts`: whether the modality's own facts are wanted, from which views and networks by name are built.
    """
    found: dict[str, Any] = {
        "modality": modality.name,
        "noun": modality.noun,
        "name": source.name,
        "num_samples": len(source),
        "num_classes": len(source.class_names) if source.labels is not None else 0,
    }
    recipe = replace(resolve_precision(recipe), batch_size=min(recipe.batch_size, len(source)))
    if facts:
        found |= modality.facts(source)
        recipe = modality.fit(recipe, found)
    else:  # also for views of one's own, others are read as the training data were
        reading = getattr(source, "reading", {})
        found |= {name: reading[name] for name in modality.reading if name in reading}
    return recipe, found


def learns_from_labels(recipe: Recipe, own: Builder | None = None) -> bool:
    """Whether the method of a recipe, or of the builder a run was given, is told the labels of every batch."""
    builder = own if recipe.method.startswith(OWN) else METHODS.get(recipe.method)
    return bool(
        getattr(builder, "needs_labels", False)
    )  # False too where nobody has passed a method of one's own again


def with_classes(recipe: Recipe, source: Source) -> Recipe:
    """Return the recipe of a method that learns from labels, its `num_classes` those of the data where it is 0.

    ValueError: the data have no labels, or more classes than the option says.
    """
    if source.labels is None:
        raise ValueError(
            f"data: {source.name} has no labels, which {recipe.method.removeprefix(OWN)} learns from; wanted class "
            "folders, or labels"
        )
    asked, has = options_in(recipe).get("num_classes"), max(len(source.class_names), int(source.labels.max()) + 1)
    if asked is None:
        return recipe
    if asked and asked < has:
        raise ValueError(f"num_classes: got {asked}, but {source.name} has {has} classes; wanted 0 or {has}")
    return replace(recipe, options={**recipe.options, "num_classes": asked or has})


def build_views(modality: Modality, recipe: Recipe, facts: Facts, memory: Mapping[str, Tensor] | None = None) -> Views:
    """Build the views that `recipe` names, with what `memory_of` gave for them or their run has kept.

    ValueError where a run was given them as objects.
    """
    if recipe.views.startswith(OWN) or modality.views is None:
        raise ValueError(f"views: got {recipe.views!r}, wanted the object itself: no name stands for it")
    return modality.views(recipe, facts) if modality.memory is None else modality.views(recipe, facts, memory)


def memory_of(modality: Modality, recipe: Recipe, facts: Facts, source: Source) -> Mapping[str, Tensor]:
    """Return the tensors that views by name are made with, from the data; mostly none."""
    if modality.memory is None or recipe.views.startswith(OWN):
        return {}
    return modality.memory(recipe, facts, source)


def keep_memory(folder: Path, memory: Mapping[str, Tensor]) -> None:
    """Write the tensors of views beside the checkpoints, so that a run goes on with the same, wherever its data are."""
    if memory and not (folder / VIEWS_FILE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        with durable_file(folder / VIEWS_FILE) as file:
            file.write(save({name: tensor.contiguous() for name, tensor in memory.items()}))


def kept_memory(folder: Path) -> dict[str, Tensor]:
    """Return what `keep_memory` left in a folder; nothing where it left none."""
    path = folder / VIEWS_FILE
    return dict(load(path.read_bytes())) if path.is_file() else {}


def named_backbone(modality: Modality, recipe: Recipe) -> bool:
    """Whether the network of a recipe can be built from its name; else it came as an object."""
    return modality.backbone is not None and not recipe.backbone.startswith(OWN)


def build_backbone(modality: Modality, recipe: Recipe, facts: Facts) -> nn.Module:
    """Build the network that `recipe` names; its weights follow from torch's generator."""
    if modality.backbone is None or not named_backbone(modality, recipe):
        raise ValueError(f"backbone: got {recipe.backbone!r}, wanted the object itself: no name stands for it")
    return modality.backbone(recipe, facts)


def untrained_backbone(modality: Modality, recipe: Recipe, facts: Facts) -> nn.Module:
    """Return the network as it was before the first step: the same seed, the same weights."""
    torch.manual_seed(recipe.seed)
    return build_backbone(modality, recipe, facts)


def as_it_began(
    twin: nn.Module,
    recipe: Recipe,
    source: Source,
    plain: Callable[[Any], Any],
    *,
    most: int = CALIBRATION_SAMPLES,
) -> nn.Module:
    """Return the network before its first step, as a bar for the trained one.

    Weights that a run started from stay as they are; fresh ones get BatchNorm statistics of the data, without which
    they would be needlessly poor.
    """
    return twin.eval() if recipe.pretrained else calibrate(twin, source, plain, most=most)


def save_backbone(modality: Modality, folder: Path, backbone: nn.Module, recipe: Recipe, facts: Facts) -> None:
    """Write a trained backbone into a folder as its modality does; else its weights, as `backbone.safetensors`."""
    if modality.save is not None:
        modality.save(folder, backbone, recipe, facts)
    else:
        write_weights(folder / WEIGHTS, backbone)


def open_backbone(
    modality: Modality, folder: Path, recipe: Recipe, facts: Facts, backbone: nn.Module | None = None
) -> nn.Module:
    """Return the backbone that `save_backbone` left in a folder, in evaluation mode.

    `backbone` is the network to fill, where it was the user's own object; None: it is built again. ValueError: a file
    is missing, weights do not fit, or a network that only its maker can give again.
    """
    if modality.open is not None:
        return modality.open(folder, backbone)
    network = build_backbone(modality, recipe, facts) if backbone is None else backbone
    read_weights(folder / WEIGHTS, network)
    return network.eval()


def with_checked_options(recipe: Recipe, own: Builder | None = None) -> Recipe:
    """Return the recipe, after seeing that its method has its options; to be called before data are read.

    A method of one's own is recorded with all of its options, because no version of barlow tells their defaults.
    """
    builder = builder_of(recipe, own)
    if not recipe.method.startswith(OWN):
        return recipe
    return replace(recipe, options=options_of(builder) | recipe.options)


OF_NAMED_NETWORKS = ("width", "stem", "zero_init", "pretrained")
"""Fields that say how a network is built; one that is given as an object is built already."""


def refuse_unused(numbers: Mapping[str, Any], objects: Mapping[str, str]) -> None:
    """Refuse numbers that would decide nothing because their part of the run was given as an object."""
    if "views" in objects and "fit" in numbers:
        raise ValueError(
            f"fit: got {numbers['fit']!r} beside views of your own ({objects['views']}), which decide what is seen of "
            "an image; wanted one of the two"
        )
    for name in OF_NAMED_NETWORKS:
        if "backbone" in objects and name in numbers:
            raise ValueError(
                f"{name}: got {numbers[name]!r} beside a backbone of your own ({objects['backbone']}), which is built "
                "already; wanted one of the two"
            )


OF_THE_MACHINE = tuple(field.name for field in fields(Machine))
OF_THE_DATA = ("split", "download", "channels", "decode_size", "num_workers", "memory_budget", "min_samples")
"""What `load_source` takes, for data that are given as its source."""


def refuse_numbers_of_others(numbers: Mapping[str, Any]) -> None:
    """Refuse what says where a run is made, or how data are read, among the fields of its recipe; say where it goes."""
    for name, value in numbers.items():
        ours = OF_THE_RUN.get(name, name)
        what = f"{name}: is called {ours} here, and is" if ours != name else f"{name}:"
        if ours in OF_THE_MACHINE:
            raise ValueError(f"{what} no field of a Recipe, wanted machine=barlow.Machine({ours}={value!r})")
        if ours in OF_THE_DATA:
            raise ValueError(f"{what} no field of a Recipe, wanted barlow.load_source(data, {ours}=...) as the data")
        if ours != name:
            raise ValueError(f"{name}: is called {ours} here")


def build_method(recipe: Recipe, backbone: nn.Module, num_features: int, own: Builder | None = None) -> Method:
    """Put the heads and the loss of `recipe`, or of the builder a run was given, on a backbone with d features."""
    method = builder_of(recipe, own)(backbone, head_of(recipe), num_features, **recipe.options)
    if not isinstance(method, Method):
        raise ValueError(
            f"method: {recipe.method.removeprefix(OWN)} made a {type(method).__name__}, wanted a barlow.Method"
        )
    return method


Wrap = Callable[[Method], Around]
"""From a method to one with something added to its loss."""


def wrapped(method: Method, wrap: Wrap | None) -> Method:
    """Put something around the method of a run; ValueError where it is none of `barlow.Around`."""
    if wrap is None:
        return method
    found = wrap(method)
    if not isinstance(found, Around) or inside(found) is not method:
        raise ValueError(f"wrap: gave a {type(found).__name__}, wanted a barlow.Around that holds the method")
    return found


def build_plan(recipe: Recipe, *, num_samples: int, num_features: int, checkpoint_minutes: float) -> Plan:
    """Turn epochs into steps and state the floor of the loss.

    ValueError: accumulation, a batch too small for a statistic, no training, or numbers out of their range.
    """
    check_numbers(recipe)
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
        identity=identity_of(recipe),
    )


def identity_of(recipe: Recipe) -> dict[str, Any]:
    """Return the numbers of a recipe by name, those of its method with their defaults, but not where it comes from."""
    numbers = flat(asdict(recipe) | {"options": options_in(recipe)})
    return {name: value for name, value in numbers.items() if name not in ABOUT}


def check_numbers(recipe: Recipe) -> None:
    """Refuse before data are read what a network, an optimizer or the loop would refuse, by the names of the fields."""
    projector_width(recipe.projector, 1)
    if recipe.accumulate != 1:
        raise ValueError(
            f"accumulate: got {recipe.accumulate}, wanted 1: C is a statistic of the whole batch, so the loss of "
            "two half batches is not the loss of the batch. Use a smaller batch_size; the floor it brings is printed"
        )
    for name, least in (("batch_size", 2), ("width", 1), ("image_size", 0)):
        if getattr(recipe, name) < least:
            raise ValueError(f"{name}: got {getattr(recipe, name)}, wanted at least {least}")
    if not 0 < recipe.epochs < math.inf:
        raise ValueError(f"epochs: got {recipe.epochs}, wanted a number above 0")
    if not 0 <= recipe.minutes < math.inf:
        raise ValueError(f"minutes: got {recipe.minutes}, wanted a number above 0")
    if recipe.optimizer in WITHOUT_MOMENTUM and recipe.momentum != Recipe.momentum:
        raise ValueError(
            f"momentum: got {recipe.momentum:g} with the optimizer {recipe.optimizer}, which has none; wanted lars or "
            "sgd. The momentum of BYOL's target network is an option of byol"
        )
    for name in ("final_learning_rate", "warmup_start"):
        if not 0 <= getattr(recipe, name) <= 1:
            raise ValueError(f"{name}: got {getattr(recipe, name)}, wanted a fraction of the peak in [0, 1]")
    if recipe.learning_rate == 0:
        raise ValueError(f"learning_rate: got {recipe.learning_rate}, wanted a positive number")
    for name in ("warmup_epochs", "clip_norm", "learning_rate", "bias_learning_rate", "weight_decay"):
        if not 0 <= getattr(recipe, name) < math.inf:
            raise ValueError(f"{name}: got {getattr(recipe, name)}, wanted 0 or more")


def build_run_optimizer(recipe: Recipe, method: nn.Module, fabric: Fabric) -> torch.optim.Optimizer:
    """Build the optimizer of `recipe`; on a CPU the fused one, faster there and exact, but for shards."""
    return build_optimizer(
        method,
        name=recipe.optimizer,
        learning_rate=recipe.learning_rate,
        bias_learning_rate=recipe.bias_learning_rate,
        momentum=recipe.momentum,
        lars_trust=recipe.lars_trust,
        lars_clip=recipe.lars_clip,
        weight_decay=recipe.weight_decay,
        exclude_biases=recipe.exclude_biases,
        constant_part=recipe.constant_part,
        fused=fabric.device.type == "cpu" and not in_shards(fabric),  # torch's fused SGD knows no shards
    )
