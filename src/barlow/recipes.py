"""Complete runs as numbers. No torch, no objects: `pretraining.py` turns a `Recipe` into them.

Every default of a run lives in the fields of `Recipe`; a recipe function states only what differs, with its source.
The flags of `barlow pretrain` are these fields.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any, Literal


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the numbers of a run; two runs with equal recipes on equal data are equal on a CPU.

    The string under each field is its help on the command line.
    """

    name: str = "custom"
    """Name of the recipe that these numbers started from."""
    source: str = ""
    """Where the numbers come from: paper and section, repository, or our own measurement."""
    published: str = ""
    """The result that the source prints for it; never one of ours."""

    # --- what is learnt from
    image_size: int = 0
    """Side in pixels of what the network sees; 0: the size of the pictures, at most 224."""
    views: str = "byol"
    """Augmentation pipelines by name: byol, byol-iid, cifar, small-grey, ..."""

    # --- the network
    backbone: str = "resnet18"
    """timm or torchvision name ("timm:..." and "torchvision:..." settle a name that both have)."""
    width: int = 64
    """Channels of the first stage of a basic-block ResNet (resnet18, resnet34); 64 is the published network."""
    zero_init: bool = True
    """Start the residual branches of a ResNet at zero (official); False learns faster in few steps."""
    pretrained: str = ""
    """Weights to start from: a file, or "default" for the library's own; empty: from scratch."""
    stem: Literal["auto", "imagenet", "small"] = "auto"
    """First layer of a ResNet: 7x7 stride 2 + pool, or 3x3 stride 1 without pool; auto: small up to 64 pixels."""
    projector: str = "2048-2048-2048"
    """Widths of the MLP after the backbone, or linear-<width>, or none."""
    projector_norm: Literal["batch", "layer", "none"] = "batch"
    """Normalisation between the projector's layers."""
    projector_activation: Literal["relu", "gelu"] = "relu"
    """Activation between the projector's layers."""
    projector_bias: bool = False
    """Whether the projector's linear layers have a bias."""

    # --- the loss
    method: str = "barlow_twins"
    """Self-supervised method."""
    redundancy_weight: float = 0.005
    """Weight lambda of the off-diagonal terms (paper, equation 2)."""
    normalization: Literal["pearson", "feature_cosine", "sample_cosine", "scalar", "covariance", "raw", "whiten"] = (
        "pearson"
    )
    """How embeddings are normalised before they are correlated."""

    # --- the optimisation
    epochs: int = 100
    """Passes over the data."""
    batch_size: int = 256
    """Samples per step over all processes; at most the number of samples."""
    optimizer: Literal["adamw", "lars", "sgd"] = "adamw"
    """Optimizer; biases and norms are excluded from weight decay and from LARS adaptation."""
    learning_rate: float = 1e-3
    """Peak learning rate at the batch size given (not scaled by it)."""
    bias_learning_rate: float = 0.0
    """Peak learning rate of biases and norms; 0: the same as the others."""
    momentum: float = 0.9
    """Momentum of LARS and SGD."""
    weight_decay: float = 1e-4
    """Weight decay of the weight matrices."""
    warmup_epochs: float = 5.0
    """Linear warm-up, per step; at most a tenth of the run."""
    final_learning_rate: float = 0.001
    """End of the cosine as a fraction of the peak."""
    clip_norm: float = 0.0
    """Largest gradient norm; 0: no clipping."""
    accumulate: int = 1
    """Micro-batches per step; only 1 is accepted, because C is a statistic of the whole batch."""

    # --- the machine
    seed: int = 0
    """Seed of the weights, of the order of the samples and of the views."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """auto: bf16 autocast where the device has it, else float32. Losses are always float32."""
    channels_last: bool = True
    """Memory layout of images and convolutions."""


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
        redundancy_weight=0.02,
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
        width=32,
        projector="256-256",
        redundancy_weight=0.02,
        epochs=8,
        batch_size=128,
        learning_rate=3e-3,
        warmup_epochs=0.5,
    )


def cifar() -> Recipe:
    """CIFAR-10 and CIFAR-100 with ResNet-18 as in solo-learn's configuration, for a GPU."""
    return Recipe(
        name="cifar",
        source=(
            "solo-learn, scripts/pretrain/cifar (LARS lr 0.3, eta 0.02, weight decay 1e-4, loss x 0.1). Here: eta "
            "0.001, so lr 6.0 takes the same step; its clip of the trust ratio and the loss scale, which LARS "
            "undoes for weights, are left out, and biases take lr 0.03"
        ),
        published="solo-learn: CIFAR-10 92.10, CIFAR-100 70.90 (online linear probe, 1000 epochs, one seed)",
        views="cifar",
        projector="2048-2048-2048",
        projector_bias=True,
        redundancy_weight=0.0051,
        epochs=1000,
        batch_size=256,
        optimizer="lars",
        learning_rate=6.0,
        bias_learning_rate=0.03,
        warmup_epochs=10.0,
    )


def imagenet() -> Recipe:
    """The official ImageNet run of Barlow Twins: ResNet-50, batch 2048, 1000 epochs."""
    return Recipe(
        name="imagenet",
        source=(
            "Zbontar et al. 2021, sections 2.2 and 4.1, and the official code where it differs (lambda 0.0051, weight "
            "decay 1e-6). lr 0.2 and 0.0048 (biases) per 256 samples. The official gradient is 1/32 of ours "
            "(32 processes): LARS undoes that for weights, so only the bias rate is divided by 32 here"
        ),
        published="official repository: linear probe 73.5 top-1 (paper: 73.2)",
        image_size=224,
        views="byol",
        backbone="resnet50",
        projector="8192-8192-8192",
        redundancy_weight=0.0051,
        epochs=1000,
        batch_size=2048,
        optimizer="lars",
        learning_rate=1.6,
        bias_learning_rate=0.0384 / 32,
        weight_decay=1e-6,
        warmup_epochs=10.0,
    )


def pictures() -> Recipe:
    """A folder of pictures on the machine at hand: 128 pixels, ResNet-18, AdamW; resize it to taste."""
    return Recipe(
        name="pictures",
        source=(
            "ours: untuned; the views are those of the paper, the sizes what two cores do overnight, the projector "
            "as wide as a batch of 128 allows before the floor dominates the loss"
        ),
        image_size=128,
        views="byol-iid",
        projector="1024-1024",
        epochs=100,
        batch_size=128,
    )


RECIPES: dict[str, Callable[[], Recipe]] = {
    "digits": digits,
    "small-grey": small_grey,
    "cifar": cifar,
    "imagenet": imagenet,
    "pictures": pictures,
}

MADE_FOR = {
    "digits": "digits",
    "mnist": "small-grey",
    "fashion-mnist": "small-grey",
    "kmnist": "small-grey",
    "cifar10": "cifar",
    "cifar100": "cifar",
    "svhn": "cifar",
    "imagenet": "imagenet",
}
"""The recipe that a named data set gets when none is asked for; everything else gets "pictures"."""


def recipe_for(name: str | None, data: Any = None) -> Recipe:
    """Return a recipe by name, or the one made for the data.

    Raises:
        ValueError: no recipe of that name; says the nearest.
    """
    name = name or MADE_FOR.get(data if isinstance(data, str) else "", "pictures")
    if name not in RECIPES:
        nearest = get_close_matches(name, RECIPES, n=1, cutoff=0.0)[0]
        raise ValueError(f"recipe: got {name!r}, wanted one of {', '.join(RECIPES)}; did you mean {nearest!r}?")
    return RECIPES[name]()


def with_numbers(recipe: Recipe, numbers: Mapping[str, Any]) -> Recipe:
    """Return the recipe with some fields changed.

    Raises:
        ValueError: a field that no Recipe has; says the nearest.
    """
    known = [field.name for field in fields(Recipe)]
    for name in numbers:
        if name not in known:
            nearest = get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise ValueError(f"{name}: a Recipe has no such field; did you mean {nearest!r}?")
    return replace(recipe, **numbers)
