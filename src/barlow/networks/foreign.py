"""Checkpoints of other projects as backbones: the layout recognised, names matched, all that is left over listed.

A file holds one or several state dicts. In one of them the names of a network stand behind a prefix, such as
"module.backbone." in the official Barlow Twins checkpoint, or its children are numbered, as lightly's
`nn.Sequential(*list(resnet.children())[:-1])` numbers them. Every prefix that the file offers is tried, and the one
under which most weights of the network are found, in its shapes, is taken. Nothing is ever unpickled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from barlow.networks.backbones import Backbone, build_backbone
from barlow.networks.foreign_files import State, read_states
from barlow.networks.foreign_names import Reading, below, joined, readings, unwrapped
from barlow.networks.resnet_shapes import ResNetShape, resnet_shapes

PROJECTORS = ("projector", "projection_head.layers", "projection_head", "projection_mlp")
"""Under what names projects keep the projector, beside the backbone or further up."""
OFFICIAL = "official Barlow Twins"
"""Layout of facebookresearch/barlowtwins, with which the loss is known: Pearson, of the projector's outputs."""
FEWEST = 0.5
"""Share of the network's weights that has to be found: with fewer, names agree by accident and the file is of another
network."""

_SMALL, _LARGE = 32, 224
"""Sides of pictures for which networks with the small and with the ImageNet stem are built, unless told."""
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
            other shapes, or two places fit alike. The message has names of both sides.
    """
    path = Path(path)
    states = {
        place: {name: value for name, value in state.items() if not _is_counter(name)}
        for place, state in read_states(path).items()
    }
    network = _built(path, states, arch, image_size, prefix) if backbone is None else backbone
    target = network.network if isinstance(network, Backbone) else network
    wanted = {name: value for name, value in target.state_dict().items() if not _is_counter(name)}
    reading = _best(path, states, target, wanted, prefix)
    state = states[reading.place]
    found = {name: state[there] for name, there in reading.names.items()}
    wrong = [name for name, value in found.items() if value.shape != wanted[name].shape]
    if wrong:
        shapes = [f"{name}: {tuple(found[name].shape)} there, {tuple(wanted[name].shape)} here" for name in wrong]
        side = "; wanted: image_size= of its pictures" if any("pos_embed" in name for name in wrong) else ""
        raise ValueError(f"path: {str(path)!r} has other shapes than {type(target).__name__}: {_listed(shapes)}{side}")
    target.load_state_dict(found, strict=False)
    missing = tuple(name for name in wanted if name not in found)
    return _account(network.eval(), reading, state, missing, built=backbone is None)


def _built(path: Path, states: Mapping[str, State], arch: str, image_size: int, prefix: str | None) -> Backbone:
    """Build the network of the file: as named, with the entrance that the shapes tell, or as told from them alone."""
    told: dict[str, ResNetShape] = {}
    for place, state in states.items():
        shapes = resnet_shapes({unwrapped(name): value for name, value in state.items()})
        told |= {joined(place, inside): shape for inside, shape in shapes.items()}
    if prefix is not None:
        told = {place: shape for place, shape in told.items() if place == prefix.strip(".")}
    different = set(told.values())
    if len(different) != 1:
        if arch:
            return build_backbone(arch, image_size=image_size or _LARGE)
        names = [joined(place, name) for place, state in states.items() for name in state]
        seen = (
            ", ".join(f"{shape.architecture} under {place!r}" for place, shape in told.items()) or "none that is known"
        )
        raise ValueError(
            f"arch: the network cannot be told from {str(path)!r} (ResNets in it: {seen}); wanted: arch=, such as "
            f"'vit_small_patch16_224' (one of your own: load_foreign with backbone=); the file has {_listed(names)}"
        )
    (shape,) = different
    return build_backbone(
        arch or shape.architecture,
        in_channels=shape.in_channels,
        image_size=image_size or (_SMALL if shape.stem == "small" else _LARGE),
        width=shape.width,
        stem=shape.stem,
    )


def _best(
    path: Path, states: Mapping[str, State], target: nn.Module, wanted: Mapping[str, Tensor], prefix: str | None
) -> Reading:
    """Return the reading of the file that finds most of the network."""
    found = [reading for place, state in states.items() for reading in readings(place, state, target, wanted)]
    if prefix is not None:
        found = [reading for reading in found if reading.full == prefix.strip(".")]
    found.sort(key=lambda reading: reading.rank, reverse=True)
    if not found or len(found[0].names) < FEWEST * len(wanted):
        count = len(found[0].names) if found else 0
        under = "" if prefix is None else f" under {prefix!r}"
        names = [joined(place, name) for place, state in states.items() for name in state]
        raise ValueError(
            f"path: {str(path)!r} has{under} {count} of the {len(wanted)} weights of {type(target).__name__}: "
            f"the file has {_listed(names)}; the network has {_listed(list(wanted))}"
        )
    alike = sorted({reading.full for reading in found if reading.rank == found[0].rank})
    if len(alike) > 1:
        raise ValueError(f"prefix: {str(path)!r} has the network in several places; wanted: one of {', '.join(alike)}")
    return found[0]


def _account(network: nn.Module, reading: Reading, state: State, missing: tuple[str, ...], *, built: bool) -> Foreign:
    """Say what became of every name."""
    matched = set(reading.names.values())
    rest = {unwrapped(name): name for name in state if name not in matched}
    head, projector = _projector(rest, reading.prefix)
    heads = {rest[plain] for plain in projector.values()}
    small = built and isinstance(network, Backbone) and network.record.stem == "small"
    return Foreign(
        backbone=network,
        layout=_layout(reading, head, list(rest)),
        prefix=reading.full,
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


def _layout(reading: Reading, head: str, rest: Sequence[str]) -> str:
    """Name whose checkpoint it is: by its containers, how it calls the projector, and what else it keeps."""
    also = {name.split(".")[0].removeprefix("_") for name in rest}
    if reading.place == "method" or reading.prefix == "backbone.network":
        return "barlow"
    if reading.numbered or head.startswith("projection"):
        return "lightly"
    if reading.place == "model" and head == "projector":  # alike but for the norm that Barlow Twins has in its loss
        return OFFICIAL if "bn" in also else "official VICReg"
    if also & {"callbacks_modules", "callbacks_metrics"}:
        return "stable-pretraining"
    if reading.place == "state_dict" and reading.prefix in ("backbone", "encoder") and "classifier" in also:
        return "solo-learn"
    if reading.place == "state_dict" and reading.prefix in ("backbone", "encoder", "model") and head == "projector":
        return "solo-learn" if reading.prefix == "encoder" else "stable-pretraining"
    return f"names under {reading.prefix!r}" if reading.prefix else "timm or torchvision"


def _is_counter(name: str) -> bool:
    """Whether this is a BatchNorm's count of batches, which nothing reads and old checkpoints do not have."""
    return name.endswith("num_batches_tracked")


def _listed(names: Sequence[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
