"""Views of made-up images for the tests of theory, and comparison of what comes of their sums."""

import torch
from torch import Tensor

from barlow.theory.moments import Covariances, Moments

D = 4


def views(n: int, k: int, seed: int = 0, offset: float = 3.0) -> Tensor:
    """Correlated float32 features with an image part and a view part, away from the origin."""
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(D, D, generator=g)
    image, view = torch.randn(n, 1, D, generator=g), torch.randn(n, k, D, generator=g)
    return (image @ mix + 0.7 * view) + offset


def summed(*calls: Tensor, num_blocks: int = 5) -> Moments:
    moments = Moments(D, num_blocks=num_blocks)
    for h in calls:
        moments.add(h)
    return moments


def assert_same(found: Covariances, wanted: Covariances, rel: float = 1e-12) -> None:
    scale = float(wanted.total.diagonal().max())
    for name in ("mean", "between", "within"):
        error = float((getattr(found, name) - getattr(wanted, name)).abs().max())
        assert error <= rel * scale, f"{name}: {error}"
    assert (found.num_images, found.num_views) == (wanted.num_images, wanted.num_views)
