"""A few steps of the loop for every method: pictures of unequal and of equal size, small networks."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from barlow.data.arrays import ArraySource
from barlow.images.views.published import image_views
from barlow.methods.barlow_twins import barlow_twins
from barlow.methods.byol import byol
from barlow.methods.heads import HeadSpec
from barlow.methods.optimal_projector import optimal_projector
from barlow.methods.sigreg import sigreg
from barlow.methods.simclr import simclr
from barlow.methods.simsiam import simsiam
from barlow.methods.swav import swav
from barlow.methods.vicreg import vicreg
from barlow.methods.vicregl import vicregl
from barlow.methods.wmse import wmse
from barlow.seams import Method
from barlow.training.journal import Journal
from barlow.training.optimizers import OptimizerName, build_optimizer
from barlow.training.plan import Plan, warmup_cosine
from barlow.training.pretrain import pretrain
from barlow.training.progress import StepProgress

NUM_FEATURES, BATCH, BATCHES = 8, 16, 2
STEPS = 2 * BATCHES


def by(builder: Callable[..., Method], widths: str, **options: Any) -> Callable[[nn.Module], Method]:
    return lambda network: builder(network, HeadSpec(widths), NUM_FEATURES, **options)


CASES: dict[str, tuple[Callable[[nn.Module], Method], str, OptimizerName]] = {
    "barlow_twins": (by(barlow_twins, "16-24"), "byol", "lars"),
    "barlow_twins whiten": (by(barlow_twins, "8-4", normalization="whiten"), "small-grey", "adamw"),
    "byol": (by(byol, "16-8", predictor_width=8), "byol-iid", "adamw"),
    "optimal_projector": (by(optimal_projector, "none"), "cifar", "adamw"),
    "sigreg": (by(sigreg, "16-8", num_directions=8), "cifar", "adamw"),
    "simclr": (by(simclr, "16-8"), "simclr", "lars"),
    "simsiam": (by(simsiam, "16-8"), "simsiam", "sgd"),
    "swav": (
        by(swav, "16-8", num_prototypes=6, queue_length=16, queue_start=0.0, freeze_prototypes=0.5),
        "swav-cifar",
        "lars",
    ),
    "vicreg": (by(vicreg, "16-24"), "cifar-vicreg", "lars"),
    "vicregl": (by(vicregl, "16-24", local_projector="8-8"), "vicregl-cifar", "adamw"),
    "wmse": (by(wmse, "8-4", w_size=8), "wmse-cifar-4", "adam"),
}
"""The method, its views and its optimizer."""


def channels_of(name: str) -> int:
    return 1 if "grey" in CASES[name][1] else 3


def built(name: str) -> Method:
    """The method on a small network, always with the same weights."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(channels_of(name), 4, 3, stride=2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, NUM_FEATURES, 3),
        nn.BatchNorm2d(NUM_FEATURES),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    return CASES[name][0](network)


def pictures(channels: int, *, ragged: bool) -> Tensor | list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    whole = torch.randint(0, 256, (BATCH * BATCHES, channels, 40, 40), dtype=torch.uint8, generator=generator)
    return [image[:, : 30 + place % 10] for place, image in enumerate(whole)] if ragged else whole


def steps(
    name: str,
    folder: Path,
    fabric: Any,
    *,
    ragged: bool = False,
    method: Method | None = None,
    epochs: float = STEPS / BATCHES,
    minutes: float = 60.0,
) -> Method:
    """Take the steps, or those that are left, in a folder; return the method."""
    method = method or built(name)
    source = ArraySource(pictures(channels_of(name), ragged=ragged))
    factor = partial(warmup_cosine, total_steps=STEPS, warmup_steps=1, final=0.0)
    plan = Plan(epochs, BATCH, seed=3, factor=factor, checkpoint_minutes=minutes, floor=None, clip_norm=0.0)
    optimizer = build_optimizer(method, name=CASES[name][2], learning_rate=1e-3, momentum=0.9, weight_decay=1e-4)
    with Journal(folder / "journal.jsonl") as journal:
        pretrain(
            source,
            image_views(CASES[name][1], size=24, channels=channels_of(name)),
            method,
            optimizer,
            plan,
            fabric=fabric,
            folder=folder,
            journal=journal,
            progress=StepProgress(epochs, quiet=True),
        )
    return method
