"""SimCLR: the published recipes and a small one."""

from dataclasses import replace

from barlow.recipes import barlow_twins
from barlow.recipes.recipe import Recipe


def imagenet() -> Recipe:
    """The official ImageNet run of SimCLR (v1): ResNet-50, batch 4096, 1000 epochs."""
    return Recipe(
        name="simclr-imagenet",
        method="simclr",
        source=(
            "Chen et al. 2020, sections 2.2 and 4.2: LARS lr 0.3 per 256 samples, weight decay 1e-6, warm-up 10 "
            "epochs, cosine to 0, head 2048-128, temperature 0.1. BatchNorm after the last layer as in the official "
            "code. Its LARS has the learning rate inside the momentum, ours outside; its pixels stay in [0, 1], ours "
            "are standardised"
        ),
        published="paper: linear probe 69.3 top-1, 89.0 top-5; official checkpoint 69.1; 64.5 after 100 epochs",
        image_size=224,
        views="simclr",
        backbone="resnet50",
        projector="2048-128",
        options={"temperature": 0.1},
        epochs=1000,
        batch_size=4096,
        optimizer="lars",
        learning_rate=4.8,
        weight_decay=1e-6,
        warmup_epochs=10.0,
        final_learning_rate=0.0,
    )


def cifar() -> Recipe:
    """CIFAR-10 with ResNet-18 as in the README of the official code, for a GPU."""
    return Recipe(
        name="simclr-cifar",
        method="simclr",
        source=(
            "google-research/simclr, tf2/README: LARS lr 1.0 per 256 samples, weight decay 1e-4, temperature 0.5, "
            "jitter strength 0.5, no blur; the code's defaults for the rest: head 512-512-128 (3 layers), warm-up 10 "
            "epochs, cosine to 0. Its LARS has the learning rate inside the momentum, ours outside"
        ),
        published=(
            "official README: CIFAR-10 around 91 (linear head). solo-learn with numbers of its own (batch 256, "
            "temperature 0.2): CIFAR-10 90.74, CIFAR-100 65.78 (online linear probe, 1000 epochs, one seed)"
        ),
        views="simclr-cifar",
        projector="512-512-128",
        options={"temperature": 0.5},
        epochs=1000,
        batch_size=512,
        optimizer="lars",
        learning_rate=2.0,
        weight_decay=1e-4,
        warmup_epochs=10.0,
        final_learning_rate=0.0,
    )


def small_grey() -> Recipe:
    """Grey pictures of about 28 pixels in some minutes on two cores: as `small-grey`, but for loss and head."""
    return replace(
        barlow_twins.small_grey(),
        name="simclr-small-grey",
        method="simclr",
        source="ours: untuned",
        projector="256-128",
        options={"temperature": 0.2},
    )


def pictures() -> Recipe:
    """A folder of pictures on the machine at hand: as `pictures`, but for loss and head."""
    return replace(
        barlow_twins.pictures(),
        name="simclr-pictures",
        method="simclr",
        source="ours, untuned: network, views and schedule of pictures; temperature as solo-learn at batch 256",
        projector="512-128",
        options={"temperature": 0.2},
    )
