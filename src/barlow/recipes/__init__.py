"""Complete runs by name: numbers only, no torch. One file per method; `RECIPES` lists them all."""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from barlow.recipes import barlow_twins
from barlow.recipes.recipe import Recipe as Recipe, with_numbers as with_numbers

RECIPES: dict[str, Callable[[], Recipe]] = {
    "digits": barlow_twins.digits,
    "small-grey": barlow_twins.small_grey,
    "cifar": barlow_twins.cifar,
    "imagenet": barlow_twins.imagenet,
    "pictures": barlow_twins.pictures,
}

MADE_FOR = {
    "digits": "digits",
    "mnist": "small-grey",
    "fashion-mnist": "small-grey",
    "kmnist": "small-grey",
    "cifar10": "cifar",
    "cifar100": "cifar",
    "svhn": "cifar",
    "imagenet": "imagenet",
}
"""The recipe that a named data set gets when none is asked for; everything else gets "pictures"."""


def recipe_for(name: str | None, data: Any = None) -> Recipe:
    """Return a recipe by name, or the one made for the data.

    A method's name alone, such as "simclr", stands for its recipe made for the data: "simclr-small-grey" for
    Fashion-MNIST.

    Raises:
        ValueError: no recipe of that name; says the nearest.
    """
    made_for = MADE_FOR.get(data if isinstance(data, str) else "", "pictures")
    if not name:
        return RECIPES[made_for]()
    if name not in RECIPES and f"{name}-{made_for}" in RECIPES:
        name = f"{name}-{made_for}"
    if name not in RECIPES:
        nearest = get_close_matches(name, RECIPES, n=1, cutoff=0.0)[0]
        raise ValueError(f"recipe: got {name!r}, wanted one of {', '.join(RECIPES)}; did you mean {nearest!r}?")
    return RECIPES[name]()
