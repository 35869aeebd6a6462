"""SIGReg (LeJEPA): recipes of our own around the official loss, for comparison."""

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


def cifar() -> Recipe:
    """CIFAR-10 and CIFAR-100 with ResNet-18, for a GPU: network and views of Barlow Twins there."""
    return replace(_official(barlow_twins.cifar()), name="sigreg-cifar")


def imagenet() -> Recipe:
    """ImageNet with ResNet-50: network, views and schedule of Barlow Twins there; the official views are multi-crop."""
    return replace(_official(barlow_twins.imagenet()), name="sigreg-imagenet")


def pictures() -> Recipe:
    """A folder of pictures on the machine at hand: as `pictures`, but for loss and head."""
    return replace(
        barlow_twins.pictures(),
        name="sigreg-pictures",
        method="sigreg",
        source="ours, untuned: network, views and schedule of pictures, loss of sigreg-small-grey",
        projector="1024-1024-64",
        projector_bias=True,
        options=small_grey().options,
    )


def _official(base: Recipe) -> Recipe:
    """Network, views and epochs of `base` with loss, hidden widths and optimizer of the official examples."""
    return replace(
        base,
        method="sigreg",
        source=(
            f"ours, never run: network, views and epochs of {base.name}; loss, hidden widths and AdamW (lr 5e-4, "
            "weight decay 5e-4 for a ResNet) of rbalestr-lab/lejepa"
        ),
        published="",
        projector="2048-2048-64",
        projector_bias=True,
        options=small_grey().options,
        optimizer="adamw",
        learning_rate=5e-4,
        bias_learning_rate=0.0,
        weight_decay=5e-4,
    )
