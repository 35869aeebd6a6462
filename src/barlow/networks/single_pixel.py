"""Strided convolutions that see a single pixel: wrong gradients in bf16 on CPUs, and how to do without.

oneDNN's bf16 gradient of the weights of a 3 x 3 convolution with stride 2 on 1 x 1 maps is NaN or garbage (torch
2.15; in float32, and on two pixels or more, it is right). Of such a kernel only the centre touches the pixel.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class CentreTapConv2d(nn.Conv2d):
    """A convolution that on 1 x 1 maps multiplies by the centre of its kernel only: the same numbers.

    The kernel is odd and the padding half of it, as in every ResNet.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Return the convolution: (N, C, H, W) -> (N, C', ceil(H / stride), ceil(W / stride))."""
        if images.shape[-2:] != (1, 1):
            return super().forward(images)
        down, across = (size // 2 for size in self.kernel_size)
        centre = self.weight[:, :, down : down + 1, across : across + 1]
        return functional.conv2d(images, centre, self.bias, groups=self.groups)


def single_pixel_convolutions(backbone: nn.Module, example: Tensor) -> list[str]:
    """Return the names of the strided convolutions, larger than 1 x 1, that see maps of a single pixel.

    Args:
        backbone: any network.
        example: a batch as it will see it.
    """
    found: list[str] = []
    hooks = []
    for name, part in backbone.named_modules():
        strided = isinstance(part, nn.Conv2d) and max(part.stride) > 1 and max(part.kernel_size) > 1
        if strided and not isinstance(part, CentreTapConv2d):

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
