"""U-Nets: an encoder that halves four times, which is a backbone, and what it is made of, which a decoder takes too.

`unet:16` is the network of BT-Unet: separable convolutions with a shortcut; `unet-plain:16` has plain convolutions, as
the first U-Net. The number is the channels of the first level; each further one has twice as many.

Sources: Ronneberger et al. 2015 (arXiv 1505.04597), figure 1; Punn & Agarwal 2022 (arXiv 2112.03916) and its code.
"""

import re
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

UNETS = ("unet", "unet-plain")
"""What the name of a U-Net begins with."""
USUAL_WIDTH = 16
"""Channels of the first level in BT-Unet."""
LEVELS = 4
"""How often an encoder halves its maps."""
DROPOUT = 0.1
"""Share of the values that a block of BT-Unet drops while it is trained."""


class SeparableConv(nn.Sequential):
    """A 3 x 3 convolution of each channel by itself, then a 1 x 1 convolution over all of them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False), nn.Conv2d(inputs, outputs, 1)
        )


class ResidualBlock(nn.Module):
    """Two separable convolutions, each with BatchNorm and ReLU, and beside them a 1 x 1 convolution with BatchNorm."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            SeparableConv(inputs, outputs),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            SeparableConv(outputs, outputs),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Dropout(DROPOUT),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs))

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        """Return the sum of both ways: (N, C, H, W) -> (N, D, H, W)."""
        total: Tensor = self.branch(images) + self.shortcut(images)
        return total


class PlainBlock(nn.Sequential):
    """Two 3 x 3 convolutions, each with BatchNorm and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


Block = Callable[[int, int], nn.Module]
"""(channels in, channels out) -> a block that keeps height and width."""
BLOCKS: dict[str, Block] = {"unet": ResidualBlock, "unet-plain": PlainBlock}


class UNetEncoder(nn.Module):
    """The contracting half of a U-Net with the bottleneck: w, 2w, 4w, 8w channels, and 16w at a sixteenth of the side.

    As a backbone it gives the mean over the positions of the last map; `maps` gives all five, from fine to coarse,
    which is what the skip connections of a decoder take.
    """

    def __init__(self, name: str, *, in_channels: int = 3) -> None:
        """Build the encoder of "unet:16" or "unet-plain:16"."""
        super().__init__()
        kind, width = split_name(name)
        self.block = BLOCKS[kind]
        widths = [width * 2**level for level in range(LEVELS + 1)]
        inputs = [in_channels, *widths[:-1]]
        self.levels = nn.ModuleList(self.block(i, o) for i, o in zip(inputs, widths, strict=True))
        self.pool = nn.MaxPool2d(2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.apply(_initialise)

    def maps(self, images: Float[Tensor, "n c h w"]) -> list[Tensor]:
        """Return the maps of all levels, (N, w, H, W) to (N, 16 w, H / 16, W / 16); sides are multiples of 16."""
        found = [self.levels[0](images)]
        for level in list(self.levels)[1:]:
            found.append(level(self.pool(found[-1])))
        return found

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """Return the features of a batch: (N, C, H, W) -> (N, 16 w)."""
        features: Tensor = self.avgpool(self.maps(images)[-1]).flatten(1)
        return features


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def is_unet(name: str) -> bool:
    """Whether a name is that of a U-Net with its width."""
    return re.fullmatch(rf"({'|'.join(UNETS)}):[1-9]\d*", name) is not None


def split_name(name: str) -> tuple[str, int]:
    """Return kind and width of a U-Net: "unet:16" -> ("unet", 16)."""
    if not is_unet(name):
        raise ValueError(f"backbone: got {name!r}, wanted unet:{USUAL_WIDTH} or unet-plain:{USUAL_WIDTH}")
    kind, _, width = name.partition(":")
    return kind, int(width)
