"""Checkpoints of other projects as backbones: the network told from its weights, every name accounted for.

`weights.py` reads the file and finds where in it the network stands; a ResNet is told from the names of its blocks and
the shape of its first convolution.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from barlow.images.networks.backbones import Backbone, build_backbone
from barlow.images.networks.basic_resnet import BASIC_RESNETS, PUBLISHED_WIDTH
from barlow.images.networks.weights import (
    Match,
    State,
    below,
    joined,
    listed,
    matches,
    names_in,
    read_states,
    unwrapped,
)

PROJECTORS = ("projector", "projection_head.layers", "projection_head", "projection_mlp")
"""Under what names projects keep the projector, beside the backbone or further up."""
OFFICIAL = "official Barlow Twins"
"""Layout of facebookresearch/barlowtwins, with which the loss is known: Pearson, of the projector's outputs."""
MIN_SHARE = 0.5
"""Share of the network's weights that has to be found: with fewer, names agree by accident and the file is of another
network."""
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
STEM_OF_KERNEL = {3: "small", 7: "imagenet"}
"""Stems by the side of their first convolution."""

_SMALL, _LARGE = 32, 224
"""Sides of images for which networks with the small and with the ImageNet stem are built, unless told."""
_BLOCK = re.compile(r"(?:(.*)\.)?(layer\d+|\d+)\.(\d+)\.conv(\d)\.weight")
"""Prefix, stage (by name, or by number among the children of a network), block, convolution."""
_STEM_NOTE = (
    "the first convolution is 3 x 3: taken for one of stride 1 and padding 1 without pooling, which leaves no trace in "
    "weights; solo-learn's networks for CIFAR have padding 2: set backbone.network.conv1.padding = (2, 2) for those"
)


@dataclass(frozen=True)
class Foreign:
    """A backbone with the weights of a file, and an account of every name on both sides.

    Attributes:
        backbone: in eval mode, on the CPU.
        layout: whose way of writing checkpoints this is, as far as names tell.
        prefix: where the network stands in the file: the place of its state dict, then what precedes its own names.
        matched: names in the state dict whose weights the backbone now has.
        unmatched: names in it that belong neither to the backbone nor to the projector.
        missing: names of the network that are not there; these weights are still those that it had before.
        projector: weights of the projector by name within it, None where none is recognised.
        notes: what the weights cannot tell, and what was assumed.
    """

    backbone: nn.Module
    layout: str
    prefix: str
    matched: tuple[str, ...]
    unmatched: tuple[str, ...]
    missing: tuple[str, ...]
    projector: dict[str, Tensor] | None = None
    notes: tuple[str, ...] = ()


def load_foreign(
    path: str | Path,
    backbone: nn.Module | None = None,
    *,
    arch: str = "",
    image_size: int = 0,
    prefix: str | None = None,
) -> Foreign:
    """Load the backbone out of a checkpoint of Barlow Twins, lightly, solo-learn, stable-pretraining, timm or our own.

    Args:
        path: `.safetensors`, or a torch file (`.pth`, `.pt`, `.ckpt`, `.tar`) that `weights_only=True` can read.
        backbone: the network to fill, in place; None: it is built.
        arch: name for `build_backbone`; "": told from names and shapes, which works for ResNets.
        image_size: side in pixels for which it is built; 0: 32 with the small stem, else 224.
        prefix: where the network stands, such as "state_dict.backbone"; None: where most of it is found.

    Returns:
        The backbone, and what became of every name.

    Raises:
        ValueError: the file cannot be read safely; no network can be told from it; hardly any name fits, weights have
            other shapes, or two places fit equally well. The message has names of both sides.
    """
    path = Path(path).expanduser()
    states = {
        place: {name: value for name, value in state.items() if not _is_counter(name)}
        for place, state in read_states(path).items()
    }
    network = _build(path, states, arch, image_size, prefix) if backbone is None else backbone
    target = network.network if isinstance(network, Backbone) else network
    wanted = {name: value for name, value in target.state_dict().items() if not _is_counter(name)}
    match = _best_match(path, states, target, wanted, prefix)
    state = states[match.place]
    found = {name: state[there] for name, there in match.names.items()}
    wrong = [name for name, value in found.items() if value.shape != wanted[name].shape]
    if wrong:
        shapes = [f"{name}: {tuple(found[name].shape)} there, {tuple(wanted[name].shape)} here" for name in wrong]
        side = "; wanted: image_size= of its images" if any("pos_embed" in name for name in wrong) else ""
        raise ValueError(f"path: {str(path)!r} has other shapes than {type(target).__name__}: {listed(shapes)}{side}")
    target.load_state_dict(found, strict=False)
    missing = tuple(name for name in wanted if name not in found)
    return _account(network.eval(), match, state, missing, built=backbone is None)


def _build(path: Path, states: Mapping[str, State], arch: str, image_size: int, prefix: str | None) -> Backbone:
    """Build the network of the file: the one named, with the stem that the shapes tell, or the one that they tell."""
    resnets: dict[str, ResNetShape] = {}
    for place, state in states.items():
        shapes = resnet_shapes({unwrapped(name): value for name, value in state.items()})
        resnets |= {joined(place, inside): shape for inside, shape in shapes.items()}
    if prefix is not None:
        resnets = {place: shape for place, shape in resnets.items() if place == prefix.strip(".")}
    different = set(resnets.values())
    if len(different) != 1:
        if arch:
            return build_backbone(arch, image_size=image_size or _LARGE)
        seen = ", ".join(f"{shape.architecture} under {place!r}" for place, shape in resnets.items())
        raise ValueError(
            f"arch: the network cannot be told from {str(path)!r} (ResNets in it: {seen or 'none that is known'}); "
            "wanted: arch=, such as 'vit_small_patch16_224' (your own: barlow.load_foreign with backbone=); the file "
            f"has {listed(names_in(states))}"
        )
    (shape,) = different
    return build_backbone(
        arch or shape.architecture,
        in_channels=shape.in_channels,
        image_size=image_size or (_SMALL if shape.stem == "small" else _LARGE),
        width=shape.width,
        stem=shape.stem,
    )


@dataclass(frozen=True)
class ResNetShape:
    """What `build_backbone` has to be given to build the network once more."""

    architecture: str
    width: int
    in_channels: int
    stem: str


def resnet_shapes(state: Mapping[str, Tensor]) -> dict[str, ResNetShape]:
    """Find the ResNets in a state dict by their prefixes ("backbone", without the dot).

    Names are those of torchvision and timm, or the children of the network are numbered. Other kinds of ResNets (with
    groups, wider inside, deeper in the stem) are left out.
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
    if not architecture or first is None or inside is None or first.ndim != 4 or first.shape[-1] not in STEM_OF_KERNEL:
        return None
    width, in_channels = first.shape[:2]
    plain = tuple(inside.shape[:2]) == (width, width) and (width == PUBLISHED_WIDTH or not bottleneck)
    return ResNetShape(architecture, width, in_channels, STEM_OF_KERNEL[first.shape[-1]]) if plain else None


def _best_match(
    path: Path, states: Mapping[str, State], target: nn.Module, wanted: Mapping[str, Tensor], prefix: str | None
) -> Match:
    """Return where most of the network is found, in the file or at the place that the user named."""
    found = matches(states, target, wanted)
    if prefix is not None:
        found = [match for match in found if match.full == prefix.strip(".")]
    if not found or len(found[0].names) < MIN_SHARE * len(wanted):
        count = len(found[0].names) if found else 0
        under = "" if prefix is None else f" under {prefix!r}"
        raise ValueError(
            f"path: {str(path)!r} has{under} {count} of the {len(wanted)} weights of {type(target).__name__}: "
            f"the file has {listed(names_in(states))}; the network has {listed(list(wanted))}"
        )
    equal = sorted({match.full for match in found if match.rank == found[0].rank})
    if len(equal) > 1:
        raise ValueError(f"prefix: {str(path)!r} has the network in several places; wanted: one of {', '.join(equal)}")
    return found[0]


def _account(network: nn.Module, match: Match, state: State, missing: tuple[str, ...], *, built: bool) -> Foreign:
    """Say what became of every name."""
    matched = set(match.names.values())
    rest = {unwrapped(name): name for name in state if name not in matched}
    head, projector = _projector(rest, match.prefix)
    heads = {rest[plain] for plain in projector.values()}
    small = built and isinstance(network, Backbone) and network.record.stem == "small"
    return Foreign(
        backbone=network,
        layout=_layout(match, head, list(rest)),
        prefix=match.full,
        matched=tuple(name for name in state if name in matched),
        unmatched=tuple(name for name in state if name not in matched | heads),
        missing=missing,
        projector={inside: state[rest[plain]] for inside, plain in projector.items()} or None,
        notes=(_STEM_NOTE,) if small else (),
    )


def _projector(rest: Mapping[str, str], prefix: str) -> tuple[str, dict[str, str]]:
    """Find the projector beside the backbone or further up: what it is called, and names in it -> names there."""
    parts = prefix.split(".")
    for depth in reversed(range(len(parts))):
        for head in PROJECTORS:
            place = joined(".".join(parts[:depth]), head)
            inside = {below(plain, place): plain for plain in rest if below(plain, place)}
            if inside:
                return head, inside
    return "", {}


def _layout(match: Match, head: str, rest: Sequence[str]) -> str:
    """Name whose checkpoint it is: by its containers, how it calls the projector, and what else it keeps."""
    also = {name.split(".")[0].removeprefix("_") for name in rest}
    if match.place == "method" or match.prefix == "backbone.network":
        return "barlow"
    if match.numbered or head.startswith("projection"):
        return "lightly"
    if match.place == "model" and head == "projector":  # the same but for the norm in the loss of Barlow Twins
        return OFFICIAL if "bn" in also else "official VICReg"
    if also & {"callbacks_modules", "callbacks_metrics"}:
        return "stable-pretraining"
    if match.place == "state_dict" and match.prefix in ("backbone", "encoder") and "classifier" in also:
        return "solo-learn"
    if match.place == "state_dict" and match.prefix in ("backbone", "encoder", "model") and head == "projector":
        return "solo-learn" if match.prefix == "encoder" else "stable-pretraining"
    return f"names under {match.prefix!r}" if match.prefix else "timm or torchvision"


def _is_counter(name: str) -> bool:
    """Whether this is a BatchNorm's count of batches, which nothing reads and old checkpoints do not have."""
    return name.endswith("num_batches_tracked")
