"""SimSiam: the published recipes and a small one."""

from dataclasses import replace

from barlow.recipes import barlow_twins
from barlow.recipes.recipe import Recipe


def imagenet() -> Recipe:
    """The official ImageNet run of SimSiam: ResNet-50, batch 512, 100 epochs, no large batch and no LARS."""
    return Recipe(
        name="simsiam-imagenet",
        method="simsiam",
        source=(
            "Chen & He 2021, section 3, and facebookresearch/simsiam: SGD lr 0.05 per 256 samples, momentum 0.9, "
            "weight decay 1e-4, cosine to 0 without warm-up, projector 2048-2048-2048, predictor 512-2048. The "
            "README's --fix-pred-lr keeps the predictor's learning rate constant; biases and norms decay too. The "
            "official code steps the cosine per epoch: here per step"
        ),
        published="official repository: linear probe 68.1 top-1 (100 epochs, constant predictor learning rate)",
        image_size=224,
        views="simsiam",
        backbone="resnet50",
        projector="2048-2048-2048",
        options={"bottleneck": 512},
        epochs=100,
        batch_size=512,
        optimizer="sgd",
        learning_rate=0.1,
        weight_decay=1e-4,
        exclude_biases=False,
        constant_part="predictor",
        warmup_epochs=0.0,
        final_learning_rate=0.0,
    )


def cifar() -> Recipe:
    """CIFAR-10 with ResNet-18 as in the appendix of the paper, for a GPU."""
    return Recipe(
        name="simsiam-cifar",
        method="simsiam",
        source=(
            "Chen & He 2021, appendix D: SGD lr 0.03 per 256 samples, weight decay 5e-4, batch 512, 800 epochs, "
            "cosine to 0 without warm-up, projector of two layers, views of ImageNet without blur. Biases and norms "
            "decay too, as in the official code"
        ),
        published=(
            "paper: CIFAR-10 91.8 (linear probe). solo-learn with numbers of its own (batch 256, lr 0.5, 3 layers): "
            "CIFAR-10 90.51, CIFAR-100 66.04 (online linear probe, 1000 epochs, one seed)"
        ),
        views="simsiam-cifar",
        projector="2048-2048",
        options={"bottleneck": 512},
        epochs=800,
        batch_size=512,
        optimizer="sgd",
        learning_rate=0.06,
        weight_decay=5e-4,
        exclude_biases=False,
        warmup_epochs=0.0,
        final_learning_rate=0.0,
    )


def small_grey() -> Recipe:
    """Grey pictures of about 28 pixels in some minutes on two cores: as `small-grey`, but for loss and heads."""
    return replace(
        barlow_twins.small_grey(),
        name="simsiam-small-grey",
        method="simsiam",
        options={},
        source="ours: untuned",
        projector="256-256",
    )


def pictures() -> Recipe:
    """A folder of pictures on the machine at hand: as `pictures`, but for loss and heads."""
    return replace(
        barlow_twins.pictures(),
        name="simsiam-pictures",
        method="simsiam",
        options={},
        source="ours, untuned: network, views and schedule of pictures; predictor a quarter as wide, as officially",
    )
