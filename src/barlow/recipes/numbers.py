"""The keywords of `barlow.pretrain` that are fields of a Recipe: editors complete them, type checkers know them.

A test holds them equal to the fields; what each of them is stands under the fields. `views`, `backbone` and `method`,
which may also be objects, are in the signature itself.
"""

from typing import Literal, TypedDict


class Numbers(TypedDict, total=False):
    """Fields of a Recipe to change, by name, and the options of Barlow Twins that are typed like fields."""

    name: str
    source: str
    published: str
    image_size: int
    fit: Literal["square", "whole"]
    modality_options: dict[str, int | float | str]
    width: int
    zero_init: bool
    pretrained: str
    stem: Literal["auto", "imagenet", "small"]
    projector: str
    projector_norm: Literal["batch", "layer", "none"]
    projector_activation: Literal["relu", "gelu"]
    projector_bias: bool
    options: dict[str, int | float | str]
    epochs: int | float
    minutes: int | float
    batch_size: int
    optimizer: Literal["adamw", "adam", "lars", "sgd"]
    learning_rate: float
    bias_learning_rate: float
    momentum: float
    lars_trust: float
    lars_clip: bool
    weight_decay: float
    exclude_biases: bool
    constant_part: str
    warmup_epochs: float
    warmup_start: float
    final_learning_rate: float
    clip_norm: float
    accumulate: int
    seed: int
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
    channels_last: bool
    redundancy_weight: float
    normalization: Literal["pearson", "feature_cosine", "sample_cosine", "scalar", "covariance", "raw", "whiten"]
