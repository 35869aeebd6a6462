"""What is changed at the entrance of a network: the small-image stem of ResNets, and the input channels."""

from timm.models import adapt_input_conv
from torch import nn

SMALL_IMAGE = 64
"""Largest side in pixels at which `stem="auto"` takes the small stem."""


def has_resnet_stem(network: nn.Module) -> bool:
    """Tell whether a network starts as a ResNet does: one convolution `conv1`, later a `maxpool`."""
    return _resnet_stem(network) is not None


def use_small_stem(network: nn.Module) -> None:
    """Give a ResNet a 3x3 convolution of stride 1 and no pooling, so that small images keep their size.

    Args:
        network: a ResNet of any library; changed in place, the new layer drawn afresh.

    Raises:
        ValueError: the network has no such stem.

    Source:
        Chen et al. 2020 (SimCLR), appendix B.9: the stem for CIFAR.
    """
    old = _resnet_stem(network)
    if old is None:
        raise ValueError(
            f"stem: 'small' needs a ResNet with one convolution `conv1` and a `maxpool`, which "
            f"{type(network).__name__} has not; wanted: 'auto' or 'imagenet', or a ResNet such as resnet18"
        )
    conv = nn.Conv2d(old.in_channels, old.out_channels, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    network.set_submodule("conv1", conv)
    network.set_submodule("maxpool", nn.Identity())


def replace_input_convolution(network: nn.Module, in_channels: int, *, adapt: bool) -> None:
    """Make a torchvision network read `in_channels` channels instead of three.

    Args:
        network: changed in place; its first registered convolution is the one that reads the image.
        in_channels: channels of the images.
        adapt: carry the weights over as timm does: their sum for one channel; repeated and scaled by
            3 / `in_channels` for more, so that a grey picture gives what its RGB copy gave. Otherwise draw
            new ones of the same spread.

    Raises:
        ValueError: the network has no convolution.
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


def _resnet_stem(network: nn.Module) -> nn.Conv2d | None:
    conv, pool = getattr(network, "conv1", None), getattr(network, "maxpool", None)
    return conv if isinstance(conv, nn.Conv2d) and isinstance(pool, nn.Module) else None
