"""Pretrain with a method of your own: the spectral contrastive loss (HaoChen et al. 2021, arXiv 2106.04156).

The rest is the library's: data, views, network, loop, resume, probe, page.  python examples/own_method.py runs/own
"""

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

import barlow


def spectral_contrastive_loss(z_a: Tensor, z_b: Tensor) -> barlow.Terms:
    """L = -2 mean_n <z_a[n], z_b[n]> + mean_{n != m} <z_a[n], z_b[m]>^2      (section 3.2, of one batch)."""
    products, n = z_a @ z_b.T, len(z_a)
    alignment = -2 * products.diagonal().mean()
    others = (products.square().sum() - products.diagonal().square().sum()) / (n * (n - 1))
    return barlow.Terms(alignment + others, {"alignment": alignment, "others": others})


class SpectralContrastive(barlow.Method):
    def __init__(self, backbone: nn.Module, head: barlow.HeadSpec, num_features: int, *, radius: float = 1.0) -> None:
        super().__init__(backbone, head.build(num_features))
        self.radius = radius

    def forward(self, views: Sequence[Any]) -> barlow.Terms:
        z_a, z_b = (self.radius * nn.functional.normalize(self.projector(self.represent(view))) for view in views)
        with torch.autocast(z_a.device.type, enabled=False):  # networks may run in bfloat16, losses should not
            return spectral_contrastive_loss(z_a.float(), z_b.float())


if __name__ == "__main__":
    run = barlow.pretrain("digits", method=SpectralContrastive, options={"radius": 3.0}, epochs=5, out=sys.argv[1])
    for row in run.summary["evaluation"]["rows"]:
        print(f"{row['features']:>10}: linear {row['linear']:.3f}, kNN {row['knn']:.3f}")
