"""Complete runs as numbers. No torch, no objects: `runs/build.py` turns a `Recipe` into them.

Every default of a run lives in the fields of `Recipe`, those of one method only in the builder of the method; a recipe
function states only what differs, with its source. The flags of `barlow pretrain` are these fields.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from barlow.arguments import check_fields
from barlow.errors import did_you_mean

ABOUT = ("name", "source", "published")
"""Fields of a Recipe that say where it comes from and decide no number; a run goes on when they are corrected."""
OWN = "own:"
"""Before the name of a class, in `backbone`, `views` and `method` of a run that was given them as objects."""
TYPED_AS_FIELDS = ("redundancy_weight", "normalization")
"""Options of Barlow Twins that can be typed like fields: `pretrain(normalization="raw")`, `--redundancy-weight 0.01`.
A recipe holds them in `options`, like those of any method, and methods that do not have them refuse them."""
EVERY = 1 << 30
"""A `batch_size` that stands for all samples: the batch is at most their number."""
OPTIONS = ("options", "modality_options")
"""Fields that hold numbers by name: of the method, and of the modality of the data."""
ALSO_CALLED = {
    "lr": "learning_rate",
    "base_lr": "learning_rate",
    "lars_lr": "learning_rate",
    "learn_rate": "learning_rate",
    "max_lr": "learning_rate",
    "start_lr": "warmup_start",
    "final_lr": "final_learning_rate",
    "min_lr": "final_learning_rate",
    "wd": "weight_decay",
    "decay": "weight_decay",
    "bs": "batch_size",
    "batch": "batch_size",
    "batchsize": "batch_size",
    "global_batch_size": "batch_size",
    "arch": "backbone",
    "model": "backbone",
    "encoder": "backbone",
    "network": "backbone",
    "model_name": "backbone",
    "img_size": "image_size",
    "size": "image_size",
    "crop_size": "image_size",
    "imgsz": "image_size",
    "input_size": "image_size",
    "resolution": "image_size",
    "epoch": "epochs",
    "num_epochs": "epochs",
    "n_epochs": "epochs",
    "max_epochs": "epochs",
    "augmentations": "views",
    "augmentation": "views",
    "augment": "views",
    "transform": "views",
    "transforms": "views",
    "time": "minutes",
    "max_time": "minutes",
    "opt": "optimizer",
    "loss": "method",
    "proj": "projector",
    "proj_dim": "projector",
    "projection_head": "projector",
    "random_state": "seed",
    "random_seed": "seed",
    "amp": "precision",
    "fp16": "precision",
    "use_amp": "precision",
    "method_kwargs": "options",
    "weights": "pretrained",
    "checkpoint": "pretrained",
    "lambd": "redundancy_weight",
    "lambda": "redundancy_weight",
    "lambda_": "redundancy_weight",
    "lambda_param": "redundancy_weight",
    "lmbda": "redundancy_weight",
    "lamb": "redundancy_weight",
    "warmup": "warmup_epochs",
    "warmup_steps": "warmup_epochs",
    "grad_clip": "clip_norm",
    "gradient_clip_val": "clip_norm",
    "accumulate_grad_batches": "accumulate",
    "gradient_accumulation_steps": "accumulate",
}
"""What other projects call the fields, too far from ours to be told by their letters."""
OF_THE_RUN = {
    "dataset": "data",
    "data_dir": "data",
    "data_path": "data",
    "train_data": "data",
    "train_dataset": "data",
    "root": "data",
    "output": "out",
    "output_dir": "out",
    "save_dir": "out",
    "save_path": "out",
    "log_dir": "out",
    "logdir": "out",
    "workdir": "out",
    "val_data": "test",
    "val_dataset": "test",
    "test_data": "test",
    "init_from": "start_from",
    "device": "accelerator",
    "gpus": "devices",
    "gpu": "devices",
    "ngpus": "devices",
    "num_gpus": "devices",
    "nodes": "num_nodes",
    "silent": "quiet",
    "logger": "log_to",
    "tensorboard": "log_to tensorboard",
    "wandb": "log_to wandb",
    "workers": "num_workers",
    "num_threads": "num_workers",
}
"""What other projects call what says where a run is made, or of what: arguments of `pretrain` and of the machine."""
WITHOUT_MOMENTUM = ("adamw", "adam")
"""Optimizers that have betas of their own instead."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the numbers of a run; two runs with equal recipes on equal data are equal on a CPU.

    But for runs with `minutes`, whose number of steps follows the clock; what it decided is in their journal.

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
    fit: Literal["square", "whole"] = "square"
    """How pictures that are not square are seen: square: without augmentation the largest central square;
    whole: all of them, squeezed to squares, in crops, features, evaluation and export."""
    views: str = "byol"
    """Augmentation pipelines by name: byol, byol-iid, cifar, small-grey, ..."""
    modality_options: dict[str, int | float | str] = field(default_factory=dict)
    """Numbers and words that only this kind of data has: sample_rate 16000 hop 160 for sound."""

    # --- the network
    backbone: str = "resnet18"
    """timm or torchvision name ("timm:..." and "torchvision:..." settle a name that both have), or unet:16."""
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
    options: dict[str, int | float | str] = field(default_factory=dict)
    """Numbers and words of the method: temperature 0.2 queue_length 64; `barlow recipes NAME` shows all it has."""

    # --- the optimisation
    epochs: int | float = 100
    """Passes over the data; 0.5 is half of one, 2.3 ends within the third. With minutes: as the plan was at first."""
    minutes: int | float = 0
    """Time of the whole run, evaluation and page included, instead of epochs; 0: as many epochs as said."""
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
    lars_trust: float = 0.001
    """LARS: length of an update as a fraction of the length of its parameter, at a learning rate of 1."""
    lars_clip: bool = False
    """LARS as solo-learn clips it: no update is longer than plain SGD's; lars_trust then needs no learning rate."""
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

    def __post_init__(self) -> None:
        """Refuse what is no number, no word or no name where the field is one."""
        check_fields(self)


def with_numbers(recipe: Recipe, numbers: Mapping[str, Any]) -> Recipe:
    """Return the recipe with some fields changed; `options` join those it has, unless the method changes too.

    So do `modality_options`, always.

    Another network by name has its published width, unless that is given too: the recipe's belongs to its own network.
    """
    known = [*(a_field.name for a_field in fields(Recipe)), *TYPED_AS_FIELDS]
    for name in numbers:
        if name in ALSO_CALLED:
            raise ValueError(f"{name}: is called {ALSO_CALLED[name]} here")
        if name not in known:
            own = f"; a number of one method goes into options={{{name!r}: ...}}"
            raise ValueError(f"{name}: a Recipe has no such field{field_meant(name) or own}")
    changed = {name: value for name, value in numbers.items() if name not in TYPED_AS_FIELDS}
    typed = {name: numbers[name] for name in TYPED_AS_FIELDS if name in numbers} | changed.pop("options", {})
    backbone = changed.get("backbone", recipe.backbone)
    if backbone != recipe.backbone and not str(backbone).startswith(OWN):
        changed.setdefault("width", Recipe.width)
    same = changed.get("method", recipe.method) == recipe.method
    of_modality = recipe.modality_options | changed.pop("modality_options", {})
    return replace(recipe, **changed, options=(recipe.options if same else {}) | typed, modality_options=of_modality)


def field_meant(name: str) -> str:
    """Return "; did you mean 'x'?" for a name that no field has: what others call one, else the nearest."""
    if name in ALSO_CALLED:
        return f"; did you mean {ALSO_CALLED[name]!r}?"
    return did_you_mean(name, [*(a_field.name for a_field in fields(Recipe)), *TYPED_AS_FIELDS])


def up_to_date(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a recipe as they are written today, from a file of any age.

    Lambda and normalisation used to be fields of every recipe and decided something for Barlow Twins only; so did
    the momentum for Adam and AdamW, which now refuse it.
    """
    found = dict(record)
    once_fields = {name: found.pop(name) for name in TYPED_AS_FIELDS if name in found}
    if once_fields.get("normalization") == "pearson":  # the default, which no recipe says
        del once_fields["normalization"]
    if once_fields and found.get("method", Recipe.method) == Recipe.method:
        found["options"] = {**once_fields, **found.get("options", {})}
    if found.get("optimizer") in WITHOUT_MOMENTUM and "momentum" in found:
        found["momentum"] = Recipe.momentum
    return found


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a recipe with each option as a field of its own: "options.temperature".

    Those of the modality stand as "modality_options.hop".
    """
    named: dict[str, Any] = {}
    for name, value in record.items():
        if name in OPTIONS and isinstance(value, Mapping):
            named |= {f"{name}.{option}": one for option, one in value.items()}
        elif name not in OPTIONS:
            named[name] = value
    return named


def folded(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `flat` made of some fields as they were: the options by name together."""
    found = {name: value for name, value in numbers.items() if name.partition(".")[0] not in OPTIONS}
    for name, value in numbers.items():
        field_name, _, option = name.partition(".")
        if field_name in OPTIONS:
            found.setdefault(field_name, {})[option] = value
    return found
