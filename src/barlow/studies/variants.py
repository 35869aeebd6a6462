"""A variant of Barlow Twins on a small network: a normalisation, a projector, the backbone trained with it or frozen.

Every variant is trained in the same way: Adam without weight decay, N pairs of views, the rate falls to 0 along a
cosine, and the rate is the one of a few whose trial ends with the least *own* complete loss on validation images: all
views enumerated, evaluation mode, no label looked at. A trial is the whole training, or a shorter one to save time.

The backbone is four 3 x 3 convolutions, the last one linear, averaged to 2 x 2 (d = 64), without BatchNorm: it
normalises on the quiet, which is what the studies are about. z is multiplied by one constant, found once before
training, so that its mean variance is 1: the raw loss depends on the scale of z, and without this its learning rates
mean something else.

Measured before and after training, on test images with all of their views:

    own_loss, pearson_loss    complete losses of z
    backbone_limit            L*_P(h), what a linear projector could reach on this backbone (Theorem 2)
    mean_rho, share_h         invariance of h: mean of the spectrum, tr W / tr T
    share_z                   tr W / tr T of z
    effective_rank            of the covariance of h
    few_labels, linear, knn   accuracies of h without augmentation: 100 labels, several draws, all labels, 20 neighbours
    asymmetry                 of C of batches of N pairs, beside the formula (P8)
    budget                    what a linear projector spends above and below the waterline (P7)
"""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.evaluation.features import calibrate_batchnorm
from barlow.evaluation.knn import knn_accuracy
from barlow.evaluation.linear import few_label_accuracy, fit_linear_probe
from barlow.evaluation.splits import few_label_draws, validation_split
from barlow.methods.barlow_twins import Normalization, barlow_twins_loss
from barlow.methods.heads import projector as build_projector
from barlow.methods.optimal_projector import SHRINKAGE, optimal_projector_loss, whitened
from barlow.statistics.correlation import center, matrix_loss
from barlow.studies.canvas import CanvasImages
from barlow.studies.cells import Metrics
from barlow.studies.images import EnumeratedImages
from barlow.theory.cross_correlation import Pairs, complete_cross_correlation, sampled_cross_correlation
from barlow.theory.intraclass import intraclass_correlations
from barlow.theory.moments import Covariances
from barlow.theory.spectrum import effective_rank
from barlow.theory.symmetry import expected_asymmetry
from barlow.theory.water_filling import water_filling

WIDTH = 32
"""D, below d = 64: the raw loss has its infimum 0 on every backbone."""
WEIGHT = 0.02
"""lambda, that of the small recipes."""
RATES = (0.001, 0.003, 0.01, 0.03)
"""Of Adam; the best lay at 0.003 or 0.01 on digits, so that both ends of the list are worse there. On Fashion-MNIST the
smallest was the best for five variants of eleven, in two seeds of three at least (docs/studies.md)."""
WITH = " with "
"""Between rate and weight in the name of a trial, where a weight was tried too."""
QUICK_RATES = (0.003, 0.01)
"""The better ones of 0.001, 0.003 and 0.01 for each of four variants on digits."""
MOST_TRAIN, MOST_TEST = 6000, 1000
"""Images; the test images of Fashion-MNIST with all views are 54,000 for each measurement."""
LAST_STEPS = 10
"""The gradients' ratio is a mean over so many steps, for one batch is noise."""
CALIBRATION_IMAGES = 1024
"""For the constant that scales z and for the statistics that BatchNorm begins with."""

NUM_FEATURES = 64
"""d of the backbone: 16 channels on 2 x 2 places."""
LARGE_SIDE = 16
"""From this side on the first convolution skips every second pixel, for time."""
CANVAS_SIDE = 40
"""From this side on the first and the third convolution are half as wide, for time."""

PER_CLASS = 10
NUM_NEIGHBOURS = 20
BATCHES = (32, 64, 128, 256, 512)
"""N of the batches whose asymmetry is measured."""
REPEATS = 20
REGULARISATIONS = (0.03, 0.3)
"""Choices of C: two suffice for 64 features, and probes take longest of all measurements."""
ACTIVE = 0.01
"""A direction is in use from this share of the budget D on; descent that has not ended leaves less in unused ones."""


World = EnumeratedImages | CanvasImages
"""What variants are trained and measured on."""


@dataclass(frozen=True)
class Variant:
    """What distinguishes one variant.

    Attributes:
        normalization: of the loss; "optimal" is the loss of the optimal projector, which has none of these.
        widths: of the projector, as `barlow pretrain --projector` takes them.
        norm: inside the projector, "none" or "batch".
        frozen: the backbone stays as it was.
        centred: the mean of z goes before the loss; only for "sample_cosine", which does not do it itself.
    """

    normalization: Normalization | Literal["optimal"]
    widths: str
    norm: str
    frozen: bool
    centred: bool = False

    @property
    def weight(self) -> float:
        """What every complete loss is judged with, whatever it was trained with: lambda, or the shrinkage."""
        return SHRINKAGE if self.normalization == "optimal" else WEIGHT

    def batch_loss(self, z_a: Float[Tensor, "n p"], z_b: Float[Tensor, "n p"], weight: float) -> Tensor:
        """Return what is descended on: the loss of a batch of pairs of views."""
        if self.normalization == "optimal":
            return optimal_projector_loss(z_a, z_b, shrinkage=weight).total
        if self.centred:
            z_a, z_b = center(z_a), center(z_b)
        return barlow_twins_loss(z_a, z_b, redundancy_weight=weight, normalization=self.normalization).total

    def complete_loss(self, images: World, z: Float[Tensor, "n k p"]) -> float:
        """Return the own complete loss of embeddings of several views; NaN where they are not finite."""
        if self.normalization != "optimal":
            return complete_loss(z, self.normalization, centred=self.centred, pairs=images.pairs)
        if not z.isfinite().all():
            return math.nan
        found = images.covariances(z)
        r = whitened(found.total, found.between, self.weight)
        return float((torch.eye(len(r), dtype=r.dtype) - r).square().sum())


class Scaled(nn.Module):
    """z = s p(h), with a constant s."""

    scale: Tensor

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head
        self.register_buffer("scale", torch.ones(()))

    def forward(self, h: Float[Tensor, "n d"]) -> Float[Tensor, "n p"]:
        """Return z."""
        z: Tensor = self.head(h) * self.scale
        return z

    @torch.no_grad()
    def match(self, h: Float[Tensor, "n d"]) -> None:
        """Choose s such that the mean variance of z over these features is 1."""
        variance = float(self.head(h).var(dim=0, unbiased=False).mean())
        if not (math.isfinite(variance) and variance > 0):
            raise ValueError(f"h: got embeddings of variance {variance}, wanted a positive one")
        self.scale.fill_(variance**-0.5)

    @torch.inference_mode()
    def of_views(self, h: Float[Tensor, "n k d"]) -> Float[Tensor, "n k p"]:
        """Return z of features of several views."""
        z: Tensor = self(h.flatten(0, 1)).unflatten(0, h.shape[:2])
        return z.clone()


@dataclass(frozen=True)
class Trained:
    """Networks after training at the best rate, in evaluation mode.

    Attributes:
        rate: that was chosen; NaN where no rate ended with finite numbers, and the networks are as they began.
        validation: own complete loss on validation images by rate, after its trial; NaN where that diverged.
        weight: lambda, or what stands for it, that was chosen.
        gradient_ratio: |gradient of the backbone| / |gradient of the projector|, root mean squares of the last steps;
            0 for a frozen backbone.
    """

    backbone: nn.Module
    projector: Scaled
    rate: float
    validation: dict[str, float]
    gradient_ratio: float
    weight: float = math.nan


def measure_variant(
    images: World,
    variant: Variant,
    *,
    seed: int,
    steps: int,
    rates: Sequence[float],
    draws: int,
    trial_steps: int = 0,
    weights: Sequence[float] = (),
) -> Metrics:
    """Train a variant; return its metrics at start and end, the rate, the losses that it was chosen by, the gradients.

    The few labels are drawn `draws` times; the other arguments are those of `train_variant`.
    """
    backbone, projector = fresh_networks(images, variant, seed)
    h = images.features(backbone, images.test.pixels)
    untrained = untrained_metrics(images, seed, draws)
    start = untrained | projector_metrics(images, projector, h, variant)
    trained = train_variant(
        images, variant, seed=seed, steps=steps, rates=rates, trial_steps=trial_steps, weights=weights
    )
    features = untrained
    if not variant.frozen:
        h = images.features(trained.backbone, images.test.pixels)
        features = backbone_metrics(images, trained.backbone, h, draws)
    return {
        "arm": asdict(variant),
        "start": start,
        "end": features | projector_metrics(images, trained.projector, h, variant),
        "rate": trained.rate,
        "weight": trained.weight,
        "validation": trained.validation,
        "gradient_ratio": trained.gradient_ratio,
    }


def train_variant(
    images: World,
    variant: Variant,
    *,
    seed: int,
    steps: int,
    rates: Sequence[float],
    trial_steps: int = 0,
    weights: Sequence[float] = (),
) -> Trained:
    """Try every rate, at the best one every other weight, and return the end of the whole training at the best pair.

    A trial has `trial_steps` steps of Adam with a whole cosine of its own, 0: as many as the training. A rate that goes
    wrong in the whole training after a good trial gives way to the next best. Weights, batches and views follow from
    the seed and are the same for every rate.
    """
    start = fresh_networks(images, variant, seed)
    features = images.features(start[0], images.fit.pixels) if variant.frozen else None
    held_out = images.features(start[0], images.validation.pixels) if variant.frozen else None

    @cache
    def end_of(rate: float, weight: float, length: int) -> tuple[Trained, float]:
        backbone, projector = copy.deepcopy(start)
        ratio = _train(
            images, variant, backbone, projector, features, seed=seed, steps=length, rate=rate, weight=weight
        )
        h = images.features(backbone, images.validation.pixels) if held_out is None else held_out
        loss = variant.complete_loss(images, projector.of_views(h))
        return Trained(backbone, projector, rate, {}, ratio, weight), loss

    def tried(pairs: Sequence[tuple[float, float]]) -> dict[tuple[float, float], float]:
        return {(rate, weight): end_of(rate, weight, trial_steps or steps)[1] for rate, weight in pairs}

    trials = tried([(rate, variant.weight) for rate in rates])
    validation = {str(rate): loss for (rate, _), loss in trials.items()}
    ends = [pair for pair, loss in trials.items() if math.isfinite(loss)]
    if weights and ends:
        best, _ = min(ends, key=trials.__getitem__)
        more = tried([(best, weight) for weight in weights])
        trials |= more
        validation |= {f"{rate}{WITH}{weight}": loss for (rate, weight), loss in more.items()}
    for rate, weight in sorted((pair for pair in trials if math.isfinite(trials[pair])), key=trials.__getitem__):
        end, loss = end_of(rate, weight, steps)
        if math.isfinite(loss):
            return replace(end, validation=validation)
    return Trained(*start, rate=math.nan, validation=validation, gradient_ratio=math.nan)


def _train(
    images: World,
    variant: Variant,
    backbone: nn.Module,
    projector: Scaled,
    features: Tensor | None,
    *,
    seed: int,
    steps: int,
    rate: float,
    weight: float,
) -> float:
    """Train in place; return the ratio of gradients at the end."""
    generator = torch.Generator().manual_seed(seed)
    modules = (projector,) if variant.frozen else (backbone, projector)
    optimizer = torch.optim.Adam([p for module in modules for p in module.parameters()], lr=rate)
    squares = torch.zeros(2, dtype=torch.float64)
    projector.train()
    for step, h in enumerate(_pairs(images, backbone, features, steps, generator)):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
        z_a, z_b = (projector(each) for each in h)
        loss = variant.batch_loss(z_a, z_b, weight)
        if not math.isfinite(float(loss.detach())):
            break
        optimizer.zero_grad()
        loss.backward()
        if step >= steps - LAST_STEPS:
            squares += torch.tensor([squared_gradient(module) for module in (backbone, projector)])
        optimizer.step()
    projector.eval()
    return float((squares[0] / squares[1]).sqrt())


def _pairs(
    images: World, backbone: nn.Module, features: Tensor | None, steps: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Features of two views of random images, `steps` times; looked up where the backbone is frozen."""
    size = min(images.batch, len(images.fit.pixels))
    for _ in range(steps):
        rows = torch.randperm(len(images.fit.pixels), generator=generator)[:size]
        if features is None:
            pixels = images.fit.pixels[rows]
            yield backbone(images.draw(pixels, generator)), backbone(images.draw(pixels, generator))
        else:
            a, b = torch.randint(features.shape[1], (2, size), generator=generator)
            yield features[rows, a], features[rows, b]


def squared_gradient(module: nn.Module) -> float:
    """Return |gradient|^2 of all parameters that have one."""
    return sum((float(p.grad.double().square().sum()) for p in module.parameters() if p.grad is not None), 0.0)


def complete_loss(
    z: Float[Tensor, "n k p"], normalization: Normalization, *, centred: bool = False, pairs: Pairs = "all"
) -> float:
    """Return the complete loss of embeddings of all views; NaN where they are not finite or cannot be whitened.

    With `centred` the mean over images and views is taken away first. `pairs`: "distinct" where views were sampled.
    """
    if centred:
        z = z - z.mean(dim=(0, 1))
    if not z.isfinite().all():
        return math.nan
    try:
        c = complete_cross_correlation(z, None, normalization, pairs=pairs)
    except ValueError:  # a singular T under "whiten"
        return math.nan
    return float(matrix_loss(c, WEIGHT))


def fresh_networks(images: World, variant: Variant, seed: int) -> tuple[nn.Module, Scaled]:
    """Return backbone and projector as training begins: one backbone for all variants of a seed, z of variance 1."""
    backbone = small_backbone(images.channels, images.side, seed)
    projector = small_projector(variant.widths, variant.norm, seed)
    with torch.no_grad():
        pixels = images.fit.pixels[:CALIBRATION_IMAGES]
        h = backbone(images.draw(pixels, torch.Generator().manual_seed(seed)))
    calibrate_batchnorm(projector, [h])
    projector.eval().match(h)
    return backbone.eval(), projector


def small_backbone(channels: int, side: int, seed: int) -> nn.Module:
    """Return an untrained convolutional network without normalisation, images -> (N, 64)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first, third = (16, 32) if side >= CANVAS_SIDE else (32, 64)
        convolutions = [
            nn.Conv2d(channels, first, 3, stride=2 if side >= LARGE_SIDE else 1, padding=1),
            nn.Conv2d(first, 32, 3, stride=2, padding=1),
            nn.Conv2d(32, third, 3, padding=1),
            nn.Conv2d(third, NUM_FEATURES // 4, 3, padding=1),
        ]
        layers: list[nn.Module] = []
        for convolution in convolutions:
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            layers += [convolution, nn.ReLU()]
        backbone = nn.Sequential(*layers[:-1], nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return backbone.to(memory_format=torch.channels_last)  # three quarters of the time per step on a CPU


def small_projector(widths: str, norm: str, seed: int) -> Scaled:
    """Return an untrained projector on the 64 features of `small_backbone`: widths "linear-32", "128-32"."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Scaled(build_projector(widths, NUM_FEATURES, norm=norm, bias=True))


@lru_cache(maxsize=2)
def untrained_metrics(images: World, seed: int, draws: int) -> Metrics:
    """Return `backbone_metrics` of the backbone that all variants of a seed begin with, measured once."""
    backbone = small_backbone(images.channels, images.side, seed).eval()
    return backbone_metrics(images, backbone, images.features(backbone, images.test.pixels), draws)


def backbone_metrics(images: World, backbone: nn.Module, h: Float[Tensor, "n k d"], draws: int) -> Metrics:
    """Return what is measured of a backbone in evaluation mode, h its features of all views of the test images."""
    covariances = images.covariances(h)
    spectrum = intraclass_correlations(covariances.between, covariances.total)
    filling = water_filling(spectrum.clipped, WIDTH, WEIGHT)
    return {
        "backbone_limit": filling.loss,
        "active": filling.num_active,
        "mean_rho": float(spectrum.clipped.sum()) / h.shape[2],
        "share_h": _augmentation_share(covariances),
        "effective_rank": effective_rank(torch.linalg.eigvalsh(covariances.total).clamp(min=0.0)),
        **_accuracies(images, backbone, draws),
        "asymmetry": _asymmetries(h, spectrum.directions, spectrum.clipped),
    }


def projector_metrics(images: World, projector: Scaled, h: Float[Tensor, "n k d"], variant: Variant) -> Metrics:
    """Return what is measured of a projector in evaluation mode, h the features of all views of the test images."""
    z = projector.of_views(h)
    found: Metrics = {
        "own_loss": variant.complete_loss(images, z),
        "pearson_loss": complete_loss(z, "pearson", pairs=images.pairs),
        "share_z": _augmentation_share(images.covariances(z)) if z.isfinite().all() else math.nan,
    }
    if isinstance(projector.head, nn.Linear) and variant.normalization == "pearson":
        found["budget"] = _budget(projector.head.weight.detach(), images.covariances(h))
    return found


def _augmentation_share(covariances: Covariances) -> float:
    return float(covariances.within.trace() / covariances.total.trace())


@torch.inference_mode()
def _accuracies(images: World, backbone: nn.Module, num_draws: int) -> dict[str, float]:
    """The test labels are looked at here only, and nothing is chosen by them."""
    train_h, test_h = (
        torch.cat([backbone(images.plain(pixels)) for pixels in part.pixels.split(512)]).clone()
        for part in (images.fit, images.test)
    )
    train_y, test_y = images.fit.labels, images.test.labels
    with torch.inference_mode(False), torch.enable_grad():
        train_h, test_h = train_h.clone(), test_h.clone()
        draws = few_label_draws(train_y, per_class=PER_CLASS, draws=num_draws, seed=0)
        few = few_label_accuracy(train_h, train_y, test_h, test_y, draws, regularisations=REGULARISATIONS)
        split = validation_split(train_y, fraction=0.2, most=1000, seed=0)
        probe = fit_linear_probe(train_h, train_y, split, regularisations=REGULARISATIONS)
        linear = probe.accuracy(test_h, test_y)
    knn = knn_accuracy(train_h, train_y, test_h, test_y, num_neighbours=NUM_NEIGHBOURS)
    return {"few_labels": few.mean, "linear": linear, "knn": knn}


def _asymmetries(h: Tensor, directions: Tensor, rho: Tensor) -> dict[str, list[float]]:
    """Root mean square of |C - C^T| over batches of N pairs, in directions that are uncorrelated, and the formula."""
    generator = torch.Generator().manual_seed(0)
    z = h.double() @ directions.T
    sizes = [size for size in BATCHES if size <= len(z)]
    measured, expected = [], []
    for size in sizes:
        squares, squared_norms = 0.0, 0.0
        for _ in range(REPEATS):
            rows = torch.randperm(len(z), generator=generator)[:size]
            a, b = torch.randint(z.shape[1], (2, size), generator=generator)
            c = sampled_cross_correlation(z[rows, a], z[rows, b], None, "pearson")
            squares += float((c - c.T).square().sum())
            squared_norms += float(c.square().sum())
        norm = (squared_norms / REPEATS) ** 0.5
        measured.append((squares / REPEATS) ** 0.5)
        expected.append(expected_asymmetry(rho, size, norm) * norm)
    return {"sizes": [float(size) for size in sizes], "measured": measured, "expected": expected}


def _budget(weight: Tensor, covariances: Covariances) -> dict[str, float]:
    """What the rows of P, each of unit variance, spend on each direction, against the best on the same backbone."""
    spectrum = intraclass_correlations(covariances.between, covariances.total)
    filling = water_filling(spectrum.clipped, len(weight), WEIGHT)
    rows = nn.functional.normalize(weight.double() @ covariances.total @ spectrum.directions.T, dim=1)
    spent = rows.square().sum(dim=0)
    return {
        "active": float((spent > ACTIVE * len(weight)).sum()),
        "best_active": float(filling.num_active),
        "below_waterline": float(spent[filling.budget <= 0].sum()) / len(weight),
    }
