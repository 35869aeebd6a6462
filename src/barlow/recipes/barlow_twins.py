"""Barlow Twins: our small recipes and the published ones."""

from dataclasses import replace

from barlow.recipes.official_gradient import tuned_under_one_part_of_the_gradient
from barlow.recipes.recipe import Recipe

OFFICIAL_PROCESSES = 32
"""GPUs of the published run (Zbontar et al. 2021, section 2.2), and so the W of its gradient."""


def digits() -> Recipe:
    """Eight-by-eight digits in well under a minute: small network, short projector, no probability of a flip."""
    return Recipe(
        name="digits",
        zero_init=False,
        source="ours: chosen on 300 of the 1,200 training digits, see benchmarks/README.md",
        views="small-grey",
        backbone="resnet10",
        width=16,
        projector="256-256",
        options={"redundancy_weight": 0.02},
        epochs=120,
        batch_size=128,
        learning_rate=2e-3,
    )


def small_grey() -> Recipe:
    """Grey pictures of about 28 pixels (Fashion-MNIST) in some minutes on two cores."""
    return Recipe(
        name="small-grey",
        source="ours: chosen on training pictures of Fashion-MNIST that were held out, see benchmarks/README.md",
        zero_init=False,
        stem="imagenet",
        views="small-grey-flip",
        backbone="resnet10",
        projector="256-256",
        options={"redundancy_weight": 0.02},
        epochs=10,
        batch_size=128,
        learning_rate=3e-3,
        warmup_epochs=0.5,
    )


def cifar() -> Recipe:
    """CIFAR-10 and CIFAR-100 with ResNet-18 as in solo-learn's configuration, for a GPU."""
    return Recipe(
        name="cifar",
        source=(
            "solo-learn, scripts/pretrain/cifar (LARS lr 0.3, eta 0.02, clip, weight decay 1e-4, loss x 0.1). A loss "
            "times 0.1 takes the steps of the whole loss with a tenth of the rate and ten times the decay, which "
            "stand here. Our LARS divides by |g + decay p|, theirs by |g| + decay |p|"
        ),
        published="solo-learn: CIFAR-10 92.10, CIFAR-100 70.90 (online linear probe, 1000 epochs, one seed)",
        views="cifar",
        projector="2048-2048-2048",
        projector_bias=True,
        options={"redundancy_weight": 0.0051},
        epochs=1000,
        batch_size=256,
        optimizer="lars",
        learning_rate=0.03,
        lars_trust=0.02,
        lars_clip=True,
        weight_decay=1e-3,
        warmup_epochs=10.0,
    )


def imagenet() -> Recipe:
    """The official ImageNet run of Barlow Twins: ResNet-50, batch 2048, 1000 epochs."""
    official = Recipe(
        name="imagenet",
        source=(
            "Zbontar et al. 2021, sections 2.2 and 4.1, and the official code where it differs (lambda 0.0051, weight "
            "decay 1e-6). lr 0.2 and 0.0048 (biases) per 256 samples. The official gradient is 1/32 of ours "
            "(32 processes): here the bias rate is divided by 32 and the decay multiplied, which takes the same steps"
        ),
        published="official repository: linear probe 73.5 top-1 (paper: 73.2)",
        image_size=224,
        views="byol",
        backbone="resnet50",
        projector="8192-8192-8192",
        options={"redundancy_weight": 0.0051},
        epochs=1000,
        batch_size=2048,
        optimizer="lars",
        learning_rate=1.6,
        bias_learning_rate=0.0384,
        weight_decay=1e-6,
        warmup_epochs=10.0,
    )
    return tuned_under_one_part_of_the_gradient(official, processes=OFFICIAL_PROCESSES)


def audio() -> Recipe:
    """Audio Barlow Twins as published: AudioNTT on 0.95 s of AudioSet at 16 kHz."""
    return Recipe(
        name="audio",
        source=(
            "Anton et al. 2023 (arXiv 2209.14345), report and code: 100 epochs of 1.63 million clips. Their cosine is "
            "stretched over 1.25 times the steps, so that it ends above 0, and mixes in what came before; here it ends "
            "at 0.001, and mixed in are 2,048 clips chosen once"
        ),
        published=(
            "HEAR: speech .594, environment .721, music .838 on average (random init 17% and 24% worse, 1% better); "
            "speech commands .910, ESC-50 .786, FSD50K mAP .474"
        ),
        views="audio",
        modality_options={
            "sample_rate": 16000, "n_fft": 1024, "hop": 160, "mels": 64, "f_min": 60.0, "f_max": 7800.0,
            "seconds": 0.95, "bank": 2048,
        },
        backbone="audiontt",
        projector="8192-1048",
        options={"redundancy_weight": 0.005},
        epochs=100,
        batch_size=128,
        optimizer="lars",
        learning_rate=0.4,
        bias_learning_rate=0.0048,
        weight_decay=1e-5,
        warmup_epochs=1.0,
    )  # fmt: skip


def audio_small() -> Recipe:
    """A folder of recordings in a minute or a few on two cores: small AudioNTT, 32 bands, two thirds of a second."""
    return Recipe(
        name="audio-small",
        source="ours: the numbers of a first experiment on spoken digits, not tuned since, see docs/audio.md",
        views="audio",
        modality_options={"mels": 32, "seconds": 0.62},
        backbone="audiontt-small",
        width=32,
        projector="512-256",
        options={"redundancy_weight": 0.005},
        epochs=20,
        batch_size=128,
        learning_rate=2e-3,
        warmup_epochs=2.0,
    )


def pictures() -> Recipe:
    """A folder of photographs, or other pictures, on the machine at hand; a time of your own chooses better."""
    return Recipe(
        name="pictures",
        source="ours: chosen on photographs of clothes that were held out, see benchmarks/README.md",
        image_size=48,
        views="photographs",
        backbone="resnet10",
        width=32,
        zero_init=False,
        stem="imagenet",
        projector="256-256",
        options={"redundancy_weight": 0.02},
        epochs=100,
        batch_size=128,
        learning_rate=3e-3,
        warmup_epochs=5.0,
    )


def pictures_vit() -> Recipe:
    """The same with a small vision transformer of timm: patches of 16 pixels, so 64 pixels at least."""
    return replace(
        pictures(),
        name="pictures-vit",
        source="ours, untuned: AdamW, decay 0.05, long warm-up and clipping, as transformers want; docs/library.md",
        image_size=64,
        backbone="timm:vit_tiny_patch16_224",
        width=Recipe.width,
        zero_init=True,
        stem="auto",
        learning_rate=5e-4,
        weight_decay=0.05,
        warmup_epochs=10.0,
        clip_norm=3.0,
    )


def pictures_convnext() -> Recipe:
    """The same with the smallest ConvNeXt of timm, which has a stride of 32: 64 pixels at least."""
    return replace(
        pictures(),
        name="pictures-convnext",
        source="ours, untuned: AdamW with the decay that ConvNeXt is trained with; docs/library.md",
        image_size=64,
        backbone="timm:convnext_atto",
        width=Recipe.width,
        zero_init=True,
        stem="auto",
        learning_rate=1e-3,
        weight_decay=0.05,
        warmup_epochs=10.0,
    )
