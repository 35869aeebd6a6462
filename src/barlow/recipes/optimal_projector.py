"""The optimal projector: there is no published recipe, for the method is ours; its shrinkage is the method's own."""

from dataclasses import replace

from barlow.recipes import barlow_twins
from barlow.recipes.recipe import Recipe


def digits() -> Recipe:
    """Eight-by-eight digits in well under a minute: as `digits`, without a projector and without a lambda."""
    return replace(
        barlow_twins.digits(),
        name="optimal_projector-digits",
        method="optimal_projector",
        options={},
        source="ours: shrinkage and learning rate chosen on 300 of the 1,200 training digits, see benchmarks/README.md",
        projector="none",
        learning_rate=4e-3,
    )


def cifar() -> Recipe:
    """CIFAR-10 and CIFAR-100 with ResNet-18, for a GPU: the run of Barlow Twins there, the head as on small-grey.

    The batch of 256 is half of the 512 features of the backbone, so a linear layer picks N/2 = 128 directions.
    """
    return replace(
        barlow_twins.cifar(),
        name="optimal_projector-cifar",
        method="optimal_projector",
        options={},
        source="ours, never run: network, views and optimizer of cifar; shrinkage and head as on small-grey",
        published="",
        projector="linear-128",
    )


def small_grey() -> Recipe:
    """Grey pictures of about 28 pixels (Fashion-MNIST) in some minutes on two cores: its loss, a narrow linear head.

    The covariances of the backbone's 256 features want a batch of 1024 (N >= 4d), which leaves few steps. So a linear
    layer picks 64 directions, and the loss whitens those.
    """
    return replace(
        barlow_twins.small_grey(),
        name="optimal_projector-small-grey",
        method="optimal_projector",
        options={},
        source=(
            "ours: shrinkage from the digits; head chosen on training pictures of Fashion-MNIST that were held out, "
            "after 312 steps: see benchmarks/README.md"
        ),
        projector="linear-64",
    )


def imagenet() -> Recipe:
    """ImageNet with ResNet-50: the run of Barlow Twins there, a linear head of N/4 = 512 directions."""
    return replace(
        barlow_twins.imagenet(),
        name="optimal_projector-imagenet",
        method="optimal_projector",
        options={},
        source="ours, never run: network, views and optimizer of imagenet; shrinkage as on small-grey",
        published="",
        projector="linear-512",
    )


def pictures() -> Recipe:
    """A folder of pictures on the machine at hand: as `pictures`, with the loss and the head of small-grey."""
    return replace(
        barlow_twins.pictures(),
        name="optimal_projector-pictures",
        method="optimal_projector",
        options={},
        source="ours, untuned: network, views and schedule of pictures; shrinkage and head as on small-grey",
        projector="linear-64",
    )
