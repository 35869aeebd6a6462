"""ResNets of basic blocks at any width: resnet10, resnet18 and resnet34 with a quarter or twice the channels.

Neither library offers a narrow ResNet, stem included: both fix the stem at 64 channels. Parameters are named
as in torchvision and timm, so at width 64 their weights load.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init
from torchvision.models.resnet import BasicBlock

from barlow.networks.small_map import SmallMapConv2d

BASIC_RESNETS: dict[str, tuple[int, int, int, int]] = {
    "resnet10": (1, 1, 1, 1),
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
}
"""Basic blocks per stage. Source: He et al. 2016, table 1; resnet10 is the usual half of resnet18."""
PUBLISHED_WIDTH = 64
"""Channels of the stem and the first stage (He et al. 2016, table 1)."""
ONEDNN_BLOCK = 16
"""Channels that oneDNN handles at once; below it, see `SubsampledPointwise`."""


class BasicResNet(nn.Module):
    """ResNet of basic blocks with `width`, 2 `width`, 4 `width` and 8 `width` channels, and no classifier."""

    def __init__(self, depths: Sequence[int], *, width: int, in_channels: int = 3) -> None:
        """Build the network with the published initialisation.

        Args:
            depths: number of basic blocks of each of the four stages.
            width: channels of the stem and of the first stage.
            in_channels: channels of the images.
        """
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = _stage(width, width, depths[0], stride=1)
        self.layer2 = _stage(width, 2 * width, depths[1], stride=2)
        self.layer3 = _stage(2 * width, 4 * width, depths[2], stride=2)
        self.layer4 = _stage(4 * width, 8 * width, depths[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of a batch: (N, C, H, W) -> (N, 8 width)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        features: Tensor = self.avgpool(x).flatten(1)
        return features


class SubsampledPointwise(nn.Conv2d):
    """A strided 1 x 1 convolution that drops the unused pixels first; the same numbers as `nn.Conv2d`.

    oneDNN (the CPU convolutions of torch) writes past the end of its buffer in the gradient of a strided 1 x 1
    convolution with fewer than 16 channels in channels_last: wrong weights, or a crash some steps later
    (uxlfoundation/oneDNN issue 6035, open in torch 2.15). Without a stride that code is never reached.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Return the convolution: (N, C, H, W) -> (N, C', ceil(H / stride), ceil(W / stride))."""
        down, across = self.stride
        return functional.conv2d(images[:, :, ::down, ::across], self.weight, self.bias)


def _stage(inputs: int, outputs: int, depth: int, stride: int) -> nn.Sequential:
    shortcut = None
    if stride != 1 or inputs != outputs:
        pointwise = nn.Conv2d if inputs >= ONEDNN_BLOCK else SubsampledPointwise
        shortcut = nn.Sequential(pointwise(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    first = _block(inputs, outputs, stride, shortcut)
    return nn.Sequential(first, *(_block(outputs, outputs, 1, None) for _ in range(depth - 1)))


def _block(inputs: int, outputs: int, stride: int, shortcut: nn.Module | None) -> BasicBlock:
    """Return torchvision's block with convolutions that are fast on maps of one or two pixels."""
    block = BasicBlock(inputs, outputs, stride, shortcut)
    # Not initialised twice, so that a seed gives the weights that it always gave; `_initialise` fills them.
    block.conv1 = skip_init(SmallMapConv2d, inputs, outputs, stride)
    block.conv2 = skip_init(SmallMapConv2d, outputs, outputs)
    return block


def _initialise(module: nn.Module) -> None:
    """Draw convolutions by Kaiming's fan-out rule; start each residual branch at zero.

    Source: official Barlow Twins code (zero_init_residual=True); Goyal et al. 2017 (arXiv:1706.02677), 5.1.
    """
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, BasicBlock):
        nn.init.zeros_(module.bn2.weight)
