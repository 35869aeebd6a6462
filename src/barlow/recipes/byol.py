"""BYOL: the published recipes and a small one."""

from dataclasses import replace

from barlow.recipes import barlow_twins
from barlow.recipes.recipe import Recipe


def imagenet() -> Recipe:
    """The official ImageNet run of BYOL: ResNet-50, batch 4096, 1000 epochs."""
    return Recipe(
        name="byol-imagenet",
        method="byol",
        source=(
            "Grill et al. 2020, section 3.3, and the official code (configs/byol.py): LARS lr 0.2 per 256 samples, "
            "weight decay 1.5e-6, warm-up 10 epochs, cosine to 0, heads 4096-256, momentum 0.996. Residual branches "
            "start at zero as in the code (its README: the paper's runs did not)"
        ),
        published="paper: linear probe 74.3 top-1, 91.6 top-5; official checkpoint about 74.4",
        image_size=224,
        views="byol",
        backbone="resnet50",
        projector="4096-256",
        projector_bias=True,
        options={"momentum": 0.996, "predictor_width": 4096},
        epochs=1000,
        batch_size=4096,
        optimizer="lars",
        learning_rate=3.2,
        weight_decay=1.5e-6,
        warmup_epochs=10.0,
        final_learning_rate=0.0,
    )


def cifar() -> Recipe:
    """CIFAR-10 and CIFAR-100 with ResNet-18: solo-learn's views and heads, the official small optimizer, for a GPU."""
    return Recipe(
        name="byol-cifar",
        method="byol",
        source=(
            "solo-learn, scripts/pretrain/cifar: views, heads 4096-256, momentum 0.99, batch 256, 1000 epochs, LARS lr "
            "1.0, eta 0.02, clip, weight decay 1e-5. Our LARS divides by |g + decay p|, theirs by |g| + decay |p|"
        ),
        published=("solo-learn: CIFAR-10 92.58, CIFAR-100 70.46 (online linear probe, 1000 epochs, one seed)"),
        views="cifar",
        projector="4096-256",
        projector_bias=True,
        options={"momentum": 0.99, "predictor_width": 4096},
        epochs=1000,
        batch_size=256,
        optimizer="lars",
        learning_rate=1.0,
        lars_trust=0.02,
        lars_clip=True,
        weight_decay=1e-5,
        warmup_epochs=10.0,
        final_learning_rate=0.0,
    )


def small_grey() -> Recipe:
    """Grey pictures of about 28 pixels in some minutes on two cores: as `small-grey`, but for loss and heads."""
    return replace(
        barlow_twins.small_grey(),
        name="byol-small-grey",
        method="byol",
        source="ours: untuned",
        projector="512-128",
        options={"momentum": 0.99, "predictor_width": 512},
    )


def pictures() -> Recipe:
    """A folder of pictures on the machine at hand: as `pictures`, but for loss and heads."""
    return replace(
        barlow_twins.pictures(),
        name="byol-pictures",
        method="byol",
        source="ours, untuned: network, views and schedule of pictures; momentum as solo-learn at batch 256",
        projector="1024-256",
        projector_bias=True,
        options={"momentum": 0.99, "predictor_width": 1024},
    )
