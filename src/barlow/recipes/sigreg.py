"""SIGReg (LeJEPA): a small recipe, for comparison."""

from dataclasses import replace

from barlow.recipes import barlow_twins
from barlow.recipes.recipe import Recipe


def small_grey() -> Recipe:
    """Grey pictures of about 28 pixels (Fashion-MNIST) in some minutes on two cores."""
    return replace(
        barlow_twins.small_grey(),
        name="sigreg-small-grey",
        method="sigreg",
        source=(
            "ours: untuned; network, views and schedule of small-grey, lambda 0.02 and 256 directions of the "
            "official minimal example (rbalestr-lab/lejepa, whose head is 2048-2048-D with batch norms)"
        ),
        projector="256-256-64",
        projector_bias=True,
        options={"sigreg_weight": 0.02, "num_directions": 256},
    )
