"""How much of the loss's fall a projector alone explains: the backbone stays as it was before training.

    share = (L_start - L_reached) / (L_start - L_end)

L_reached is the best that a linear projector can do on the untrained backbone (closed form), or what an MLP like the
run's reaches when it is fitted on half of the images; both are scored on complete losses, the MLP's on the other half.
"""

import copy
import math
import time
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from barlow.auditing.accounting import complete_loss
from barlow.auditing.observation import Observation, project
from barlow.auditing.quantities import cross_fit, leading_directions
from barlow.methods.barlow_twins import barlow_twins_loss
from barlow.networks.heads import HeadSpec
from barlow.recipes import Recipe
from barlow.theory.covariances import Covariances
from barlow.theory.floors import pearson_floor
from barlow.theory.intraclass import intraclass_correlations
from barlow.theory.moments import jackknife

SECONDS = 30.0
"""About how long an MLP is fitted."""
STEPS = 600
LEARNING_RATE = 1e-3
BATCH_SIZE = 256
HELD_BACK = 5
LOOK_EVERY = 50
"""An MLP can learn a few hundred images by heart, so the best state on held-back images of its half counts."""
FOLDS = 2
"""Each half is scored by the MLP that was fitted on the other."""


def projector_share(before: Observation, after: Observation, recipe: Recipe, *, mlp: bool = True) -> dict[str, Any]:
    """Return "projector_share" of the figures, for Barlow Twins with Pearson normalisation.

    Args:
        before: features of the untrained backbone and embeddings of its projector.
        after: those of the trained one, of the same images.
        recipe: of the run.
        mlp: fit an MLP as well.

    Raises:
        ValueError: an observation without embeddings.
    """
    start, end = (_complete(seen.z_a, seen.z_b, recipe) for seen in (before, after))
    width = before.z_a.shape[1] if before.z_a is not None else 0
    basis = leading_directions(before.moments.covariances())

    def limit(c: Covariances) -> float:
        inside = c.projected(basis)
        rho = intraclass_correlations(inside.between, inside.total).clipped
        return pearson_floor(rho, width, recipe.redundancy_weight)

    plug_in, error = jackknife(before.moments, limit)
    pessimistic = pearson_floor(cross_fit(before), width, recipe.redundancy_weight)
    fall = start - end

    def share(loss: float, loss_error: float) -> dict[str, float | None]:
        known = abs(fall) > 0 and math.isfinite(loss)
        return {
            "loss": loss,
            "share": (start - loss) / fall if known else None,
            "error": loss_error / abs(fall) if known else None,
        }

    # Half of the bracket is an error as well: the truth is between plug-in and cross-fit, up to sampling.
    bracket = abs(pessimistic - plug_in) / 4
    linear = share((plug_in + pessimistic) / 2, math.hypot(error, bracket))
    return {"start": start, "end": end, "linear": linear, "mlp": share(*_fitted(before, recipe)) if mlp else None}


def _complete(z_a: Tensor | None, z_b: Tensor | None, recipe: Recipe) -> float:
    if z_a is None or z_b is None:
        raise ValueError("projector_share: wanted embeddings of both networks")
    return complete_loss(z_a, z_b, redundancy_weight=recipe.redundancy_weight, normalization=recipe.normalization)


def _fitted(before: Observation, recipe: Recipe) -> tuple[float, float]:
    """Complete loss of an MLP fitted on frozen features, and the error that two halves show."""
    if before.h_views is None:
        raise ValueError("projector_share: wanted the features of every view of the untrained network")
    rows = torch.arange(len(before.h_views))
    losses = []
    for fold in range(FOLDS):
        mlp = _fit(before.h_views[rows % FOLDS != fold], recipe, seconds=SECONDS / FOLDS)
        score = rows % FOLDS == fold
        losses.append(_complete(project(mlp, before.h_a[score]), project(mlp, before.h_b[score]), recipe))
    return fmean(losses), (max(losses) - min(losses)) / 2


def _fit(h_views: Tensor, recipe: Recipe, *, seconds: float) -> nn.Module:
    """Train the run's projector on features, and return it as it was best on every `HELD_BACK`th image of them."""
    rows = torch.arange(len(h_views))
    held_back, h = h_views[rows % HELD_BACK == 0], h_views[rows % HELD_BACK != 0]
    mlp = nn.Sequential(_Standardise(h.mean(dim=(0, 1)), h.std(dim=(0, 1)).clamp(min=1e-6)), _head(recipe, h.shape[2]))
    optimizer = torch.optim.AdamW(mlp.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    generator = torch.Generator().manual_seed(recipe.seed)
    best, best_loss, started = copy.deepcopy(mlp), math.inf, time.perf_counter()
    for step in range(1, STEPS + 1):
        chosen = torch.randperm(len(h), generator=generator)[:BATCH_SIZE]
        pair = torch.randperm(h.shape[1], generator=generator)[:2]
        z_a, z_b = (mlp(h[chosen, view]) for view in pair.tolist())
        terms = barlow_twins_loss(z_a, z_b, redundancy_weight=recipe.redundancy_weight)
        optimizer.zero_grad()
        terms.total.backward()
        optimizer.step()
        over = time.perf_counter() - started > seconds
        if step % LOOK_EVERY == 0 or over:
            loss = _complete(project(mlp.eval(), held_back[:, 0]), project(mlp, held_back[:, 1]), recipe)
            if loss < best_loss:
                best, best_loss = copy.deepcopy(mlp), loss
            mlp.train()
        if over:
            break
    return best.eval()


def _head(recipe: Recipe, num_features: int) -> nn.Module:
    """The projector of the recipe as it begins, without a trace in the global random numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        head = HeadSpec(
            recipe.projector, recipe.projector_norm, activation=recipe.projector_activation, bias=recipe.projector_bias
        )
        return head.build(num_features)


class _Standardise(nn.Module):
    """(h - mean) / scale: features of an untrained network may be tiny, and Adam would take long to see them."""

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.mean, self.scale = mean, scale

    def forward(self, h: Tensor) -> Tensor:
        """Return h on a common scale."""
        return (h - self.mean) / self.scale
