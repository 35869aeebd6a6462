"""Complete runs as numbers. No torch, no objects: `pretraining.py` turns a `Recipe` into them.

Every default of a run lives in the fields of `Recipe`; a recipe function states only what differs, with its source.
The flags of `barlow pretrain` are these fields.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from barlow.choices import did_you_mean

ABOUT = ("name", "source", "published")
"""Fields of a Recipe that say where it comes from and decide no number; a run goes on when they are corrected."""
OWN = "own:"
"""Before the name of a class, in `backbone` and `views` of a run that was given them as objects."""


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
    options: dict[str, int | float | str] = field(default_factory=dict)
    """Numbers of one method only: temperature 0.2 base_momentum 0.99; `barlow recipes NAME` shows all with their
    defaults."""

    # --- the optimisation
    epochs: int | float = 100
    """Passes over the data; 0.5 is half of one, 2.3 ends within the third."""
    batch_size: int = 256
    """Samples per step over all processes; at most the number of samples."""
    optimizer: Literal["adamw", "adam", "lars", "sgd"] = "adamw"
    """Optimizer; adam is the one whose weight decay is part of the gradient."""
    learning_rate: float = 1e-3
    """Peak learning rate at the batch size given (not scaled by it)."""
    bias_learning_rate: float = 0.0
    """Peak learning rate of biases and norms; 0: the same as the others."""
    momentum: float = 0.9
    """Momentum of LARS and SGD."""
    weight_decay: float = 1e-4
    """Weight decay of the weight matrices."""
    exclude_biases: bool = True
    """Biases and norms neither decay nor, under LARS, adapt; False: as the weights."""
    constant_part: str = ""
    """Part of the method whose learning rate stays at its peak, such as SimSiam's predictor; empty: none."""
    warmup_epochs: float = 5.0
    """Linear warm-up, per step; at most a tenth of the run."""
    warmup_start: float = 0.0
    """Where the warm-up rises from, as a fraction of the peak."""
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


def with_numbers(recipe: Recipe, numbers: Mapping[str, Any]) -> Recipe:
    """Return the recipe with some fields changed; `options` are added to those it has.

    Raises:
        ValueError: a field that no Recipe has; says the nearest.
    """
    known = [a_field.name for a_field in fields(Recipe)]
    for name in numbers:
        if name not in known:
            raise ValueError(f"{name}: a Recipe has no such field{did_you_mean(name, known)}")
    if "options" in numbers:
        numbers = {**numbers, "options": {**recipe.options, **numbers["options"]}}
    return replace(recipe, **numbers)
