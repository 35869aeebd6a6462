"""Classes whose best possible accuracy is known, for the tests of the probes."""

from math import erf, sqrt

import torch
from torch import Tensor

from barlow.evaluation.features import Features


def gaussian_classes(
    num_samples: int, num_features: int, num_classes: int, *, distance: float, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Unit Gaussians around means on the axes, `distance` apart from each other: features (n, d), labels (n,)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(num_classes, (num_samples,), generator=generator)
    means = distance / sqrt(2) * torch.eye(num_features)[:num_classes]
    return means[labels] + torch.randn(num_samples, num_features, generator=generator), labels


def bayes_accuracy_of_two_classes(distance: float) -> float:
    """Accuracy that nothing can exceed between two unit Gaussians `distance` apart: Phi(distance / 2)."""
    return 0.5 * (1.0 + erf(distance / 2 / sqrt(2)))


def as_features(h: Tensor, labels: Tensor | None) -> Features:
    """Features of samples 0, 1, 2, ..."""
    return Features(h, labels, torch.arange(len(h)))
