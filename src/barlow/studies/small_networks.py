"""The networks of the small studies: no BatchNorm but where it is the question, and no weight decay.

    backbone     four 3 x 3 convolutions, the last one linear, averaged to 2 x 2: d = 64
    projectors   linear; an MLP with and without BatchNorm inside
    scale        z is multiplied by one constant, found once before training, so that its mean variance is 1: the raw
                 loss depends on the scale of z, and without this its learning rates mean something else

A BatchNorm inside a network normalises on the quiet, which is what the studies are about; hence none in the backbone.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.networks.heads import projector

NUM_FEATURES = 64
"""d of the backbone: 16 channels on 2 x 2 places."""
LARGE_SIDE = 16
"""From this side on the first convolution skips every second pixel, for time."""


class Scaled(nn.Module):
    """z = s p(h), with a constant s.

    Args:
        head: p.
    """

    scale: Tensor

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head
        self.register_buffer("scale", torch.ones(()))

    def forward(self, h: Float[Tensor, "n d"]) -> Float[Tensor, "n p"]:
        """Return z."""
        z: Tensor = self.head(h) * self.scale
        return z

    @torch.no_grad()
    def match(self, h: Float[Tensor, "n d"]) -> None:
        """Choose s such that the mean variance of z over these features is 1.

        Args:
            h: features as training begins.

        Raises:
            ValueError: embeddings without variance.
        """
        variance = float(self.head(h).var(dim=0, unbiased=False).mean())
        if not (math.isfinite(variance) and variance > 0):
            raise ValueError(f"h: got embeddings of variance {variance}, wanted a positive one")
        self.scale.fill_(variance**-0.5)


def small_backbone(channels: int, side: int, seed: int) -> nn.Module:
    """Return an untrained convolutional network without normalisation, images -> (N, 64).

    Args:
        channels: of the images.
        side: of the images in pixels.
        seed: of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first = nn.Conv2d(channels, 32, 3, stride=2 if side >= LARGE_SIDE else 1, padding=1)
        convolutions = [
            first,
            nn.Conv2d(32, 32, 3, stride=2, padding=1),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.Conv2d(64, NUM_FEATURES // 4, 3, padding=1),
        ]
        layers: list[nn.Module] = []
        for convolution in convolutions:
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            layers += [convolution, nn.ReLU()]
        backbone = nn.Sequential(*layers[:-1], nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return backbone.to(memory_format=torch.channels_last)  # three quarters of the time per step on a CPU


def small_projector(widths: str, norm: str, seed: int) -> Scaled:
    """Return an untrained projector on the 64 features of `small_backbone`.

    Args:
        widths: as `barlow.networks.heads.projector` reads them: "linear-32", "128-32".
        norm: "none" or "batch".
        seed: of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Scaled(projector(widths, NUM_FEATURES, norm=norm, bias=True))
