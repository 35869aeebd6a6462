"""SwAV with a backbone of one layer, and views of two sizes for it."""

import torch
from torch import Tensor, nn

from barlow.methods.heads import HeadSpec
from barlow.methods.swav import SwAV, swav


class Counting(nn.Module):
    """A backbone for pictures of any size that notes the batches it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 8)
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.shapes.append(tuple(x.shape))
        features: Tensor = self.linear(x.mean(dim=(2, 3)))
        return features


def method_of(**options: float) -> SwAV:
    torch.manual_seed(0)
    options = {"num_prototypes": 10, "freeze_prototypes": 0.0} | options
    return swav(Counting(), HeadSpec("16-6"), 8, **options)  # type: ignore[arg-type]


def views_of(n: int = 8, *, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, 3, side, side, generator=generator) for side in (8, 8, 4, 4, 4)]
