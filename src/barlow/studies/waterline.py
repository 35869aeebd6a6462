"""How many directions gradient descent uses, against the waterline of Theorem 2 (prediction P7).

On the covariances of an untrained backbone, in coordinates where T = I and B = diag(rho), a linear projector under the
Pearson loss is a matrix V of unit rows and C = V diag(rho) V^T. Adam on V from random starts, for several D and
lambda; the budget of direction k is sum_i V_ik^2. Nothing is estimated here: the question is whether descent finds the
collapse that the closed form predicts, or stays in a worse place.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from barlow.studies.arm_figures import ACTIVE, population
from barlow.studies.cells import Figures
from barlow.studies.enumerated_views import load_enumerated
from barlow.studies.matrix_loss import matrix_loss
from barlow.studies.small_networks import small_backbone
from barlow.studies.training_cell import view_features
from barlow.theory.intraclass import intraclass_correlations
from barlow.theory.water_filling import water_filling

RATE = 0.03
"""Of Adam on rows of length 1; it falls to 0."""


def measure_waterline(
    work: Path,
    *,
    data: str,
    data_root: str,
    seed: int,
    steps: int,
    widths: list[int],
    weights: list[float],
    most_train: int,
    most_test: int,
) -> Figures:
    """Return what descent uses and what the waterline predicts, for every D and lambda.

    Args:
        work: not used.
        data: a name or a path.
        data_root: where named data sets live.
        seed: of the backbone and of the starts.
        steps: of Adam.
        widths: D.
        weights: lambda.
        most_train: images, at most.
        most_test: images, at most.
    """
    loaded = load_enumerated(data, data_root, most_train=most_train, most_test=most_test, seed=seed)
    backbone = small_backbone(loaded.channels, loaded.pipeline.size, seed)
    covariances = population(view_features(loaded, backbone, loaded.test.pixels))
    rho = intraclass_correlations(covariances.between, covariances.total).clipped
    return {"found": [_descend(rho, width, weight, steps, seed) for width in widths for weight in weights]}


def _descend(rho: Tensor, width: int, weight: float, steps: int, seed: int) -> dict[str, Any]:
    predicted = water_filling(rho, width, weight)
    v = torch.randn(width, len(rho), dtype=rho.dtype, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    optimizer = torch.optim.Adam([v], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = nn.functional.normalize(v, dim=1)
        loss = matrix_loss((rows * rho) @ rows.T, weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    rows = nn.functional.normalize(v.detach(), dim=1)
    spent = rows.square().sum(dim=0)
    return {
        "width": width,
        "weight": weight,
        "loss": float(matrix_loss((rows * rho) @ rows.T, weight)),
        "floor": predicted.loss,
        "active": int((spent > ACTIVE * width).sum()),
        "predicted": predicted.num_active,
        "waterline": predicted.waterline,
    }
