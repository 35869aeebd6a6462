"""What images get that have so many minutes: one table, one function that reads it. No torch.

The table is ours, measured (`benchmarks/README.md`); to choose otherwise, change a row. Numbers given by hand stay as
they were given, and of a method that is not Barlow Twins its loss and its head stay too.
"""

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from barlow.recipes.barlow_twins import pictures
from barlow.recipes.recipe import Recipe, flat, folded, with_numbers


@dataclass(frozen=True)
class Row:
    """One choice for images, and when it is the one.

    Attributes:
        from_side, to_side: median short sides of the images that the row is for, in pixels.
        from_minutes: a shorter time takes another row.
        from_images: so does a time in which the network would see fewer images, on the machine at hand.
        grey_views: instead of `views` where the images have one channel.
    """

    from_side: int
    to_side: int
    from_minutes: int | float
    from_images: int
    image_size: int
    backbone: str
    width: int
    stem: str
    zero_init: bool
    batch_size: int
    projector: str
    redundancy_weight: float
    learning_rate: float
    views: str
    grey_views: str


def _row(recipe: Recipe, *, grey_views: str, from_side: int, to_side: int) -> Row:
    """Return the row whose numbers are those of a recipe, so that they stand in one place."""
    numbers = {one.name: getattr(recipe, one.name) for one in fields(Row) if hasattr(recipe, one.name)}
    weight = float(recipe.options["redundancy_weight"])
    limits: dict[str, Any] = {"from_side": from_side, "to_side": to_side, "from_minutes": 0, "from_images": 0}
    return Row(**limits, **numbers, redundancy_weight=weight, grey_views=grey_views)


TABLE = (
    _row(pictures(), grey_views="photographs", from_side=40, to_side=1_000_000),
    _row(replace(pictures(), image_size=32), grey_views="small-grey-flip", from_side=0, to_side=39),
)
"""The rows in the order in which they are asked, the one that needs most time first."""

REPLACED = ("cifar", "imagenet")
"""Recipes of Barlow Twins for GPUs and days, which data get by their name; with a time they get a row as others do."""
PASSES = 100
"""Times that every image should be seen in the time that is taken where nobody says one."""
USUAL_MINUTES = (5, 10, 15, 20, 30, 45, 60)
"""Those times; one that needs more than the last takes the last."""


def has_rows(recipe: Recipe) -> bool:
    """Whether a recipe that data got without being asked for by its whole name may be exchanged for a row."""
    return recipe.name in REPLACED or lacks_epochs(recipe)


def lacks_epochs(recipe: Recipe) -> bool:
    """Whether such a recipe gets a time where neither epochs nor minutes were said; others have epochs of their own."""
    return recipe.name.removeprefix(f"{recipe.method}-") == "pictures"


def usual_minutes(num_samples: int, seconds_per_sample: float) -> int:
    """Return the time for data of some size on a machine of some speed: `PASSES` of them, a third more for the rest."""
    wanted = PASSES * num_samples * seconds_per_sample / 60 * 4 / 3
    return next((minutes for minutes in USUAL_MINUTES if minutes >= wanted), USUAL_MINUTES[-1])


def for_minutes(
    recipe: Recipe,
    kept: Collection[str],
    *,
    num_samples: int,
    short_side: int,
    channels: int,
    seconds_per_sample: Callable[[Recipe], float],
) -> Recipe:
    """Settle size, network, batch and loss of a recipe for images by the time that there is.

    Args:
        recipe: the one made for the data, with what was given by hand; its `minutes` are the whole time, 0: whichever
            suits, `usual_minutes`.
        kept: fields and options ("options.redundancy_weight") that were given by hand, which stay.
        num_samples: images to learn from.
        short_side: median of their shorter sides, in pixels.
        channels: 1 for grey images.
        seconds_per_sample: what one image costs in a step of a recipe, measured on this machine.

    Returns:
        The recipe with the first row whose images these are and whose time there is, else the last one whose images
        these are; its `minutes` are settled and its `source` says why.
    """
    minutes = recipe.minutes
    if recipe.name in REPLACED:
        recipe = _in_place_of(recipe, kept)
    rows = [row for row in TABLE if row.from_side <= short_side <= row.to_side]
    choices = [_with_row(recipe, row, kept, short_side, channels) for row in rows]
    if not minutes:
        minutes = usual_minutes(num_samples, seconds_per_sample(choices[-1]))
    for row, choice in zip(rows, choices, strict=True):
        is_last = row is rows[-1]
        if not is_last and minutes < row.from_minutes:
            continue
        seen = 60 * minutes / seconds_per_sample(choice) if row.from_images and not is_last else float("inf")
        if seen >= row.from_images:
            break
    why = f"{minutes:g} minutes for images with a short side of {short_side} pixels"
    return replace(choice, minutes=minutes, source=f"ours: recipes/minutes.py, the row for {why}", published="")


def _in_place_of(recipe: Recipe, kept: Collection[str]) -> Recipe:
    """The recipe for any pictures, with what was given by hand."""
    given = {name: value for name, value in flat(asdict(recipe)).items() if name in kept}
    return with_numbers(pictures(), folded(given))


def _with_row(recipe: Recipe, row: Row, kept: Collection[str], short_side: int, channels: int) -> Recipe:
    numbers: dict[str, Any] = {"image_size": min(row.image_size, short_side)}
    if "backbone" not in kept:  # the width and the stem of one network are not those of another
        numbers |= {"backbone": row.backbone, "width": row.width, "stem": row.stem, "zero_init": row.zero_init}
    if recipe.method == Recipe.method:
        numbers |= {"batch_size": row.batch_size, "projector": row.projector, "learning_rate": row.learning_rate}
        numbers |= {"views": row.grey_views if channels == 1 else row.views}
        if "options.redundancy_weight" not in kept:
            recipe = replace(recipe, options=recipe.options | {"redundancy_weight": row.redundancy_weight})
    return replace(recipe, **{name: value for name, value in numbers.items() if name not in kept})
