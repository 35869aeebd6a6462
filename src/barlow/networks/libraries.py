"""Networks without classifier, by name, out of timm, torchvision and `basic_resnet`."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import timm
import torchvision
from torch import nn

from barlow.networks.basic_resnet import BASIC_RESNETS, PUBLISHED_WIDTH, BasicResNet
from barlow.networks.stems import replace_input_convolution

CLASSIFIERS = ("fc", "classifier", "head", "heads")
"""Attributes under which torchvision keeps the classifier."""
TORCHVISION_ARGUMENTS: dict[str, dict[str, Any]] = {
    # As the official Barlow Twins code builds its resnet50; timm's ResNets do so by themselves.
    "torchvision.models.resnet": {"zero_init_residual": True},
    # Auxiliary classifiers would make these two return tuples while training.
    "torchvision.models.googlenet": {"aux_logits": False, "init_weights": True},
    "torchvision.models.inception": {"aux_logits": False, "init_weights": True},
}
"""Constructor arguments by the module that a torchvision network comes from."""


def find_network(name: str, width: int) -> tuple[str, str]:
    """Find the library that has a network.

    Args:
        name: "resnet50", "timm:resnet50", "torchvision:resnet50"; timm's may carry a tag for weights.
        width: channels of the first stage; another than 64 leads to `basic_resnet`.

    Returns:
        "timm", "torchvision" or "barlow", and the name there.

    Raises:
        ValueError: nobody knows the name, or not at this width; the message has the nearest names.
    """
    prefix, _, rest = name.rpartition(":")
    if not prefix and rest in BASIC_RESNETS and (width != PUBLISHED_WIDTH or not timm.is_model(rest)):
        return "barlow", rest
    if width != PUBLISHED_WIDTH:
        raise ValueError(
            f"width: {width} came for {name!r}; only {', '.join(BASIC_RESNETS)}, written without a library, "
            f"have another width than {PUBLISHED_WIDTH}"
        )
    timms, ours = timm.list_models(), torchvision.models.list_models(module=torchvision.models)
    if prefix in ("", "timm") and timm.is_model(rest.split(".")[0]):
        return "timm", rest
    if prefix in ("", "torchvision") and rest in ours:
        return "torchvision", rest
    known = {
        "": [*BASIC_RESNETS, *timms, *ours],
        "timm": [*timms, *(f"torchvision:{other}" for other in ours)],
        "torchvision": [*ours, *(f"timm:{other}" for other in timms)],
    }
    if prefix not in known:
        raise ValueError(f"backbone: {name!r} asks for the library {prefix!r}; wanted: timm or torchvision")
    nobody = f"{prefix} does not have" if prefix else "neither timm nor torchvision has"
    raise ValueError(f"backbone: {nobody} {rest!r}{nearest(rest, known[prefix])}")


def construct_network(
    library: str,
    architecture: str,
    *,
    in_channels: int,
    image_size: int,
    width: int,
    weights: bool,
    arguments: dict[str, Any] | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """Build a network without its classifier.

    Args:
        library: as `find_network` returned it.
        architecture: as `find_network` returned it.
        in_channels: channels of the images.
        image_size: side of the images in pixels; only transformers that fix it ask.
        width: channels of the first stage.
        weights: whether to fill it with the library's own weights.
        arguments: constructor arguments of an earlier build; None: to be found out.

    Returns:
        The network, and the library's constructor arguments with which it was built (JSON types only).

    Raises:
        ValueError: the library cannot build it so; the message says what the library said.
    """
    if library == "barlow":
        if weights:
            raise ValueError(f"pretrained: nobody publishes weights for {architecture} of width {width}")
        return BasicResNet(BASIC_RESNETS[architecture], width=width, in_channels=in_channels), {}
    try:
        if library == "timm":
            return _from_timm(architecture, in_channels, image_size, weights, arguments)
        return _from_torchvision(architecture, in_channels, image_size, weights, arguments)
    except Exception as error:  # a library may raise anything here, and the request has to change all the same
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        wish = f"for {in_channels} channels of {image_size} x {image_size} pixels"
        raise ValueError(f"backbone: cannot build {library}:{architecture} {wish}: {reason}") from error


def nearest(value: str, choices: Sequence[str]) -> str:
    """Return the end of an error message that offers the names most like `value`, empty where none is."""
    unique = sorted(set(choices))
    begun = [name for name in unique if value and name.startswith(value)]
    near = begun[:3] or get_close_matches(value, unique, n=3)
    return f"; did you mean {' or '.join(repr(name) for name in near)}?" if near else ""


def _from_timm(
    name: str, in_channels: int, image_size: int, weights: bool, arguments: dict[str, Any] | None
) -> tuple[nn.Module, dict[str, Any]]:
    plain: dict[str, Any] = {"in_chans": in_channels}
    attempts = [plain] if arguments is None else [arguments]
    config = timm.get_pretrained_cfg(name)
    if arguments is None and config is not None and config.fixed_input_size:
        sized = plain | {"img_size": image_size}
        # Position embeddings that follow the image let one network see crops of two sizes; not every one can.
        attempts = [sized | {"dynamic_img_size": True}, sized, plain]
    for given in attempts[:-1]:
        try:
            return timm.create_model(name, pretrained=weights, num_classes=0, **given), given
        except TypeError:  # an argument that this architecture does not have
            continue
    return timm.create_model(name, pretrained=weights, num_classes=0, **attempts[-1]), attempts[-1]


def _from_torchvision(
    name: str, in_channels: int, image_size: int, weights: bool, arguments: dict[str, Any] | None
) -> tuple[nn.Module, dict[str, Any]]:
    origin = torchvision.models.get_model_builder(name).__module__
    given = dict(TORCHVISION_ARGUMENTS.get(origin, {})) if arguments is None else arguments
    if arguments is None and origin == "torchvision.models.vision_transformer":
        given["image_size"] = image_size
    if arguments is None and origin == "torchvision.models.maxvit":
        given["input_size"] = [image_size, image_size]
    network = torchvision.models.get_model(name, weights="DEFAULT" if weights else None, **given)
    _remove_classifier(network)
    if in_channels != 3:
        replace_input_convolution(network, in_channels, adapt=weights)
    return network, given


def _remove_classifier(network: nn.Module) -> None:
    """Replace the last layer of the classifier, and dropout on the way to it, by the identity.

    Only the last: what stands before it (a norm in ConvNeXt, two layers in VGG) belongs to the features.
    """
    name = next(name for name in CLASSIFIERS if isinstance(getattr(network, name, None), nn.Module))
    inside = [(n, m) for n, m in network.named_modules() if n == name or n.startswith(f"{name}.")]
    last = [n for n, m in inside if isinstance(m, nn.Linear | nn.Conv2d)][-1]
    for n, m in inside:
        if n == last or isinstance(m, nn.Dropout):
            network.set_submodule(n, nn.Identity())
