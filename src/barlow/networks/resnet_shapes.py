"""Which ResNet wrote these weights: told from the names of its blocks and the shape of its first convolution."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from barlow.networks.basic_resnet import BASIC_RESNETS, PUBLISHED_WIDTH

BOTTLENECK_RESNETS: dict[tuple[int, ...], str] = {
    (3, 4, 6, 3): "resnet50",
    (3, 4, 23, 3): "resnet101",
    (3, 8, 36, 3): "resnet152",
}
"""Names by bottleneck blocks per stage. Source: He et al. 2016, table 1."""
NAMED_STAGES = ["layer1", "layer2", "layer3", "layer4"]
NUMBERED_STAGES = ["4", "5", "6", "7"]
"""Stages by their place among the children of a ResNet, after convolution, norm, activation and pooling. Where they
stand elsewhere, the network is another: that of lightly's own ResNets, as a Sequential, has no activation there."""
STEMS = {3: "small", 7: "imagenet"}
"""Stems by the side of their first convolution."""

_BLOCK = re.compile(r"(?:(.*)\.)?(layer\d+|\d+)\.(\d+)\.conv(\d)\.weight")
"""Prefix, stage (by name, or by number among the children of a network), block, convolution."""


@dataclass(frozen=True)
class ResNetShape:
    """What `build_backbone` has to be given to build the network once more."""

    architecture: str
    width: int
    in_channels: int
    stem: str


def resnet_shapes(state: Mapping[str, Tensor]) -> dict[str, ResNetShape]:
    """Find the ResNets whose weights are among those of a state dict.

    Args:
        state: tensors by name, in the names of torchvision and timm behind any prefix; the children of the network
            may be numbered.

    Returns:
        What each of them is, by its prefix ("backbone", without the dot). Other kinds of ResNets (with groups, wider
        inside, deeper in the stem) are left out.
    """
    blocks: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    convolutions: dict[str, set[str]] = defaultdict(set)
    for name in state:
        if match := _BLOCK.fullmatch(name):
            prefix, stage, block, convolution = match.groups(default="")
            blocks[prefix][stage].add(block)
            convolutions[prefix].add(convolution)
    found = {}
    for prefix, stages in blocks.items():
        shape = _shape(state, prefix, stages, bottleneck="3" in convolutions[prefix])
        if shape is not None:
            found[prefix] = shape
    return found


def _shape(
    state: Mapping[str, Tensor], prefix: str, stages: Mapping[str, set[str]], *, bottleneck: bool
) -> ResNetShape | None:
    """Return the ResNet behind a prefix, None where it is none that has a name here."""
    order = sorted(stages, key=lambda stage: int(stage.removeprefix("layer")))
    by_number = order == NUMBERED_STAGES
    if not by_number and order != NAMED_STAGES:
        return None
    depths = tuple(len(stages[stage]) for stage in order)
    basic: dict[tuple[int, ...], str] = {depth: name for name, depth in BASIC_RESNETS.items()}
    named: Mapping[tuple[int, ...], str] = BOTTLENECK_RESNETS if bottleneck else basic
    architecture = named.get(depths, "")
    dot = f"{prefix}." if prefix else ""
    first = state.get(f"{dot}0.weight" if by_number else f"{dot}conv1.weight")
    inside = state.get(f"{dot}{order[0]}.0.conv2.weight")
    if not architecture or first is None or inside is None or first.ndim != 4 or first.shape[-1] not in STEMS:
        return None
    width, in_channels = first.shape[:2]
    plain = tuple(inside.shape[:2]) == (width, width) and (width == PUBLISHED_WIDTH or not bottleneck)
    return ResNetShape(architecture, width, in_channels, STEMS[first.shape[-1]]) if plain else None
