"""One arm of a grid trained: a normalisation, a projector, the backbone trained with it or left as it was.

The same training for every arm: Adam without weight decay, N pairs of views, the rate falls to 0 along a cosine, and
the rate is the one of a few whose trial ends with the least *own* complete loss on validation images: all views
enumerated, evaluation mode, no label looked at. A trial is the whole training, or a shorter one where time counts.
z begins with mean variance 1 in every arm (`small_networks`).
"""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.correlation import center
from barlow.evaluation.features import calibrate_batchnorm
from barlow.methods.barlow_twins import Normalization, barlow_twins_loss
from barlow.studies.enumerated_views import TRANSFORMS, Enumerated
from barlow.studies.matrix_loss import matrix_loss
from barlow.studies.small_networks import Scaled, small_backbone, small_projector
from barlow.theory.complete import complete_cross_correlation

WEIGHT = 0.02
"""lambda, that of the small recipes."""
RATES = (0.001, 0.003, 0.01, 0.03)
"""Of Adam; the best lay at 0.003 or 0.01 on digits, so that both ends of the list are worse there. On Fashion-MNIST the
smallest was the best for five arms of eleven, in two seeds of three at least (docs/studies.md)."""
BATCH = 256
"""N, well above D = 32, so that the batch loss has no floor of its own."""
LAST_STEPS = 10
"""The gradients' ratio is a mean over so many steps, for one batch is noise."""
CALIBRATION_IMAGES = 1024
"""For the constant that scales z and for the statistics that BatchNorm begins with."""


@dataclass(frozen=True)
class Arm:
    """What distinguishes one arm of the grid.

    Attributes:
        normalization: of the loss.
        widths: of the projector, as `barlow.networks.heads.projector` reads them.
        norm: inside the projector, "none" or "batch".
        frozen: the backbone stays as it was.
        centred: the mean of z goes before the loss; only for "sample_cosine", which does not do it itself.
    """

    normalization: Normalization
    widths: str
    norm: str
    frozen: bool
    centred: bool = False


@dataclass(frozen=True)
class Trained:
    """Networks after training at the best rate, in evaluation mode.

    Attributes:
        backbone: images -> h.
        projector: h -> z.
        rate: that was chosen; NaN where no rate ended with finite numbers, and the networks are as they began.
        validation: own complete loss on validation images by rate, after its trial; NaN where that diverged.
        gradient_ratio: |gradient of the backbone| / |gradient of the projector|, root mean squares of the last steps;
            0 for a frozen backbone.
    """

    backbone: nn.Module
    projector: Scaled
    rate: float
    validation: dict[str, float]
    gradient_ratio: float


def fresh_networks(data: Enumerated, arm: Arm, seed: int) -> tuple[nn.Module, Scaled]:
    """Return backbone and projector as training begins: the same backbone for all arms of a seed, z of variance 1.

    Args:
        data: for which images.
        arm: which projector.
        seed: of the weights.
    """
    backbone = small_backbone(data.channels, data.pipeline.size, seed)
    projector = small_projector(arm.widths, arm.norm, seed)
    with torch.no_grad():
        pixels = data.fit.pixels[:CALIBRATION_IMAGES]
        h = backbone(data.draw(pixels, torch.Generator().manual_seed(seed)))
    calibrate_batchnorm(projector, [h])
    projector.eval().match(h)
    return backbone.eval(), projector


def train_arm(
    data: Enumerated, arm: Arm, *, seed: int, steps: int, rates: Sequence[float] = RATES, trial_steps: int = 0
) -> Trained:
    """Try every rate and return the end of the whole training at the best one.

    A rate that goes wrong in the whole training after a good trial gives way to the next best.

    Args:
        data: with enumerable views.
        arm: what to train.
        seed: of weights, batches and views; the same for every rate.
        steps: of Adam.
        rates: to choose from.
        trial_steps: of the trials, each with a whole cosine of its own; 0: as many as of the training.
    """
    start = fresh_networks(data, arm, seed)
    features = view_features(data, start[0], data.fit.pixels) if arm.frozen else None
    held = view_features(data, start[0], data.validation.pixels) if arm.frozen else None

    @cache
    def end_of(rate: float, length: int) -> tuple[Trained, float]:
        backbone, projector = copy.deepcopy(start)
        ratio = _train(data, arm, backbone, projector, features, seed=seed, steps=length, rate=rate)
        h = view_features(data, backbone, data.validation.pixels) if held is None else held
        loss = complete_loss(embed(projector, h), arm.normalization, centred=arm.centred)
        return Trained(backbone, projector, rate, {}, ratio), loss

    trials = {rate: end_of(rate, trial_steps or steps)[1] for rate in rates}
    validation = {str(rate): loss for rate, loss in trials.items()}
    for rate in sorted((rate for rate in rates if math.isfinite(trials[rate])), key=lambda rate: trials[rate]):
        end, loss = end_of(rate, steps)
        if math.isfinite(loss):
            return replace(end, validation=validation)
    return Trained(*start, rate=math.nan, validation=validation, gradient_ratio=math.nan)


def complete_loss(z: Float[Tensor, "n k p"], normalization: Normalization, *, centred: bool = False) -> float:
    """Return the complete loss of embeddings of all views; NaN where they are not finite or cannot be whitened.

    Args:
        z: (n, k, D) embeddings.
        normalization: of the loss.
        centred: take the mean over images and views away first.
    """
    if centred:
        z = z - z.mean(dim=(0, 1))
    if not z.isfinite().all():
        return math.nan
    try:
        c = complete_cross_correlation(z, None, normalization)
    except ValueError:  # a singular T under "whiten"
        return math.nan
    return float(matrix_loss(c, WEIGHT))


@torch.inference_mode()
def view_features(data: Enumerated, backbone: nn.Module, pixels: Tensor) -> Float[Tensor, "n k d"]:
    """Return features of every view of every image, in float32.

    Args:
        data: whose augmentations.
        backbone: in evaluation mode.
        pixels: (n, c, s, s) images.
    """
    found = [backbone(views.flatten(0, 1)).unflatten(0, views.shape[:2]) for views in data.every(pixels)]
    return torch.cat(found).clone()


@torch.inference_mode()
def embed(projector: Scaled, h: Float[Tensor, "n k d"]) -> Float[Tensor, "n k p"]:
    """Return embeddings of features of several views.

    Args:
        projector: in evaluation mode.
        h: features.
    """
    z: Tensor = projector(h.flatten(0, 1)).unflatten(0, h.shape[:2])
    return z.clone()


def _train(
    data: Enumerated,
    arm: Arm,
    backbone: nn.Module,
    projector: Scaled,
    features: Tensor | None,
    *,
    seed: int,
    steps: int,
    rate: float,
) -> float:
    """Train in place; return the ratio of gradients at the end."""
    generator = torch.Generator().manual_seed(seed)
    modules = (projector,) if arm.frozen else (backbone, projector)
    optimizer = torch.optim.Adam([p for module in modules for p in module.parameters()], lr=rate)
    squares = torch.zeros(2, dtype=torch.float64)
    projector.train()
    size = min(BATCH, len(data.fit.pixels))
    for step, h in enumerate(_pairs(data, backbone, features, size, steps, generator)):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
        z_a, z_b = (projector(each) for each in h)
        if arm.centred:
            z_a, z_b = center(z_a), center(z_b)
        loss = barlow_twins_loss(z_a, z_b, redundancy_weight=WEIGHT, normalization=arm.normalization).total
        if not math.isfinite(float(loss.detach())):
            break
        optimizer.zero_grad()
        loss.backward()
        if step >= steps - LAST_STEPS:
            squares += torch.tensor([_squared_gradient(module) for module in (backbone, projector)])
        optimizer.step()
    projector.eval()
    return float((squares[0] / squares[1]).sqrt())


def _pairs(
    data: Enumerated, backbone: nn.Module, features: Tensor | None, size: int, steps: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Features of two views of random images, `steps` times; looked up where the backbone is frozen."""
    for _ in range(steps):
        rows = torch.randperm(len(data.fit.pixels), generator=generator)[:size]
        if features is None:
            pixels = data.fit.pixels[rows]
            yield backbone(data.draw(pixels, generator)), backbone(data.draw(pixels, generator))
        else:
            a, b = torch.randint(len(TRANSFORMS), (2, size), generator=generator)
            yield features[rows, a], features[rows, b]


def _squared_gradient(module: nn.Module) -> float:
    return sum((float(p.grad.double().square().sum()) for p in module.parameters() if p.grad is not None), 0.0)
