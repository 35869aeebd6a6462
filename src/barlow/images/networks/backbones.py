"""Backbones: a timm or torchvision name, a width and a stem become a network from (N, C, H, W) to (N, d)."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.arguments import check_fields
from barlow.errors import unknown
from barlow.images.networks.basic_resnet import PUBLISHED_WIDTH
from barlow.images.networks.libraries import (
    SMALL_IMAGE,
    construct_network,
    find_network,
    has_resnet_stem,
    use_small_stem,
)
from barlow.images.networks.weights import load_weights
from barlow.seams import check_backbone

STEMS = ("auto", "imagenet", "small")


@dataclass(frozen=True)
class BackboneRecord:
    """All that is needed to build a backbone again, without its weights.

    Attributes:
        library: "timm", "torchvision" or "barlow" (`basic_resnet`).
        architecture: name within the library, without a tag for weights.
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

    def __post_init__(self) -> None:
        """Hold the plain fields to their types, for they may come from a file."""
        check_fields(self)


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
    """Build the backbone f of a run, h = f(x), and check it with a small batch; on the CPU, in training mode.

    `name` is one of timm or torchvision, timm's where both have it, unless "timm:<name>" or "torchvision:<name>" says
    which; also "resnet10". `width` is the channels of the first stage of resnet10, resnet18 or resnet34. Transformers
    with position embeddings are built for `image_size`, in pixels.

    `stem` is "imagenet" (the library's own), "small" (ResNets: 3x3, stride 1, no pooling), or "auto": small for ResNets
    up to 64 pixels, unless `pretrained` is "default", whose weights need the large one. `pretrained` is "" for none,
    "default" for the library's own weights, or the path of a file of weights.

    With `zero_init` the residual branches of ResNets start at zero, as in the official Barlow Twins code. For a few
    hundred steps, False learns faster.
    """
    for argument, value in (("in_channels", in_channels), ("image_size", image_size), ("width", width)):
        if value < 1:
            raise ValueError(f"{argument}: got {value}, wanted at least 1")
    if stem not in STEMS:
        raise unknown("stem", stem, STEMS)
    published = pretrained == "default"
    if stem == "small" and published:
        raise ValueError("stem: got 'small', wanted 'imagenet': pretrained='default' would lose its first layer")
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
        load_weights(backbone.network, Path(pretrained).expanduser())
    return backbone


def _open_residual_branches(network: nn.Module) -> None:
    """Set the norms that start at zero, the last one of every residual branch, to one."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d) and part.weight is not None and not part.weight.any():
            nn.init.ones_(part.weight)


def rebuild_backbone(record: BackboneRecord) -> Backbone:
    """Build the network of a record once more, with fresh weights under the same names and in the same shapes.

    Refused where the library has it no longer, or has another network under its name.
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
