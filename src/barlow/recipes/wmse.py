"""W-MSE: the published recipes and a small one."""

from dataclasses import replace

from barlow.recipes import barlow_twins
from barlow.recipes.recipe import Recipe


def imagenet() -> Recipe:
    """The official run on large pictures, ImageNet-100: ResNet-18, 2 views, embeddings of 128 features.

    The official repository has no run on all of ImageNet.
    """
    return Recipe(
        name="wmse-imagenet",
        method="wmse",
        source=(
            "htdt/self-supervised, README (ImageNet-100, 2 views): Adam lr 2e-3, L2 1e-6, batch 512, sub-batches of "
            "256, 128 features, head 1024-128, 240 epochs. Here: a cosine instead of steps of 0.2 at 50 and 25 epochs "
            "before the end; its warm-up is 500 steps (2 epochs)"
        ),
        published=(
            "none for these numbers. solo-learn with its own: ImageNet-100 67.60 (online linear probe, ResNet-18). "
            "Quoted by Zbontar et al. 2021 for ResNet-50 on ImageNet: 66.3"
        ),
        image_size=224,
        views="wmse",
        backbone="resnet18",
        zero_init=False,
        projector="1024-128",
        projector_bias=True,
        options={"w_size": 256, "iterations": 1},
        epochs=240,
        batch_size=512,
        optimizer="adam",
        learning_rate=2e-3,
        weight_decay=1e-6,
        exclude_biases=False,
        warmup_epochs=2.0,
    )


def cifar() -> Recipe:
    """CIFAR-10 and CIFAR-100 with ResNet-18 as in the official code, 2 views, for a GPU."""
    return Recipe(
        name="wmse-cifar",
        method="wmse",
        source=(
            "htdt/self-supervised, README (W-MSE 2): Adam lr 3e-3, L2 1e-6, batch 512, sub-batches of 128, 64 "
            "features, head 1024-64. Here: a cosine instead of steps of 0.2 at 50 and 25 epochs before the end; its "
            "warm-up is 500 steps (5 epochs)"
        ),
        published=(
            "solo-learn with numbers of its own (Adam lr 2e-3, batch 256, cosine): CIFAR-10 88.67, CIFAR-100 61.33 "
            "(online linear probe, 1000 epochs, one seed)"
        ),
        views="wmse-cifar",
        zero_init=False,
        projector="1024-64",
        projector_bias=True,
        options={"w_size": 128, "iterations": 1},
        epochs=1000,
        batch_size=512,
        optimizer="adam",
        learning_rate=3e-3,
        weight_decay=1e-6,
        exclude_biases=False,
        warmup_epochs=5.0,
    )


def cifar_4() -> Recipe:
    """The same with 4 views of half as many pictures: W-MSE 4 of the paper."""
    return replace(
        cifar(),
        name="wmse-cifar-4",
        source=cifar().source.replace("(W-MSE 2)", "(W-MSE 4)").replace("batch 512", "batch 256"),
        published="",
        views="wmse-cifar-4",
        batch_size=256,
        warmup_epochs=2.5,
    )


def small_grey() -> Recipe:
    """Grey pictures of about 28 pixels in some minutes on two cores: as `small-grey`, but for loss and head.

    32 features, so that the batch of 128 makes two sub-batches of twice as many rows.
    """
    return replace(
        barlow_twins.small_grey(),
        name="wmse-small-grey",
        method="wmse",
        source="ours: untuned",
        projector="256-32",
        projector_bias=True,
        options={"w_size": 64, "iterations": 2},
    )


def pictures() -> Recipe:
    """A folder of pictures on the machine at hand: as `pictures`, but for loss and head.

    Sub-batches of 64 as in `small_grey`: two in a batch of 128, one for each of two processes.
    """
    return replace(
        barlow_twins.pictures(),
        name="wmse-pictures",
        method="wmse",
        source="ours, untuned: network, views and schedule of pictures, sub-batches of wmse-small-grey",
        projector="1024-32",
        projector_bias=True,
        options=small_grey().options,
    )
