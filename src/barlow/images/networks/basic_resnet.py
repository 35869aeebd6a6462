"""ResNets of basic blocks at any width: resnet10, resnet18 and resnet34 with a quarter or twice the channels.

Neither library offers a narrow ResNet, stem included: both fix the stem at 64 channels. Parameters are named as in
torchvision and timm, so at width 64 their weights load.

Two of their convolutions avoid faults of oneDNN, torch's convolutions on CPUs, and compute the same numbers otherwise:
strided 1 x 1 convolutions of few channels, and 3 x 3 convolutions on maps of at most 2 x 2 pixels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init
from torchvision.models.resnet import BasicBlock

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
SMALL_MAP = 2
"""Side of the largest map of which every pixel meets every output: beyond it a product would multiply by zeros."""


class BasicResNet(nn.Module):
    """ResNet of basic blocks with `width`, 2 `width`, 4 `width` and 8 `width` channels, and no classifier."""

    def __init__(self, depths: Sequence[int], *, width: int, in_channels: int = 3) -> None:
        """Build the network, `depths` basic blocks in its four stages, with the published initialisation."""
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


class SmallMapConv2d(nn.Conv2d):
    """The 3 x 3 convolution of ResNets (padding 1, no bias), a matrix product on maps of at most 2 x 2 pixels.

    Deep stages see such maps of small images. There oneDNN is slow in the gradient of the weights (512 to 512 channels
    on one pixel, batch 128, float32: 107 ms for forward and backward, 4 ms as a product), and in bf16 with stride 2 on
    a single pixel it returns NaN or garbage (torch 2.15). The matrix holds, for each output pixel, the part of the
    kernel that lies on the map. The same numbers to rounding, and the same parameters by name and shape.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, *, device: torch.device | str | None = None) -> None:
        super().__init__(inputs, outputs, 3, stride, padding=1, bias=False, device=device)

    def forward(self, images: Tensor) -> Tensor:
        """Return the convolution: (N, C, H, W) -> (N, C', ceil(H / stride), ceil(W / stride))."""
        height, width = images.shape[-2:]
        if max(height, width) > SMALL_MAP:
            return super().forward(images)
        kernel = self.weight.permute(0, 2, 3, 1)  # channels last, as the pixels below: no copy in that layout
        tops, lefts = (range(0, size, self.stride[0]) for size in (height, width))
        on_the_map = [kernel[:, 1 - y : 1 - y + height, 1 - x : 1 - x + width] for y in tops for x in lefts]
        matrix = torch.stack(on_the_map).reshape(-1, height * width * self.in_channels)
        outputs = functional.linear(images.permute(0, 2, 3, 1).flatten(1), matrix)
        return outputs.view(-1, len(tops), len(lefts), self.out_channels).permute(0, 3, 1, 2)


def single_pixel_convolutions(backbone: nn.Module, example: Tensor) -> list[str]:
    """Return the names of the strided convolutions, larger than 1 x 1, that see maps of a single pixel of `example`."""
    found: list[str] = []
    hooks = []
    for name, part in backbone.named_modules():
        strided = isinstance(part, nn.Conv2d) and max(part.stride) > 1 and max(part.kernel_size) > 1
        if strided and not isinstance(part, SmallMapConv2d):

            def look(_: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
                if inputs[0].shape[-2:] == (1, 1):
                    found.append(name)

            hooks.append(part.register_forward_pre_hook(look))
    training = backbone.training
    try:
        with torch.no_grad():
            backbone.eval()(example)
    finally:
        backbone.train(training)
        for hook in hooks:
            hook.remove()
    return found
