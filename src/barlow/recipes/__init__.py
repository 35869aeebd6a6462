"""Complete runs by name: numbers only, no torch. One file per method; `RECIPES` lists them all."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from barlow.errors import unknown
from barlow.recipes import (
    barlow_twins,
    byol,
    cca_ssg,
    graphs,
    optimal_projector,
    sigreg,
    simclr,
    simsiam,
    speakers,
    swav,
    vicreg,
    vicregl,
    wmse,
)
from barlow.recipes.recipe import (
    ABOUT as ABOUT,
    ALSO_CALLED as ALSO_CALLED,
    EVERY as EVERY,
    OF_THE_RUN as OF_THE_RUN,
    OPTIONS as OPTIONS,
    OWN as OWN,
    TYPED_AS_FIELDS as TYPED_AS_FIELDS,
    WITHOUT_MOMENTUM as WITHOUT_MOMENTUM,
    Recipe as Recipe,
    flat as flat,
    folded as folded,
    up_to_date as up_to_date,
    with_numbers as with_numbers,
)

RECIPES: dict[str, Callable[[], Recipe]] = {
    "digits": barlow_twins.digits,
    "small-grey": barlow_twins.small_grey,
    "cifar": barlow_twins.cifar,
    "imagenet": barlow_twins.imagenet,
    "pictures": barlow_twins.pictures,
    "pictures-vit": barlow_twins.pictures_vit,
    "pictures-convnext": barlow_twins.pictures_convnext,
    "audio": barlow_twins.audio,
    "audio-small": barlow_twins.audio_small,
    "simclr-imagenet": simclr.imagenet,
    "simclr-cifar": simclr.cifar,
    "simclr-small-grey": simclr.small_grey,
    "simclr-pictures": simclr.pictures,
    "swav-imagenet": swav.imagenet,
    "swav-imagenet-256": swav.imagenet_256,
    "swav-cifar": swav.cifar,
    "swav-small-grey": swav.small_grey,
    "swav-pictures": swav.pictures,
    "simsiam-imagenet": simsiam.imagenet,
    "simsiam-cifar": simsiam.cifar,
    "simsiam-small-grey": simsiam.small_grey,
    "simsiam-pictures": simsiam.pictures,
    "vicreg-imagenet": vicreg.imagenet,
    "vicreg-cifar": vicreg.cifar,
    "vicreg-small-grey": vicreg.small_grey,
    "vicreg-pictures": vicreg.pictures,
    "vicregl-imagenet": vicregl.imagenet,
    "vicregl-cifar": vicregl.cifar,
    "vicregl-small-grey": vicregl.small_grey,
    "vicregl-pictures": vicregl.pictures,
    "wmse-imagenet": wmse.imagenet,
    "wmse-cifar": wmse.cifar,
    "wmse-cifar-4": wmse.cifar_4,
    "wmse-small-grey": wmse.small_grey,
    "wmse-pictures": wmse.pictures,
    "byol-imagenet": byol.imagenet,
    "byol-cifar": byol.cifar,
    "byol-small-grey": byol.small_grey,
    "byol-pictures": byol.pictures,
    "byol-audio": byol.audio,
    "byol-audio-small": byol.audio_small,
    "optimal_projector-digits": optimal_projector.digits,
    "optimal_projector-imagenet": optimal_projector.imagenet,
    "optimal_projector-cifar": optimal_projector.cifar,
    "optimal_projector-small-grey": optimal_projector.small_grey,
    "optimal_projector-pictures": optimal_projector.pictures,
    "sigreg-imagenet": sigreg.imagenet,
    "sigreg-cifar": sigreg.cifar,
    "sigreg-small-grey": sigreg.small_grey,
    "sigreg-pictures": sigreg.pictures,
    **graphs.GRAPH_RECIPES,
    "cca_ssg-small-grey": cca_ssg.small_grey,
    "cca_ssg-gbt": cca_ssg.any_graph_of,
    "cca_ssg-cora": cca_ssg.cora,
    "cca_ssg-citeseer": cca_ssg.citeseer,
    "cca_ssg-pubmed": cca_ssg.pubmed,
    "speakers": speakers.speakers,
    "speakers-barlow_twins": speakers.barlow_twins,
}

MADE_FOR = {
    "digits": "digits",
    "shapes": "small-grey",
    "mnist": "small-grey",
    "fashion-mnist": "small-grey",
    "kmnist": "small-grey",
    "cifar10": "cifar",
    "cifar100": "cifar",
    "svhn": "cifar",
    "imagenet": "imagenet",
    **graphs.MADE_FOR,
}
"""The recipe that a named data set gets when none is asked for; everything else gets "pictures"."""
MADE_FOR_KIND = {"audio": "audio-small"}
"""The recipe that data of another modality than images get, by the name of the modality."""


def recipe_for(name: str | None, data: Any = None, *, otherwise: str = "pictures") -> Recipe:
    """Return a recipe by name, or the one made for the data.

    A method's name alone, such as "simclr", stands for its recipe made for the data: "simclr-small-grey" for
    Fashion-MNIST, "simclr-pictures" for a folder. Where it has none, as on the digits and on graphs, it is that of the
    data with the method's loss and head. `otherwise` is the recipe of data without a name.
    """
    made_for = MADE_FOR.get(data if isinstance(data, str) else "", otherwise)
    if not name or name == "barlow_twins":
        return RECIPES[made_for]()
    of_its_own = f"{name}-{data}" if isinstance(data, str) else name
    for full_name in (of_its_own, name, f"{name}-{made_for}"):
        if full_name in RECIPES:
            return RECIPES[full_name]()
    if f"{name}-small-grey" in RECIPES:
        return _with_loss_of(RECIPES[made_for](), RECIPES[f"{name}-small-grey"]())
    methods = dict.fromkeys(make().method for make in RECIPES.values())
    raise unknown("recipe", name, [*methods, *RECIPES])


recipe_for_graph = partial(recipe_for, otherwise="gbt")
"""The recipe of a graph whose nodes are the samples."""
recipe_for_graphs = partial(recipe_for, otherwise="gbt-sets")
"""The recipe of many graphs."""


def batch_note(recipe: Recipe) -> str:
    """Say that a learning rate was chosen for another batch than the one at hand; empty where it was not.

    Rates go in proportion to the batch with SGD and LARS (Goyal et al. 2017, section 2.1), with Adam rather with its
    root; nothing is scaled here, because what is typed is what is run.
    """
    if recipe.name not in RECIPES:
        return ""
    made = RECIPES[recipe.name]()
    if recipe.batch_size == made.batch_size or made.batch_size == EVERY or recipe.learning_rate != made.learning_rate:
        return ""
    ratio = recipe.batch_size / made.batch_size
    root = recipe.optimizer.startswith("adam")
    rule = "with its root, as is usual for Adam" if root else "in proportion"
    rate = made.learning_rate * (ratio**0.5 if root else ratio)
    return (
        f"batch of {recipe.batch_size}: the learning rate {made.learning_rate:g} of {recipe.name} was chosen for "
        f"{made.batch_size} and is kept; {rule} it would be --learning-rate {rate:.2g}"
    )


def _made_otherwise(recipe: Recipe, lender: Recipe) -> bool:
    """Whether the views of a method are none of a pair of pictures, and the data are pictures."""
    return recipe.name not in graphs.GRAPH_RECIPES and lender.views != RECIPES["small-grey"]().views


def _with_loss_of(recipe: Recipe, lender: Recipe) -> Recipe:
    return replace(
        recipe,
        name=f"{lender.method}-{recipe.name}",
        source=f"ours, untuned: {recipe.name} with the loss and the head of {lender.name}",
        published="",
        # pairs of views keep to their data; many crops, or known places, belong to the method and go with it
        views=lender.views if _made_otherwise(recipe, lender) else recipe.views,
        method=lender.method,
        projector=lender.projector,
        projector_norm=lender.projector_norm,
        projector_activation=lender.projector_activation,
        projector_bias=lender.projector_bias,
        options=lender.options,
    )
