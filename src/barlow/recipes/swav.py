"""SwAV: the published recipes and a small one."""

from dataclasses import replace

from barlow.recipes import barlow_twins
from barlow.recipes.recipe import Recipe


def imagenet() -> Recipe:
    """The official ImageNet run of SwAV: ResNet-50, 2 x 224 + 6 x 96 pixels, batch 4096, 800 epochs."""
    return Recipe(
        name="swav-imagenet",
        method="swav",
        source=(
            "facebookresearch/swav, scripts/swav_800ep_pretrain.sh, no queue at this batch size. Warm-up from lr 0.3; "
            "LARC adapts and decays biases and norms too; the trust ratio of apex divides by |g| + decay |p|, ours by "
            "|g + decay p|, which are as good as equal at 1e-6"
        ),
        published="official repository: linear probe 75.3 top-1 (400 epochs 74.6, 200 epochs 73.9, 100 epochs 72.1)",
        image_size=224,
        views="swav",
        backbone="resnet50",
        zero_init=False,
        projector="2048-128",
        projector_bias=True,
        options={
            "num_prototypes": 3000,
            "temperature": 0.1,
            "epsilon": 0.05,
            "queue_length": 0,
            "freeze_prototypes": 1.0,
        },
        epochs=800,
        batch_size=4096,
        optimizer="lars",
        learning_rate=4.8,
        weight_decay=1e-6,
        exclude_biases=False,
        warmup_epochs=10.0,
        warmup_start=0.3 / 4.8,
        final_learning_rate=0.001,
    )


def imagenet_256() -> Recipe:
    """The official run for a batch of 256, on 4 GPUs: with a queue."""
    return replace(
        imagenet(),
        name="swav-imagenet-256",
        source=(
            "facebookresearch/swav, scripts/swav_400ep_bs256_pretrain.sh: lr 0.6 without warm-up, queue 3840 from "
            "epoch 15, prototypes frozen for 5005 steps (1 epoch)"
        ),
        published="official repository: linear probe 74.3 top-1 (200 epochs 72.7)",
        options=imagenet().options | {"queue_length": 3840, "queue_start": 15.0},
        epochs=400,
        batch_size=256,
        learning_rate=0.6,
        warmup_epochs=0.0,
        warmup_start=0.0,
    )


def cifar() -> Recipe:
    """CIFAR-10 and CIFAR-100 with ResNet-18 as in solo-learn's configuration, for a GPU: two views, no small ones.

    Its configuration with six small views differs in the views alone (here "swav-cifar") and has no published result.
    """
    return Recipe(
        name="swav-cifar",
        method="swav",
        source=(
            "solo-learn, scripts/pretrain/cifar/swav.yaml (LARS lr 0.6, eta 0.02, clip, biases not adapted). Its "
            "prototypes are normalised with gradient, ours in place as in the official code; our LARS divides by "
            "|g + decay p|, theirs by |g| + decay |p|"
        ),
        published="solo-learn: CIFAR-10 89.17, CIFAR-100 64.88 (online linear probe, 1000 epochs, one seed)",
        views="cifar-strong",
        projector="2048-128",
        projector_bias=True,
        options={
            "num_prototypes": 3000,
            "temperature": 0.1,
            "epsilon": 0.05,
            "queue_length": 3840,
            "queue_start": 50.0,
            "freeze_prototypes": 2.0,
        },
        epochs=1000,
        batch_size=256,
        optimizer="lars",
        learning_rate=0.6,
        lars_trust=0.02,
        lars_clip=True,
        weight_decay=1e-6,
        warmup_epochs=10.0,
        final_learning_rate=0.001,
    )


def small_grey() -> Recipe:
    """Grey pictures of about 28 pixels in some minutes on two cores: two views, no small ones, no queue.

    Small views ("swav-small-grey") double the time of a step and gained nothing in as many steps; a queue that sets
    in while the network still changes fast loses prototypes.
    """
    return replace(
        barlow_twins.small_grey(),
        name="swav-small-grey",
        method="swav",
        source=(
            "ours: epsilon, queue and views chosen by nearest neighbours among training pictures of Fashion-MNIST "
            "after 200 steps, one seed; otherwise untuned"
        ),
        projector="256-128",
        options={"num_prototypes": 128, "epsilon": 0.02, "queue_length": 0, "freeze_prototypes": 0.25},
    )


def pictures() -> Recipe:
    """A folder of pictures on the machine at hand: two views of 64 pixels, six of 27, as many prototypes as samples.

    The 3000 published prototypes want a batch of 4096 or a queue of 3840, in which a folder of some hundred pictures
    would meet each of them many times.
    """
    return replace(
        barlow_twins.pictures(),
        name="swav-pictures",
        method="swav",
        source="ours, untuned: network and schedule of pictures, views of swav-imagenet, prototypes of swav-small-grey",
        image_size=64,
        views="swav",
        projector="512-128",
        options=small_grey().options | {"freeze_prototypes": 1.0},
    )
