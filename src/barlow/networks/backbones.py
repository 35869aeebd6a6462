"""Backbones: a timm or torchvision name, a width and a stem become a network from (N, C, H, W) to (N, d)."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.networks.basic_resnet import PUBLISHED_WIDTH
from barlow.networks.libraries import construct_network, find_network, nearest
from barlow.networks.pretrained import load_weights
from barlow.networks.stems import SMALL_IMAGE, has_resnet_stem, use_small_stem

STEMS = ("auto", "imagenet", "small")


@dataclass(frozen=True)
class BackboneRecord:
    """All that is needed to build a backbone again; its weights are kept elsewhere.

    Attributes:
        library: "timm", "torchvision" or "barlow" (`basic_resnet`).
        architecture: name within the library, without a tag for weights.
        in_channels: channels of the images.
        image_size: side of the images in pixels that it was built and checked for.
        width: channels of the first stage; other than 64 only in basic ResNets.
        stem: "imagenet" for the library's own first layers, or "small".
        arguments: what the library's constructor was given; JSON types only.
        num_features: width d of the features.
    """

    library: str
    architecture: str
    in_channels: int
    image_size: int
    width: int
    stem: str
    arguments: dict[str, Any] = field(default_factory=dict)
    num_features: int = 0


class Backbone(nn.Module):
    """A network without classifier, and the record from which it can be built again."""

    def __init__(self, network: nn.Module, record: BackboneRecord) -> None:
        """Wrap `network`, which maps (N, C, H, W) to (N, d) or to a feature map (N, d, H', W')."""
        super().__init__()
        self.network = network
        self.record = record

    @property
    def num_features(self) -> int:
        """Width d of the features."""
        return self.record.num_features

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """Return features: (N, C, H, W) -> (N, d); a feature map is averaged over its positions."""
        features: Tensor = self.network(images)
        return features.mean(dim=(2, 3)) if features.ndim == 4 else features


def build_backbone(
    name: str,
    *,
    in_channels: int = 3,
    image_size: int = 224,
    width: int = PUBLISHED_WIDTH,
    stem: str = "auto",
    pretrained: str = "",
    zero_init: bool = True,
) -> Backbone:
    """Build the backbone f of a run, h = f(x), and check it with a small batch.

    Args:
        name: timm or torchvision name; where both have it, timm's is taken. "timm:<name>" and
            "torchvision:<name>" settle it. Also "resnet10".
        in_channels: channels C of the images.
        image_size: side of the images in pixels; transformers with position embeddings are built for it.
        width: channels of the first stage of resnet10, resnet18 or resnet34.
        stem: "imagenet" (the library's own), "small" (ResNets: 3x3, stride 1, no pooling), or "auto": small
            for ResNets up to 64 pixels, unless `pretrained` is "default", whose weights need the large one.
        pretrained: "" for none, "default" for the library's own weights, or the path of a file of weights.
        zero_init: whether the residual branches of ResNets start at zero, as in the official Barlow Twins code.
            For a few hundred steps, False learns faster.

    Returns:
        A `Backbone` on the CPU, in training mode.

    Raises:
        ValueError: an unknown name; a width, stem or size that the network does not have; weights that do not
            fit it.
    """
    for argument, value in (("in_channels", in_channels), ("image_size", image_size), ("width", width)):
        if value < 1:
            raise ValueError(f"{argument}: {value} came, at least 1 is wanted")
    if stem not in STEMS:
        raise ValueError(f"stem: {stem!r} is not one of {', '.join(STEMS)}{nearest(stem, STEMS)}")
    published = pretrained == "default"
    if stem == "small" and published:
        raise ValueError("stem: 'small' would lose the first layer of pretrained='default'; wanted: 'imagenet'")
    library, architecture = find_network(name, width)
    network, arguments = construct_network(
        library, architecture, in_channels=in_channels, image_size=image_size, width=width, weights=published
    )
    if stem == "auto":
        small = image_size <= SMALL_IMAGE and has_resnet_stem(network) and not published
        stem = "small" if small else "imagenet"
    if not zero_init and not published:
        _open_residual_branches(network)
    architecture = architecture.split(".")[0]
    record = BackboneRecord(library, architecture, in_channels, image_size, width, stem, arguments)
    backbone = _finish(network, record)
    if pretrained and not published:
        load_weights(backbone.network, Path(pretrained))
    return backbone


def _open_residual_branches(network: nn.Module) -> None:
    """Set the norms that start at zero, the last one of every residual branch, to one."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d) and part.weight is not None and not part.weight.any():
            nn.init.ones_(part.weight)


def rebuild_backbone(record: BackboneRecord) -> Backbone:
    """Build the network of a record once more, with fresh weights.

    Args:
        record: of an earlier `build_backbone`.

    Returns:
        A `Backbone` whose parameters have the names and shapes of the first.

    Raises:
        ValueError: the library has it no longer, or has another network under its name.
    """
    network, _ = construct_network(
        record.library,
        record.architecture,
        in_channels=record.in_channels,
        image_size=record.image_size,
        width=record.width,
        weights=False,
        arguments=record.arguments,
    )
    backbone = _finish(network, record)
    if backbone.num_features != record.num_features:
        raise ValueError(
            f"record: {record.library}:{record.architecture} has {backbone.num_features} features here, "
            f"{record.num_features} when it was recorded"
        )
    return backbone


def check_backbone(module: nn.Module, example: Tensor) -> int:
    """Run a batch through any module, in eval mode and without gradient, and count its features.

    Args:
        module: maps a batch (N, ...) to features (N, d); left in the modes it came in.
        example: a batch (N, ...) as the module will see it; two samples are enough.

    Returns:
        The width d.

    Raises:
        ValueError: the module fails on the batch, or what it returns is no finite floating-point (N, d); the
            message says what to do.
    """
    who = f"backbone: {type(module).__name__}"
    modes = [(part, part.training) for part in module.modules()]
    try:
        with torch.no_grad():
            features = module.eval()(example)
    except Exception as error:  # a foreign module may raise anything, and all of it means the same here
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"{who} fails on a batch of shape {tuple(example.shape)}: {reason}") from error
    finally:
        for part, training in modes:
            part.training = training
    if not isinstance(features, Tensor):
        raise ValueError(f"{who} returns {type(features).__name__}; wanted: one tensor of shape (N, d)")
    shape = tuple(features.shape)
    if features.ndim != 2 or shape[0] != len(example):
        hints = {3: "; take one token, or their mean", 4: "; add nn.AdaptiveAvgPool2d(1) and nn.Flatten()"}
        hint = hints.get(features.ndim, "")
        raise ValueError(f"{who} returns shape {shape}; wanted: ({len(example)}, d){hint}")
    if not features.is_floating_point():
        raise ValueError(f"{who} returns {features.dtype}; wanted: floating-point features")
    if not features.isfinite().all():
        raise ValueError(f"{who} returns NaN or infinity on a batch of shape {tuple(example.shape)}")
    return shape[1]


def _finish(network: nn.Module, record: BackboneRecord) -> Backbone:
    """Put on the stem, check the network and write down the number of its features."""
    if record.stem == "small":
        use_small_stem(network)
    backbone = Backbone(network, record)
    shape = (2, record.in_channels, record.image_size, record.image_size)
    example = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    try:
        num_features = check_backbone(backbone, example)
    except ValueError as error:
        size = getattr(network, "pretrained_cfg", {}).get("input_size", (3, 224, 224))[-1]
        advice = f"{record.architecture} was published for an image_size of {size}"
        raise ValueError(f"{error}; {advice}") from error
    backbone.record = replace(record, num_features=num_features)
    return backbone
