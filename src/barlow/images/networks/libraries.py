"""Networks by name out of timm, torchvision, `basic_resnet` and `unet`: without classifier, for any number of channels.

The entrance of a ResNet can be changed to the stem for small images.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import timm
import torchvision
from timm.models import adapt_input_conv
from torch import nn

from barlow.images.networks.basic_resnet import BASIC_RESNETS, PUBLISHED_WIDTH, BasicResNet
from barlow.images.networks.unet import UNETS, USUAL_WIDTH, UNetEncoder, is_unet

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
SMALL_IMAGE = 64
"""Largest side in pixels at which `stem="auto"` takes the small stem."""


def find_network(name: str, width: int) -> tuple[str, str]:
    """Find the library that has a network and the name there: "timm", "torchvision", "barlow" (`basic_resnet`, `unet`).

    `name` is "resnet50", "timm:resnet50" or "torchvision:resnet50"; timm's may carry a tag for weights. `width` is the
    channels of the first stage; another than 64 leads to `basic_resnet`. "unet:16" says its width itself. The error has
    the nearest names.
    """
    if name.partition(":")[0] in UNETS:
        return "barlow", _unet(name, width)
    prefix, _, rest = name.rpartition(":")
    if not prefix and rest in BASIC_RESNETS and (width != PUBLISHED_WIDTH or not timm.is_model(rest)):
        return "barlow", rest
    timms, ours = timm.list_models(), torchvision.models.list_models(module=torchvision.models)
    of_timm = prefix in ("", "timm") and timm.is_model(rest.split(".")[0])
    if of_timm or (prefix in ("", "torchvision") and rest in ours):
        if width != PUBLISHED_WIDTH:
            raise ValueError(
                f"width: got {width} for {name!r}, wanted {PUBLISHED_WIDTH}: only {', '.join(BASIC_RESNETS)}, written "
                "without a library, have another width"
            )
        return "timm" if of_timm else "torchvision", rest
    known = {
        "": [*architectures("barlow"), *timms, *ours],
        "timm": [*timms, *(f"torchvision:{other}" for other in ours)],
        "torchvision": [*ours, *(f"timm:{other}" for other in timms)],
    }
    if prefix not in known:
        raise ValueError(f"backbone: got {name!r}, wanted a network of timm: or torchvision:, not of {prefix}:")
    missing = f"{prefix} does not have" if prefix else "neither timm nor torchvision has"
    raise ValueError(f"backbone: got {name!r}, which {missing}{_nearest(rest, known[prefix])}")


def _unet(name: str, width: int) -> str:
    """Return the name of a U-Net, which has its width."""
    kind, _, digits = name.partition(":")
    if not digits or width != PUBLISHED_WIDTH or not is_unet(name):
        meant = digits if is_unet(name) else width if width != PUBLISHED_WIDTH else USUAL_WIDTH
        beside = f" with width {width}" if width != PUBLISHED_WIDTH else ""
        raise ValueError(f"backbone: got {name!r}{beside}, wanted the width behind the name: {kind}:{meant}")
    return name


def architectures(library: str) -> Sequence[str]:
    """Return the networks that a library builds by name, without tags for weights."""
    if library == "barlow":
        return [*BASIC_RESNETS, *(f"{kind}:{USUAL_WIDTH}" for kind in UNETS)]
    return timm.list_models() if library == "timm" else torchvision.models.list_models(module=torchvision.models)


def _nearest(name: str, known: Sequence[str]) -> str:
    """Return the end of an error message that offers up to three names, those with the same beginning first."""
    unique = sorted(set(known))
    begun = [other for other in unique if name and other.startswith(name)]
    near = begun[:3] or get_close_matches(name, unique, n=3)
    return f"; did you mean {' or '.join(repr(other) for other in near)}?" if near else ""


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
    """Build a network that `find_network` found, without its classifier.

    Also returns the library's constructor arguments with which it was built (JSON types only); `arguments` are those of
    an earlier build, None: to be found out. `image_size`, in pixels, is used by transformers with a fixed size, and
    `weights` fills the network with the library's own. An error repeats what the library said.
    """
    if library == "barlow":
        if weights:
            raise ValueError(
                f"pretrained: got 'default', wanted '' or a file: nobody publishes weights for {architecture} of "
                f"width {width}"
            )
        if is_unet(architecture):
            return UNetEncoder(architecture, in_channels=in_channels), {}
        return BasicResNet(BASIC_RESNETS[architecture], width=width, in_channels=in_channels), {}
    try:
        if library == "timm":
            return _from_timm(architecture, in_channels, image_size, weights, arguments)
        return _from_torchvision(architecture, in_channels, image_size, weights, arguments)
    except Exception as error:  # a library may raise anything, and every time other arguments are wanted
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        purpose = f"for {in_channels} channels of {image_size} x {image_size} pixels"
        raise ValueError(f"backbone: cannot build {library}:{architecture} {purpose}: {reason}") from error


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
    for attempt in attempts[:-1]:
        try:
            return timm.create_model(name, pretrained=weights, num_classes=0, **attempt), attempt
        except TypeError:  # an argument that this architecture does not have
            continue
    return timm.create_model(name, pretrained=weights, num_classes=0, **attempts[-1]), attempts[-1]


def _from_torchvision(
    name: str, in_channels: int, image_size: int, weights: bool, arguments: dict[str, Any] | None
) -> tuple[nn.Module, dict[str, Any]]:
    origin = torchvision.models.get_model_builder(name).__module__
    options = dict(TORCHVISION_ARGUMENTS.get(origin, {})) if arguments is None else arguments
    if arguments is None and origin == "torchvision.models.vision_transformer":
        options["image_size"] = image_size
    if arguments is None and origin == "torchvision.models.maxvit":
        options["input_size"] = [image_size, image_size]
    network = torchvision.models.get_model(name, weights="DEFAULT" if weights else None, **options)
    _remove_classifier(network)
    if in_channels != 3:
        _replace_input_convolution(network, in_channels, adapt=weights)
    return network, options


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


def _replace_input_convolution(network: nn.Module, in_channels: int, *, adapt: bool) -> None:
    """Make a torchvision network read `in_channels` channels, by its first registered convolution.

    `adapt` carries the weights over as timm does: their sum for one channel; repeated and scaled by 3 / `in_channels`
    for more, so that a grey image gives what its RGB copy gave. Otherwise new ones of the same deviation are drawn.
    """
    name, old = next(((n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d)), ("", None))
    if old is None:
        raise ValueError(
            f"in_channels: {type(network).__name__} has no convolution to read {in_channels} channels with"
        )
    new = nn.Conv2d(
        in_channels,
        old.out_channels,
        kernel_size=(old.kernel_size[0], old.kernel_size[1]),
        stride=(old.stride[0], old.stride[1]),
        padding=old.padding if isinstance(old.padding, str) else (old.padding[0], old.padding[1]),
        bias=old.bias is not None,
    )
    if adapt:
        new.weight.data = adapt_input_conv(in_channels, old.weight.data)
    else:
        nn.init.normal_(new.weight, std=old.weight.std().item())
    if old.bias is not None:
        new.bias = old.bias
    network.set_submodule(name, new)


def has_resnet_stem(network: nn.Module) -> bool:
    """Tell whether a network starts as a ResNet does: one convolution `conv1`, later a `maxpool`."""
    return _resnet_stem(network) is not None


def use_small_stem(network: nn.Module) -> None:
    """Give a ResNet a new 3x3 convolution of stride 1 and no pooling, so that small images keep their size.

    Source: Chen et al. 2020 (SimCLR), appendix B.9: the stem for CIFAR.
    """
    old = _resnet_stem(network)
    if old is None:
        raise ValueError(
            f"stem: got 'small', wanted 'auto' or 'imagenet' for {type(network).__name__}: only a ResNet such as "
            "resnet18, with one convolution `conv1` and a `maxpool`, has a small stem"
        )
    conv = nn.Conv2d(old.in_channels, old.out_channels, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    network.set_submodule("conv1", conv)
    network.set_submodule("maxpool", nn.Identity())


def _resnet_stem(network: nn.Module) -> nn.Conv2d | None:
    conv, pool = getattr(network, "conv1", None), getattr(network, "maxpool", None)
    return conv if isinstance(conv, nn.Conv2d) and isinstance(pool, nn.Module) else None
