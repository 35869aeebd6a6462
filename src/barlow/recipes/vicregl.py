"""VICRegL: the published recipe and ours for small pictures. Nobody publishes one for CIFAR."""

from dataclasses import replace

from barlow.recipes import vicreg
from barlow.recipes.recipe import Recipe


def imagenet() -> Recipe:
    """The official ImageNet run of VICRegL: ResNet-50, batch 2048, 300 epochs, two large views."""
    return Recipe(
        name="vicregl-imagenet",
        source=(
            "Bardes et al. 2022 (arXiv 2210.01571) and the official code's README for ResNet-50 on 32 GPUs: alpha "
            "0.75, weights 25, 25, 1; LARS lr 0.2 per 256 samples for every parameter, weight decay 1e-6, warm-up 10 "
            "epochs, cosine to 0.001 of the peak. Flips are compensated here (options flip=official: as in its code)"
        ),
        published=(
            "official repository: linear probe 70.4 top-1, linear segmentation of VOC 55.9 mIoU (alpha 0.9: 71.2, 54.0)"
        ),
        method="vicregl",
        image_size=224,
        views="vicregl",
        backbone="resnet50",
        projector="8192-8192-8192",
        projector_bias=True,
        epochs=300,
        batch_size=2048,
        optimizer="lars",
        learning_rate=1.6,
        weight_decay=1e-6,
        warmup_epochs=10.0,
    )


def cifar() -> Recipe:
    """CIFAR-10 and CIFAR-100 with ResNet-18, for a GPU: the run of VICReg there with the local loss added.

    The small stem leaves a map of 4 x 4. Matches are the official shares of a map of 7 x 7 (20 and 4 of 49) of it.
    """
    return replace(
        vicreg.cifar(),
        name="vicregl-cifar",
        source=(
            "ours, never run: network, views and optimizer of vicreg-cifar; loss of the official code with matches in "
            "proportion to a map of 4 x 4"
        ),
        published="",
        method="vicregl",
        options={"matches": 7, "matches_back": 1},
        views="vicregl-cifar",
    )


def small_grey() -> Recipe:
    """Grey pictures of about 28 pixels (Fashion-MNIST) in some minutes on two cores.

    The small stem keeps a map of 4 x 4, where that of small-grey ends in a single position; the network is half as
    wide for it. Location matches are the official shares of a map of 7 x 7 (20 and 4 of 49) of 16 positions.
    """
    return Recipe(
        name="vicregl-small-grey",
        source="ours: untuned; loss of the official code with matches in proportion to a map of 4 x 4",
        method="vicregl",
        options={"matches": 7, "matches_back": 1, "local_projector": "128-128"},
        zero_init=False,
        stem="small",
        views="vicregl-small-grey",
        backbone="resnet10",
        width=16,
        projector="256-256",
        projector_bias=True,
        epochs=4,
        batch_size=128,
        learning_rate=3e-3,
        warmup_epochs=0.5,
    )


def pictures() -> Recipe:
    """A folder of pictures on the machine at hand: the run of VICReg there with the local loss added.

    ResNet-18 makes a map of 4 x 4 out of 128 pixels. Location matches are the official shares of a map of 7 x 7 (20
    and 4 of 49) of 16 positions; each of them has a covariance of its own, so the local head is narrow.
    """
    return replace(
        vicreg.pictures(),
        name="vicregl-pictures",
        source=(
            "ours, untuned: vicreg-pictures on a network whose map has positions to match, ResNet-18 at 128 pixels; "
            "loss of the official code with matches in proportion to a map of 4 x 4"
        ),
        image_size=128,
        backbone="resnet18",
        width=Recipe.width,
        method="vicregl",
        options={"matches": 7, "matches_back": 1, "local_projector": "128-128"},
        views="vicregl",
    )
