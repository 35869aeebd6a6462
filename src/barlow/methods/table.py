"""The methods by name, and the options that each of them has."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from barlow.arguments import checked
from barlow.errors import did_you_mean, unknown
from barlow.methods.barlow_twins import barlow_twins
from barlow.methods.byol import byol
from barlow.methods.cca_ssg import cca_ssg
from barlow.methods.optimal_projector import optimal_projector
from barlow.methods.sigreg import sigreg
from barlow.methods.simclr import simclr
from barlow.methods.simsiam import simsiam
from barlow.methods.speakers import Speakers
from barlow.methods.swav import swav
from barlow.methods.vicreg import vicreg
from barlow.methods.vicregl import vicregl
from barlow.methods.wmse import wmse
from barlow.recipes import OWN, Recipe
from barlow.seams import Method

Builder = Callable[..., Method]
"""(backbone, head, num_features, **options) -> Method; what it takes after the first three are its options."""

METHODS: dict[str, Builder] = {
    "barlow_twins": barlow_twins,
    "simclr": simclr,
    "swav": swav,
    "simsiam": simsiam,
    "vicreg": vicreg,
    "vicregl": vicregl,
    "wmse": wmse,
    "optimal_projector": optimal_projector,
    "byol": byol,
    "sigreg": sigreg,
    "cca_ssg": cca_ssg,
    "speakers": Speakers,
}


def options_of(method: str | Builder) -> dict[str, Any]:
    """Return the options of a method, by name or as a builder, with their defaults."""
    parameters = _options(METHODS[method] if isinstance(method, str) else method)
    return {name: one.default for name, one in parameters.items() if one.default is not one.empty}


def options_in(recipe: Recipe) -> dict[str, Any]:
    """Return all options of a recipe: its own, and the defaults of its method for the others."""
    return (options_of(recipe.method) if recipe.method in METHODS else {}) | recipe.options


def builder_of(recipe: Recipe, own: Builder | None = None) -> Builder:
    """Return what builds the method of a recipe, after seeing that the method has the recipe's options.

    `own` builds a method of one's own, which no name stands for.
    """
    name = recipe.method.removeprefix(OWN)
    builder = _own_builder(name, own) if recipe.method.startswith(OWN) else METHODS.get(name)
    if builder is None:
        raise unknown("method", name, METHODS)
    known = _options(builder)
    for option, value in recipe.options.items():
        if option not in known:
            has = ", ".join(map(_shown, known.values())) or "none"
            raise ValueError(f"{option}: {name} has no such option; it has {has}{did_you_mean(option, known)}")
        checked(option, value, known[option].annotation)
    try:
        inspect.signature(builder).bind(None, None, None, **recipe.options)
    except TypeError as error:
        raise ValueError(
            f"method: {name} wanted as {name}(backbone, head, num_features, **options): {error}"
        ) from error
    return builder


def _own_builder(name: str, own: Builder | None) -> Builder:
    if own is None:
        raise ValueError(
            f"method: got {OWN + name!r}, wanted the class or function itself, for no name stands for it: "
            f"pretrain(..., method={name}), or open_run(folder, method={name})"
        )
    if isinstance(own, nn.Module) or not callable(own):
        raise ValueError(f"method: got a {type(own).__name__}, wanted the class or a function that builds the method")
    return own


def _options(builder: Builder) -> Mapping[str, inspect.Parameter]:
    parameters = list(inspect.signature(builder).parameters.values())[3:]
    return {one.name: one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}


def _shown(option: inspect.Parameter) -> str:
    return option.name if option.default is option.empty else f"{option.name}={option.default}"
