"""What is measured of an arm of the grid, before and after training: on test images with all of their views.

own_loss, pearson_loss    complete losses of z
backbone_limit            L*_P(h), what a linear projector could reach on this backbone (Theorem 2)
mean_rho, share_h         invariance of h: mean of the spectrum, tr W / tr T
share_z                   tr W / tr T of z
effective_rank            of the covariance of h
few_labels, linear, knn   accuracies of h without augmentation: 100 labels, several draws, all labels, 20 neighbours
asymmetry                 of C of batches of N pairs, beside the formula (P8)
budget                    what a linear projector spends above and below the waterline (P7)
"""

import math
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.evaluation.few_labels import few_label_accuracy
from barlow.evaluation.knn import knn_accuracy
from barlow.evaluation.linear import fit_linear_probe
from barlow.evaluation.splits import few_label_draws, validation_split
from barlow.studies.enumerated_views import Enumerated
from barlow.studies.small_networks import Scaled, small_backbone
from barlow.studies.training_cell import WEIGHT, Arm, Trained, complete_loss, embed, view_features
from barlow.theory.complete import sampled_cross_correlation
from barlow.theory.covariances import Covariances
from barlow.theory.intraclass import intraclass_correlations
from barlow.theory.moments import Moments
from barlow.theory.spectrum import effective_rank
from barlow.theory.symmetry import expected_asymmetry
from barlow.theory.water_filling import water_filling

PER_CLASS = 10
NUM_NEIGHBOURS = 20
BATCHES = (32, 64, 128, 256, 512)
"""N of the batches whose asymmetry is measured."""
REPEATS = 20
REGULARISATIONS = (0.03, 0.3)
"""Choices of C: two suffice for 64 features, and probes take longest of all figures."""
ACTIVE = 0.01
"""A direction is in use from this share of the budget D on; descent that has not ended leaves less in unused ones."""


def measure_arm(
    data: Enumerated, arm: Arm, trained: Trained, before: tuple[nn.Module, Scaled], *, width: int, seed: int, draws: int
) -> dict[str, Any]:
    """Return the figures of an arm: "start", "end", "rate", "validation", "gradient_ratio".

    Args:
        data: with enumerable views.
        arm: what was trained.
        trained: its end.
        before: its networks as they began.
        width: D at which the backbone's limit is taken.
        seed: of the backbone.
        draws: of 100 labels.
    """
    h = view_features(data, before[0], data.test.pixels)
    untrained = untrained_figures(data, seed, width, draws)
    start = untrained | embedding_figures(before[1], h, arm)
    if arm.frozen:
        features = untrained
    else:
        h = view_features(data, trained.backbone, data.test.pixels)
        features = feature_figures(data, trained.backbone, h, width, draws)
    end = features | embedding_figures(trained.projector, h, arm)
    return {
        "arm": asdict(arm),
        "start": start,
        "end": end,
        "rate": trained.rate,
        "validation": trained.validation,
        "gradient_ratio": trained.gradient_ratio,
    }


@lru_cache(maxsize=2)
def untrained_figures(data: Enumerated, seed: int, width: int, draws: int) -> dict[str, Any]:
    """Return `feature_figures` of the backbone that all arms of a seed begin with, measured once.

    Args:
        data: as `load_enumerated` returned it.
        seed: of the backbone.
        width: D of the limit.
        draws: of 100 labels.
    """
    backbone = small_backbone(data.channels, data.pipeline.size, seed).eval()
    return feature_figures(data, backbone, view_features(data, backbone, data.test.pixels), width, draws)


def feature_figures(
    data: Enumerated, backbone: nn.Module, h: Float[Tensor, "n k d"], width: int, draws: int
) -> dict[str, Any]:
    """Return what is measured of a backbone.

    Args:
        data: for the probes.
        backbone: in evaluation mode.
        h: features of all views of the test images.
        width: D of the limit.
        draws: of 100 labels.
    """
    covariances = population(h)
    spectrum = intraclass_correlations(covariances.between, covariances.total)
    filling = water_filling(spectrum.clipped, width, WEIGHT)
    return {
        "backbone_limit": filling.loss,
        "active": filling.num_active,
        "mean_rho": float(spectrum.clipped.sum()) / h.shape[2],
        "share_h": _share(covariances),
        "effective_rank": effective_rank(torch.linalg.eigvalsh(covariances.total).clamp(min=0.0)),
        **_accuracies(data, backbone, draws),
        "asymmetry": _asymmetries(h, spectrum.directions, spectrum.clipped),
    }


def embedding_figures(projector: Scaled, h: Float[Tensor, "n k d"], arm: Arm) -> dict[str, Any]:
    """Return what is measured of a projector on features.

    Args:
        projector: in evaluation mode.
        h: features of all views of the test images.
        arm: whose own loss it is.
    """
    z = embed(projector, h)
    found: dict[str, Any] = {
        "own_loss": complete_loss(z, arm.normalization, centred=arm.centred),
        "pearson_loss": complete_loss(z, "pearson"),
        "share_z": _share(population(z)) if z.isfinite().all() else math.nan,
    }
    if isinstance(projector.head, nn.Linear) and arm.normalization == "pearson":
        found["budget"] = _budget(projector.head.weight.detach(), h)
    return found


def population(h: Float[Tensor, "n k d"]) -> Covariances:
    """Return the exact covariances of enumerated views.

    Args:
        h: features or embeddings.
    """
    moments = Moments(h.shape[2], num_blocks=1)
    moments.add(h)
    return moments.population()


def _share(covariances: Covariances) -> float:
    return float(covariances.within.trace() / covariances.total.trace())


@torch.inference_mode()
def _accuracies(data: Enumerated, backbone: nn.Module, num_draws: int) -> dict[str, float]:
    """The test labels are looked at here only, and nothing is chosen by them."""
    train_h, test_h = (
        torch.cat([backbone(data.plain(pixels)) for pixels in part.pixels.split(512)]).clone()
        for part in (data.fit, data.test)
    )
    train_y, test_y = data.fit.labels, data.test.labels
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
    """Root mean square of |C - C^T| / |C| over batches of N pairs, in directions that are uncorrelated."""
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


def _budget(weight: Tensor, h: Tensor) -> dict[str, float]:
    """What the rows of P, each of unit variance, spend on each direction, against the best on the same backbone."""
    covariances = population(h)
    spectrum = intraclass_correlations(covariances.between, covariances.total)
    filling = water_filling(spectrum.clipped, len(weight), WEIGHT)
    rows = nn.functional.normalize(weight.double() @ covariances.total @ spectrum.directions.T, dim=1)
    spent = rows.square().sum(dim=0)
    return {
        "active": float((spent > ACTIVE * len(weight)).sum()),
        "best_active": float(filling.num_active),
        "below_waterline": float(spent[filling.budget <= 0].sum()) / len(weight),
    }
