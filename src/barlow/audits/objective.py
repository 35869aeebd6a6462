"""The loss of a subject: what is known of it, and its parts where that is enough."""

import math
from dataclasses import dataclass
from typing import Any, get_args

from barlow.audits.estimated_losses import complete_loss
from barlow.audits.loss import loss_taken_apart
from barlow.audits.observation import Observation
from barlow.audits.projector_share import projector_share
from barlow.audits.settings import AuditSettings
from barlow.audits.spectra import Spectra
from barlow.audits.subjects import Subject
from barlow.errors import unknown
from barlow.figures import Loss, ProjectorShare
from barlow.methods.barlow_twins import REDUNDANCY_WEIGHT, Normalization
from barlow.methods.table import options_in
from barlow.recipes import Recipe, with_numbers

OFFICIAL = "2,048 and 0.0051 in the official code of Barlow Twins"
"""Source: facebookresearch/barlowtwins, main.py, --batch-size and --lambd."""


@dataclass(frozen=True)
class Objective:
    """A Barlow Twins loss, as far as it is known.

    Attributes:
        normalization: of z; "" where nobody knows it.
        redundancy_weight: lambda.
        batch_size: N; 0 where nobody knows it.
        recipe: of a run with this method, with these numbers; None for what is no such run.
    """

    normalization: str
    redundancy_weight: float
    batch_size: int
    recipe: Recipe | None


def objective(subject: Subject, asked: AuditSettings) -> Objective:
    """Return the loss that is asked for, and what is not said as in the run, or in the file."""
    recipe = subject.recipe if subject.recipe is not None and subject.recipe.method == "barlow_twins" else None
    options = options_in(recipe) if recipe else {}
    kind = asked.normalization or options.get("normalization", subject.normalization)
    weight = asked.redundancy_weight or options.get("redundancy_weight", REDUNDANCY_WEIGHT)
    size = asked.batch_size or (recipe.batch_size if recipe else 0)
    if recipe is not None:
        numbers = {"normalization": kind, "redundancy_weight": weight, "batch_size": size}
        recipe = with_numbers(recipe, numbers)
    return Objective(kind, weight, size, recipe)


def check_normalization(normalization: str) -> None:
    """Refuse what is neither "" nor a normalisation."""
    if normalization and normalization not in get_args(Normalization):
        raise unknown("normalization", normalization, get_args(Normalization))


def why_no_loss(goal: Objective, seen: Observation) -> list[str]:
    """Return what is missing for a loss whose normalisation is known; nothing where none is."""
    if not goal.normalization:
        return []
    if seen.z_a is None:
        return ["the loss is not taken apart: it is of z, and there is no projector here"]
    if not goal.batch_size:
        missing = f"pass batch_size, and redundancy_weight where it is not {goal.redundancy_weight:g} ({OFFICIAL})"
        return [f"the loss is not taken apart, because the batch size of the training is not known: {missing}"]
    rows, width = min(goal.batch_size, len(seen.z_a)), seen.z_a.shape[1]
    if goal.normalization == "whiten" and rows <= width:
        return [f"the loss is not taken apart: to whiten {width} outputs takes more than the {rows} samples of a batch"]
    return []


def losses(
    goal: Objective,
    seen: Observation,
    before: Observation | None,
    known: Spectra,
    *,
    mlp: bool,
    seconds: float = math.inf,
) -> tuple[Loss, ProjectorShare]:
    """Return the loss taken apart and the projector's share of its fall, empty where they are not known.

    `before` is of the network before training, where it can be built; `mlp`: the share is also measured with an MLP,
    which is fitted for at most about `seconds`.
    """
    if not goal.normalization or seen.z_a is None or seen.z_b is None or why_no_loss(goal, seen):
        return Loss(), ProjectorShare()
    same: Any = {"redundancy_weight": goal.redundancy_weight, "normalization": goal.normalization}
    blocks = seen.moments.num_blocks
    complete, start = complete_loss(seen.z_a, seen.z_b, num_blocks=blocks, work=seen.work, **same), None
    share = ProjectorShare()
    if before is not None and before.z_a is not None and before.z_b is not None:
        start = complete_loss(before.z_a, before.z_b, num_blocks=blocks, work=seen.work, **same)
        if goal.recipe is not None and goal.normalization == "pearson":
            share = projector_share(
                before,
                goal.recipe,
                start=start,
                end=complete,
                mlp=mlp,
                seconds=seconds,
                most_directions=len(known.basis),
            )
    loss = loss_taken_apart(
        seen.z_a, seen.z_b, known, batch_size=goal.batch_size, complete=complete, start=start, **same
    )
    return loss, share
