"""Embeddings of views as VICRegL's loss takes them, and the names and weights of its terms."""

import torch
from torch import Tensor

from barlow.methods.vicregl import Embeddings

WEIGHTS = {"invariance_weight": 3.0, "variance_weight": 2.0, "covariance_weight": 0.7}

PARTS = [f"{scope}_{term}" for scope in ("global", "local") for term in ("invariance", "variance", "covariance")]

SHARDS = (3, 5)


def some_views(n: int, sizes: tuple[int, ...] = (4, 4), *, seed: int = 0) -> list[Embeddings]:
    """Float64 embeddings of views with so many positions each, correlated, with places anywhere."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    shared, mix = draw(n, 3), draw(3, 3)
    views = []
    for p in sizes:
        whole = 0.5 * (shared + 0.3 * draw(n, 3)) @ mix
        positions = 0.5 * (shared[:, None] + draw(n, p, 3)) @ mix
        views.append(Embeddings(whole.requires_grad_(), positions.requires_grad_(), draw(n, p, 2)))
    return views


def leaves(views: list[Embeddings]) -> list[Tensor]:
    return [tensor for view in views for tensor in (view.whole, view.positions)]
