"""From a backbone to a network that says something of every pixel: its maps, and a decoder with skips behind them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from barlow.images.networks.backbones import Backbone
from barlow.images.networks.unet import BLOCKS, Block, UNetEncoder

MOST_DECODER_CHANNELS = 128
"""Most channels of a level of the decoder: those of BT-Unet's first; smp's decoders have twice as many."""
LAST_CHANNELS = 16
"""Channels at full size where the encoder has no map of it."""
TRIED_SIDE = 64
"""Side of the picture from which the maps of a network are told."""
RESNET_STAGES = ("conv1", "bn1", "maxpool", "layer1", "layer2", "layer3", "layer4")


class Encoder(nn.Module):
    """A backbone as an encoder: the maps of its levels, one per size, from fine to coarse.

    Attributes:
        network: the backbone's own network, shared with it.
        channels: of each map.
        strides: how many pixels of the image one position of each map stands for.
    """

    def __init__(self, backbone: nn.Module, in_channels: int) -> None:
        """Find out how the maps of a backbone are had; ValueError where it has none of two sizes."""
        super().__init__()
        self.network = backbone.network if isinstance(backbone, Backbone) else backbone
        self._maps = maps_of(self.network)
        modes = [(part, part.training) for part in self.network.modules()]
        self.network.eval()  # so that statistics stay what they are
        with torch.no_grad():
            device = next((one.device for one in self.network.parameters()), torch.device("cpu"))
            found = self._maps(torch.zeros(2, in_channels, TRIED_SIDE, TRIED_SIDE, device=device))
        for part, training in modes:
            part.training = training
        sides = [one.shape[-1] for one in found]
        # Of several maps of one size the last one has been worked on most.
        self._kept = [place for place, side in enumerate(sides) if side not in sides[place + 1 :]]
        self.channels = tuple(found[place].shape[1] for place in self._kept)
        self.strides = tuple(TRIED_SIDE // sides[place] for place in self._kept)
        if len(self._kept) < 2:
            raise ValueError(
                f"backbone: {type(self.network).__name__} has maps of one size only, wanted a network that shrinks "
                "them from level to level: unet:16, or a ResNet, ConvNeXt or another one of timm's that does"
            )

    def forward(self, images: Float[Tensor, "n c h w"]) -> list[Tensor]:
        """Return the maps, (N, channels[i], about H / strides[i], about W / strides[i])."""
        found = self._maps(images)
        return [found[place] for place in self._kept]


def maps_of(network: nn.Module) -> Callable[[Tensor], list[Tensor]]:
    """Return images -> maps of a network, in the order in which it makes them.

    A network of one's own has them as a function `maps`, timm's as `forward_intermediates`; the stages of ResNets are
    known by their names.
    """
    if callable(own := getattr(network, "maps", None)):
        return lambda images: list(own(images))
    if all(hasattr(network, name) for name in RESNET_STAGES):
        return lambda images: _resnet_maps(network, images)
    if callable(theirs := getattr(network, "forward_intermediates", None)):
        return lambda images: list(theirs(images, intermediates_only=True))
    raise ValueError(
        f"backbone: the maps of {type(network).__name__} are not known; wanted unet:16, a ResNet, a network of timm's, "
        "or one of your own with a function maps(images) -> list of (N, C, H, W), from fine to coarse"
    )


def _resnet_maps(network: Any, images: Tensor) -> list[Tensor]:
    act = network.act1 if hasattr(network, "act1") else network.relu
    found = [act(network.bn1(network.conv1(images)))]
    x = network.maxpool(found[0])
    for name in RESNET_STAGES[3:]:
        x = getattr(network, name)(x)
        found.append(x)
    return found


class Decoder(nn.Module):
    """From coarse to fine: twice the size, the map of the encoder beside it, a block; then a 1 x 1 convolution."""

    def __init__(self, channels: Sequence[int], strides: Sequence[int], num_outputs: int, block: Block) -> None:
        """Build the decoder for maps of these channels and strides, from fine to coarse."""
        super().__init__()
        blocks, width = [], channels[-1]
        for skip in reversed(channels[:-1]):
            narrower = min(skip, MOST_DECODER_CHANNELS)
            blocks.append(block(width + skip, narrower))
            width = narrower
        self.blocks = nn.ModuleList(blocks)
        self.last = block(width, LAST_CHANNELS) if strides[0] > 1 else None
        self.head = nn.Conv2d(LAST_CHANNELS if self.last is not None else width, num_outputs, 1)

    def forward(self, maps: Sequence[Tensor], size: Sequence[int]) -> Float[Tensor, "n k h w"]:
        """Return the scores of every pixel of images of a size."""
        x = maps[-1]
        for block, skip in zip(self.blocks, reversed(maps[:-1]), strict=True):
            x = functional.interpolate(x, size=list(skip.shape[-2:]), mode="nearest")
            x = block(torch.cat([x, skip], 1))
        if self.last is not None:
            x = self.last(functional.interpolate(x, size=list(size), mode="nearest"))
        scores: Tensor = self.head(x)
        return scores


class Segmenter(nn.Module):
    """Encoder and decoder: normalised images -> scores of every pixel.

    One output for two classes, the log odds of the second; else one for each class.
    """

    def __init__(self, backbone: nn.Module, num_classes: int, *, in_channels: int) -> None:
        """Put a fresh decoder, drawn from torch's generator, behind a backbone, which is shared, not copied."""
        super().__init__()
        self.encoder = Encoder(backbone, in_channels)
        network = self.encoder.network
        block = network.block if isinstance(network, UNetEncoder) else BLOCKS["unet-plain"]
        outputs = 1 if num_classes == 2 else num_classes
        self.decoder = Decoder(self.encoder.channels, self.encoder.strides, outputs, block)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Return the scores: (N, C, H, W) -> (N, 1 or K, H, W), for any size of at least 16 pixels."""
        scores: Tensor = self.decoder(self.encoder(images), images.shape[-2:])
        return scores
