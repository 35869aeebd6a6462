"""How much of the loss's fall a projector alone explains: the backbone stays as it was before training.

    share = (L_start - L_reached) / (L_start - L_end)

L_reached is the best that a linear projector can do on the untrained backbone (closed form), or what an MLP like the
run's reaches when it is fitted on half of the samples; both are scored on complete losses, the MLP's on the other half.
"""

import copy
import math
import time
from statistics import fmean

import torch
from torch import Tensor, nn

from barlow.audits.estimated_losses import estimated_loss, with_replicates
from barlow.audits.loss import least_pearson_loss
from barlow.audits.observation import Observation, project
from barlow.audits.quantities import measured
from barlow.audits.spectra import spectra
from barlow.figures import ProjectorShare, Reached
from barlow.methods.barlow_twins import barlow_twins_loss
from barlow.methods.heads import head_of
from barlow.methods.table import options_in
from barlow.recipes import Recipe
from barlow.statistics.collectives import identity
from barlow.theory.standard_errors import Jackknifed

SECONDS = 30.0
"""About how long an MLP is fitted."""
STEPS = 600
LEARNING_RATE = 1e-3
BATCH_SIZE = 256
HELD_BACK = 5
LOOK_EVERY = 50
"""An MLP can learn a few hundred samples by heart, so the best state on held-back samples of its half counts."""
FOLDS = 2
"""Each half is scored by the MLP that was fitted on the other."""


def projector_share(
    before: Observation,
    recipe: Recipe,
    *,
    start: Jackknifed,
    end: Jackknifed,
    mlp: bool = True,
    seconds: float = SECONDS,
    most_directions: int | None = None,
) -> ProjectorShare:
    """Return the share of the fall that a projector alone reaches, for Barlow Twins with Pearson normalisation.

    `before` is of the untrained network; `start` is the complete loss of its embeddings, and `end` that of the trained
    network, of the same samples in the same blocks. An MLP is fitted for about `seconds`, at most `SECONDS`, where the
    recipe has a projector; the linear one is of `most_directions` directions of wide features.
    """
    if before.z_a is None:
        raise ValueError("before: wanted embeddings of the untrained network")
    fits = mlp and recipe.projector != "none"
    known = spectra(before.moments, before.flips, before.dtype, most_directions)
    least = least_pearson_loss(known, before.z_a.shape[1], _weight(recipe))
    return ProjectorShare(
        start=float(start.value),
        end=float(end.value),
        linear=_share(_known(least.value, start), least.error or 0.0, start, end),
        mlp=_share(*_fitted(before, recipe, min(SECONDS, seconds)), start, end) if fits else Reached(),
    )


def _share(reached: Jackknifed, other_error: float, start: Jackknifed, end: Jackknifed) -> Reached:
    """The share of the fall; its error is that of the three losses together, and what else the reached one has."""
    loss, fall = float(reached.value), float(start.value - end.value)
    share = (start - reached) / (start - end)
    error = math.hypot(float(share.standard_error), other_error / abs(fall)) if fall else math.nan
    return Reached(loss, measured(share.value, error))


def _known(value: float, like: Jackknifed) -> Jackknifed:
    """A number whose error is told beside it, with as many replicates as another."""
    return Jackknifed(torch.full_like(like.value, value), torch.full_like(like.left_out, value))


def _fitted(before: Observation, recipe: Recipe, seconds: float) -> tuple[Jackknifed, float]:
    """Complete loss of an MLP fitted on frozen features, and the error that two halves show."""
    if before.h_views is None:
        raise ValueError("before: wanted the features of every view of the untrained network")
    rows = torch.arange(len(before.h_views))
    scored = []
    for fold in range(FOLDS):
        mlp = _fit(before.h_views[rows % FOLDS != fold], recipe, seconds=seconds / FOLDS)
        score = rows % FOLDS == fold
        scored.append((project(mlp, before.h_a[score]), project(mlp, before.h_b[score])))

    def loss(kept: Tensor) -> list[float]:
        """Loss of each half, in the rows that count."""
        halves = (kept[kept % FOLDS == fold] // FOLDS for fold in range(FOLDS))
        return [_loss(z_a[half], z_b[half], recipe) for (z_a, z_b), half in zip(scored, halves, strict=True)]

    width, blocks = scored[0][0].shape[1], before.moments.num_blocks
    found = with_replicates(lambda kept: fmean(loss(kept)), rows, width, blocks, before.work)
    halves = loss(rows)
    return found, (max(halves) - min(halves)) / 2


def _loss(z_a: Tensor, z_b: Tensor, recipe: Recipe) -> float:
    return estimated_loss(z_a, z_b, redundancy_weight=_weight(recipe), normalization="pearson")


def _weight(recipe: Recipe) -> float:
    return float(options_in(recipe)["redundancy_weight"])


def _fit(h_views: Tensor, recipe: Recipe, *, seconds: float) -> nn.Module:
    """Train the run's projector on features, and return it as it was best on every `HELD_BACK`th sample of them."""
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
        terms = barlow_twins_loss(z_a, z_b, redundancy_weight=_weight(recipe), all_mean=identity)
        optimizer.zero_grad()
        terms.total.backward()
        optimizer.step()
        over = time.perf_counter() - started > seconds
        if step % LOOK_EVERY == 0 or over:
            loss = _loss(project(mlp.eval(), held_back[:, 0]), project(mlp, held_back[:, 1]), recipe)
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
        return head_of(recipe).build(num_features)


class _Standardise(nn.Module):
    """(h - mean) / scale: features of an untrained network may be tiny, and Adam would take long to see them."""

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.mean, self.scale = mean, scale

    def forward(self, h: Tensor) -> Tensor:
        """Return h on a common scale."""
        return (h - self.mean) / self.scale
