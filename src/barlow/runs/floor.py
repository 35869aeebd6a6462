"""What the loss of a recipe cannot go below, and how to say it."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from barlow.methods.heads import projector_width
from barlow.methods.table import options_in
from barlow.recipes import Recipe
from barlow.theory.floors import batch_floor, pearson_floor, raw_floor

Limit = Callable[[Tensor], float]
"""Intraclass correlations of h -> the least loss of a linear projector on them."""
CENTRED = ("pearson", "scalar", "covariance", "whiten")
"""Normalisations that centre each view, which costs C one rank."""

FLOOR_DOMINATES = 0.05
"""Warn when the floor is more than this share of D, what a network that has learnt nothing pays on the diagonal:
trained networks end a few percent of D above their floor, so the curve would mostly show the floor."""


def loss_floor(recipe: Recipe, num_features: int) -> float | None:
    """Return what the loss of `recipe` cannot go below at its batch size; None where no such number is known."""
    options = options_in(recipe)
    if recipe.method != "barlow_twins" or options["redundancy_weight"] > 1:
        return None
    if options["bias"] == "removed":
        return None  # without the noise of the batch its floor is gone too, and the estimate may fall below 0
    width = projector_width(recipe.projector, num_features)
    if options["normalization"] in CENTRED:
        return batch_floor(recipe.batch_size, width, options["redundancy_weight"])
    return raw_floor(width, recipe.batch_size, options["redundancy_weight"])


def backbone_limit(recipe: Recipe, num_features: int) -> Limit | None:
    """Return rho -> L*, from intraclass correlations of h to the least loss of a linear projector on them.

    See `barlow.pearson_floor`; None where the theory has no such number.
    """
    options = options_in(recipe)
    if recipe.method != "barlow_twins" or options["normalization"] != "pearson" or options["redundancy_weight"] > 1:
        return None
    width = projector_width(recipe.projector, num_features)
    return partial(pearson_floor, num_features=width, redundancy_weight=options["redundancy_weight"])


def floor_lines(recipe: Recipe, floor: float | None, width: int) -> tuple[str, bool]:
    """Say what the loss cannot go below, and whether that is most of what the curve will show (a warning).

    `width` is D, of the embedding. The sentence is empty where no floor is known.
    """
    if floor is None:
        return "", False
    weight = options_in(recipe)["redundancy_weight"]
    batch = f"batch {recipe.batch_size} x {width} features, lambda {weight:g}"
    if floor <= FLOOR_DOMINATES * width:
        return f"floor: no network can show a loss below {floor:.4g} ({batch})", False
    return (
        f"floor: no network can show a loss below {floor:.4g} ({batch}); most of the curve will be that number. "
        "Read the excess above it, or take a larger batch or a narrower projector",
        True,
    )
