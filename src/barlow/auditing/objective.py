"""The loss of a subject: what is known of it, and its parts where that is enough."""

from dataclasses import dataclass, replace
from typing import Any, cast, get_args

from barlow.auditing.accounting import loss_taken_apart
from barlow.auditing.estimated_losses import complete_loss
from barlow.auditing.observation import Observation
from barlow.auditing.projector_share import projector_share
from barlow.auditing.spectra import Spectra
from barlow.auditing.subjects import Subject
from barlow.choices import unknown
from barlow.methods.barlow_twins import Normalization
from barlow.recipes import Recipe

REDUNDANCY_WEIGHT = Recipe().redundancy_weight
"""lambda of the floors where no recipe says which."""
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


def objective(subject: Subject, *, normalization: str, redundancy_weight: float, batch_size: int) -> Objective:
    """Return the loss that is asked for, and what is not said as in the run, or in the file.

    Args:
        subject: what is audited.
        normalization: "": that of the run or of the file.
        redundancy_weight: lambda; 0: that of the run, else the default.
        batch_size: N; 0: that of the run.
    """
    recipe = subject.recipe if subject.recipe is not None and subject.recipe.method == "barlow_twins" else None
    kind = normalization or (recipe.normalization if recipe else subject.normalization)
    weight = redundancy_weight or (recipe.redundancy_weight if recipe else REDUNDANCY_WEIGHT)
    size = batch_size or (recipe.batch_size if recipe else 0)
    if recipe is not None:
        recipe = replace(recipe, normalization=cast(Any, kind), redundancy_weight=weight, batch_size=size)
    return Objective(kind, weight, size, recipe)


def check_normalization(normalization: str) -> None:
    """Refuse what is neither "" nor a normalisation.

    Raises:
        ValueError: it is none.
    """
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
        return [f"the loss is not taken apart: to whiten {width} outputs takes more than the {rows} images of a batch"]
    return []


def losses(
    goal: Objective, seen: Observation, before: Observation | None, known: Spectra, *, mlp: bool
) -> dict[str, Any]:
    """Return "loss" and "projector_share" of the figures, None for what is not known.

    Args:
        goal: the loss; lambda at most 1.
        seen: h and z of the network.
        before: those of the network before training, where it can be built.
        known: spectra of h.
        mlp: whether the projector's share is also measured with an MLP.
    """
    found: dict[str, Any] = {"loss": None, "projector_share": None}
    if not goal.normalization or seen.z_a is None or seen.z_b is None or why_no_loss(goal, seen):
        return found
    same: Any = {"redundancy_weight": goal.redundancy_weight, "normalization": goal.normalization}
    blocks = seen.moments.num_blocks
    complete, start = complete_loss(seen.z_a, seen.z_b, num_blocks=blocks, **same), None
    if before is not None and before.z_a is not None and before.z_b is not None:
        start = complete_loss(before.z_a, before.z_b, num_blocks=blocks, **same)
        if goal.recipe is not None and goal.normalization == "pearson":
            found["projector_share"] = projector_share(before, goal.recipe, start=start, end=complete, mlp=mlp)
    found["loss"] = loss_taken_apart(
        seen.z_a, seen.z_b, known, batch_size=goal.batch_size, complete=complete, start=start, **same
    )
    return found
