"""Training the backbone while the linear projector is solved exactly for every batch (prediction P1).

For a batch of n images with K views each, S = (1/n) sum ybar ybar^T over the batch is the complete raw matrix of these
images, all K^2 pairs of views. With P from `raw_projector`, P S P^T = I to rounding, and the gradient of the raw loss

    dL/dS = P^T (dL/dC) P,    dL/dC = 2 (C - I) on the diagonal, 2 lambda C beside it,    is 0:

the backbone is told nothing. Whether P is held fixed in that gradient or not makes no difference at an optimum. For
comparison the same batch is given to a random P, and to the Pearson loss with *its* best P in closed form.
"""

import math
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.statistics.correlation import matrix_loss
from barlow.studies.cells import Metrics
from barlow.studies.images import load_enumerated
from barlow.studies.variants import (
    WEIGHT,
    WIDTH,
    World,
    backbone_metrics,
    small_backbone,
    squared_gradient,
    untrained_metrics,
)
from barlow.theory.projectors import pearson_projector, raw_projector

IMAGES, VIEWS = 128, 4
"""A batch: more images than features, or S would be of lower rank than the backbone allows."""


def measure_solved(work: Path, *, seed: int, steps: int, rate: float, draws: int, **source: Any) -> Metrics:
    """Train by Adam with the projector solved in every step, and return metrics before and after."""
    return solved_on(load_enumerated(**source, seed=seed), seed=seed, steps=steps, rate=rate, draws=draws)


def solved_on(images: World, *, seed: int, steps: int, rate: float, draws: int) -> Metrics:
    """Return the metrics of `measure_solved` on a world."""
    backbone = small_backbone(images.channels, images.side, seed)
    start = untrained_metrics(images, seed, draws)
    backbone.double()  # float32 noise in a gradient of zero is what Adam would follow
    generator = torch.Generator().manual_seed(seed)
    references = _references(images, backbone, seed)
    optimizer = torch.optim.Adam(backbone.parameters(), lr=rate)
    gradients, losses = [], []
    for _ in range(steps):
        s = _raw_matrix(_batch(images, backbone, generator))
        p = raw_projector(s.detach(), WIDTH, WEIGHT).weight
        loss = matrix_loss(p @ s @ p.T, WEIGHT)
        optimizer.zero_grad()
        loss.backward()
        gradients.append(math.sqrt(squared_gradient(backbone)))
        losses.append(float(loss.detach()))
        optimizer.step()
    backbone.float()
    return {
        "start": start,
        "end": backbone_metrics(images, backbone, images.features(backbone, images.test.pixels), draws),
        "largest_gradient": max(gradients),
        "largest_loss": max(losses),
        "num_test": len(images.test.labels),
        **references,
    }


def _references(images: World, backbone: nn.Module, seed: int) -> dict[str, float]:
    """Gradients on the untrained backbone of losses that do ask something of it."""
    generator = torch.Generator().manual_seed(seed)
    num_features = _batch(images, backbone, generator).shape[2]
    random = torch.randn(WIDTH, num_features, generator=generator).double()
    s = _raw_matrix(_batch(images, backbone, generator))
    random *= (WIDTH / float((random @ s.detach() @ random.T).trace())) ** 0.5
    unsolved = _gradient(backbone, matrix_loss(random @ s @ random.T, WEIGHT))
    between, total = _covariances(_batch(images, backbone, generator))
    p = pearson_projector(between.detach(), total.detach(), WIDTH, WEIGHT).weight
    scale = torch.einsum("pd,de,pe->p", p, total, p).rsqrt()
    c = scale[:, None] * (p @ between @ p.T) * scale
    return {"raw_random": unsolved, "pearson_solved": _gradient(backbone, matrix_loss(c, WEIGHT))}


def _batch(images: World, backbone: nn.Module, generator: torch.Generator) -> Float[Tensor, "n k d"]:
    rows = torch.randperm(len(images.fit.pixels), generator=generator)[:IMAGES]
    views = torch.stack([images.draw(images.fit.pixels[rows], generator) for _ in range(VIEWS)], dim=1).double()
    h: Tensor = backbone(views.flatten(0, 1)).unflatten(0, views.shape[:2])
    return h


def _raw_matrix(h: Tensor) -> Tensor:
    means = h.mean(dim=1)
    return means.T @ means / len(means)


def _covariances(h: Tensor) -> tuple[Tensor, Tensor]:
    """B and T of the views that are there, as if they were all; with gradient."""
    centred = h - h.mean(dim=(0, 1))
    rows = centred.flatten(0, 1)
    return _raw_matrix(centred), rows.T @ rows / len(rows)


def _gradient(backbone: nn.Module, loss: Tensor) -> float:
    backbone.zero_grad()
    loss.backward()
    norm = math.sqrt(squared_gradient(backbone))
    backbone.zero_grad()
    return norm
