"""The last feature map of a convolutional network, taken from the forward pass that also gives h.

The map is what the last global average pooling is given. So h is exactly what the network returns, whatever stands
behind the pooling, and networks of timm, of torchvision, our own and a user's are read in the same way.
"""

from typing import Any

from jaxtyping import Float
from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d
from torch import Tensor, nn

POOLINGS = (nn.AdaptiveAvgPool2d, SelectAdaptivePool2d)
"""Global poolings; timm's networks have the second, ours and torchvision's the first."""


def with_feature_map(
    backbone: nn.Module, images: Float[Tensor, "n c h w"]
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d h2 w2"]]:
    """Return h (N, d) = f(images) and the map (N, d, H', W') that it is the mean of, from one forward pass.

    ValueError: the backbone does not end with a global pooling of a map of d channels; the message says what came.
    """
    pooling = final_pooling(backbone)
    caught: list[Any] = []
    handle = pooling.register_forward_pre_hook(lambda _, arguments: caught.append(arguments[0]))
    try:
        h: Tensor = backbone(images)
    finally:
        handle.remove()
    if len(caught) != 1:
        raise ValueError(f"backbone: its last pooling ran {len(caught)} times in a forward pass; wanted: once")
    (feature_map,) = caught
    if h.ndim != 2 or feature_map.ndim != 4 or feature_map.shape[:2] != h.shape:
        raise ValueError(
            f"backbone: features of shape {tuple(h.shape)} from a map of shape {tuple(feature_map.shape)}; wanted: "
            "(N, d) from (N, d, H', W'), as ResNet, ConvNeXt and their kin have it"
        )
    return h, feature_map


def final_pooling(backbone: nn.Module) -> nn.Module:
    """Return the global pooling that stands last in a network.

    Parts are looked through in the order in which they were registered, which also passes by the poolings inside
    squeeze-and-excitation blocks. ValueError: transformers and networks that pool by a function have none.
    """
    last: tuple[str, nn.Module] | None = None
    for name, part in backbone.named_modules():
        inside_last = last is not None and name.startswith(f"{last[0]}.")  # timm's pooling holds another one
        if isinstance(part, POOLINGS) and _is_global(part) and not inside_last:
            last = (name, part)
    if last is None:
        raise ValueError(
            f"backbone: {type(backbone).__name__} has no global average pooling module, before which its feature "
            "map could be read; wanted: a ResNet, ConvNeXt or another convolutional network with one"
        )
    return last[1]


def _is_global(pooling: nn.Module) -> bool:
    return isinstance(pooling, SelectAdaptivePool2d) or pooling.output_size in (1, (1, 1), [1, 1])
