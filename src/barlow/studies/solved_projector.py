"""Training the backbone while the linear projector is solved exactly for every batch (prediction P1).

For a batch of n images with K views each, S = (1/n) sum ybar ybar^T over the batch is the complete raw matrix of these
images, all K^2 pairs of views. With P from `raw_projector`, P S P^T = I to rounding, and the gradient of the raw loss

    dL/dS = P^T (dL/dC) P,    dL/dC = 2 (C - I) on the diagonal, 2 lambda C beside it,    is 0:

the backbone is told nothing. Whether P is held fixed in that gradient or not makes no difference at an optimum. For
comparison the same batch is given to a random P, and to the Pearson loss with *its* best P in closed form.
"""

import math
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.studies.arm_figures import feature_figures, untrained_figures
from barlow.studies.cells import Figures
from barlow.studies.enumerated_views import Enumerated, load_enumerated
from barlow.studies.matrix_loss import matrix_loss
from barlow.studies.small_networks import small_backbone
from barlow.studies.training_cell import WEIGHT, view_features
from barlow.theory.projectors import pearson_projector, raw_projector

WIDTH = 32
"""D, below the rank of the features: the case of the paper's claim."""
IMAGES, VIEWS = 128, 4
"""A batch: more images than features, or S would be of lower rank than the backbone allows."""


def measure_solved(
    work: Path,
    *,
    data: str,
    data_root: str,
    seed: int,
    steps: int,
    rate: float,
    draws: int,
    most_train: int,
    most_test: int,
) -> Figures:
    """Train by Adam with the projector solved in every step, and return figures before and after.

    Args:
        work: not used.
        data: a name or a path.
        data_root: where named data sets live.
        seed: of weights, batches and views.
        steps: of Adam on the backbone.
        rate: of Adam.
        draws: of 100 labels.
        most_train: images, at most.
        most_test: images, at most.
    """
    loaded = load_enumerated(data, data_root, most_train=most_train, most_test=most_test, seed=seed)
    backbone = small_backbone(loaded.channels, loaded.pipeline.size, seed)
    start = untrained_figures(loaded, seed, WIDTH, draws)
    backbone.double()  # float32 noise in a gradient of zero is what Adam would follow
    generator = torch.Generator().manual_seed(seed)
    references = _references(loaded, backbone, seed)
    optimizer = torch.optim.Adam(backbone.parameters(), lr=rate)
    gradients, losses = [], []
    for _ in range(steps):
        h = _batch(loaded, backbone, generator)
        s = _raw_matrix(h)
        p = raw_projector(s.detach(), WIDTH, WEIGHT).weight
        loss = matrix_loss(p @ s @ p.T, WEIGHT)
        optimizer.zero_grad()
        loss.backward()
        gradients.append(_gradient_norm(backbone))
        losses.append(float(loss.detach()))
        optimizer.step()
    backbone.float()
    return {
        "start": start,
        "end": feature_figures(loaded, backbone, view_features(loaded, backbone, loaded.test.pixels), WIDTH, draws),
        "largest_gradient": max(gradients),
        "largest_loss": max(losses),
        "num_test": len(loaded.test.labels),
        **references,
    }


def _references(data: Enumerated, backbone: nn.Module, seed: int) -> dict[str, float]:
    """Gradients on the untrained backbone of losses that do ask something of it."""
    generator = torch.Generator().manual_seed(seed)
    random = torch.randn(WIDTH, _raw_matrix(_batch(data, backbone, generator)).shape[0], generator=generator).double()
    h = _batch(data, backbone, generator)
    s = _raw_matrix(h)
    random *= (WIDTH / float((random @ s.detach() @ random.T).trace())) ** 0.5
    unsolved = _gradient(backbone, matrix_loss(random @ s @ random.T, WEIGHT))
    h = _batch(data, backbone, generator)
    between, total = _covariances(h)
    p = pearson_projector(between.detach(), total.detach(), WIDTH, WEIGHT).weight
    scale = torch.einsum("pd,de,pe->p", p, total, p).rsqrt()
    c = scale[:, None] * (p @ between @ p.T) * scale
    return {"raw_random": unsolved, "pearson_solved": _gradient(backbone, matrix_loss(c, WEIGHT))}


def _batch(data: Enumerated, backbone: nn.Module, generator: torch.Generator) -> Float[Tensor, "n k d"]:
    rows = torch.randperm(len(data.fit.pixels), generator=generator)[:IMAGES]
    views = torch.stack([data.draw(data.fit.pixels[rows], generator) for _ in range(VIEWS)], dim=1).double()
    h: Tensor = backbone(views.flatten(0, 1)).unflatten(0, views.shape[:2])
    return h


def _raw_matrix(h: Tensor) -> Tensor:
    means = h.mean(dim=1)
    return means.T @ means / len(means)


def _covariances(h: Tensor) -> tuple[Tensor, Tensor]:
    """B and T of the views that are there, as if they were all."""
    centred = h - h.mean(dim=(0, 1))
    means, rows = centred.mean(dim=1), centred.flatten(0, 1)
    return means.T @ means / len(means), rows.T @ rows / len(rows)


def _gradient(backbone: nn.Module, loss: Tensor) -> float:
    backbone.zero_grad()
    loss.backward()
    norm = _gradient_norm(backbone)
    backbone.zero_grad()
    return norm


def _gradient_norm(backbone: nn.Module) -> float:
    squares = sum((float(p.grad.square().sum()) for p in backbone.parameters() if p.grad is not None), 0.0)
    return math.sqrt(squares)
