"""VICReg: the published recipes and our small one."""

from dataclasses import replace

from barlow.recipes import barlow_twins
from barlow.recipes.recipe import Recipe


def imagenet() -> Recipe:
    """The official ImageNet run of VICReg: ResNet-50, batch 2048, 1000 epochs."""
    return Recipe(
        name="vicreg-imagenet",
        source=(
            "Bardes et al. 2022, section 4.2, and the official code (main_vicreg.py): weights 25, 25, 1; LARS lr 0.2 "
            "per 256 samples for every parameter, weight decay 1e-6, warm-up 10 epochs, cosine to 0.001 of the peak; "
            "views of Barlow Twins; expander with biases except in its last layer"
        ),
        published="official repository: linear probe 73.2 top-1",
        method="vicreg",
        image_size=224,
        views="byol",
        backbone="resnet50",
        projector="8192-8192-8192",
        projector_bias=True,
        epochs=1000,
        batch_size=2048,
        optimizer="lars",
        learning_rate=1.6,
        weight_decay=1e-6,
        warmup_epochs=10.0,
    )


def cifar() -> Recipe:
    """CIFAR-10 and CIFAR-100 with ResNet-18 as in solo-learn's configuration, for a GPU."""
    return Recipe(
        name="vicreg-cifar",
        source=(
            "solo-learn, scripts/pretrain/cifar/vicreg.yaml (LARS lr 0.3, eta 0.02, clip, weight decay 1e-4). Its "
            "variance term is the sum over the views, not the official mean: hence 50 for its 25. Our LARS divides "
            "by |g + decay p|, theirs by |g| + decay |p|"
        ),
        published="solo-learn: CIFAR-10 92.07, CIFAR-100 68.54 (online linear probe, 1000 epochs, one seed)",
        method="vicreg",
        options={"variance_weight": 50.0},
        views="cifar-vicreg",
        projector="2048-2048-2048",
        projector_bias=True,
        epochs=1000,
        batch_size=256,
        optimizer="lars",
        learning_rate=0.3,
        lars_trust=0.02,
        lars_clip=True,
        warmup_epochs=10.0,
    )


def small_grey() -> Recipe:
    """Grey pictures of about 28 pixels (Fashion-MNIST) in some minutes on two cores."""
    return Recipe(
        name="vicreg-small-grey",
        source="ours: untuned; network, views and, in 8 epochs, schedule of small-grey; official weights of the loss",
        method="vicreg",
        zero_init=False,
        stem="imagenet",
        views="small-grey-flip",
        backbone="resnet10",
        projector="256-256",
        projector_bias=True,
        epochs=8,
        batch_size=128,
        learning_rate=3e-3,
        warmup_epochs=0.5,
    )


def pictures() -> Recipe:
    """A folder of pictures on the machine at hand: as `pictures`, but for the loss."""
    return replace(
        barlow_twins.pictures(),
        name="vicreg-pictures",
        method="vicreg",
        options={},
        source="ours, untuned: network, views, schedule and widths of pictures, the official weights of the loss",
        projector_bias=True,
    )
