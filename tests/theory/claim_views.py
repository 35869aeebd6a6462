"""What the tests of the paper's claims are shown on: digits with all their views, and a network nobody trained."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from barlow.theory.moments import Covariances, population_covariances

IMAGES, WIDTH = 120, 16


def digit_views(num_images: int = IMAGES) -> Tensor:
    """(n, 9, 100) digits of 8 x 8 pixels at all 9 places of a picture of 10 x 10: T has 9 augmentations."""
    images = torch.from_numpy(load_digits().images[:num_images]) / 16.0
    places = [(i, 2 - i, j, 2 - j) for i in range(3) for j in range(3)]
    return torch.stack([torch.nn.functional.pad(images, place).flatten(1) for place in places], dim=1)


def weights(*shape: int, seed: int = 0) -> Tensor:
    """Gaussian numbers divided by the root of the number of rows."""
    random: Tensor = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return random.div_(shape[0] ** 0.5)


def random_backbone(views: Tensor, width: int = WIDTH, seed: int = 0) -> Tensor:
    """(n, k, width) features of a network with one hidden layer and random weights."""
    hidden = torch.tanh(2.0 * views @ weights(views.shape[-1], 40, seed=seed))
    return torch.tanh(hidden @ weights(40, width, seed=seed + 1))


def population(h: Tensor) -> Covariances:
    """m, B and W of enumerated views."""
    return population_covariances(h)


def share(h: Tensor) -> float:
    """Share of augmentation in the variance of enumerated views: tr W / tr T."""
    found = population(h)
    return float(found.within.trace() / found.total.trace())


def all_pairs(z: Tensor) -> tuple[Tensor, Tensor]:
    """The n k^2 rows of all ordered pairs of views: the loss of this "batch" is the complete loss."""
    k = z.shape[1]
    return z[:, :, None].expand(-1, -1, k, -1).flatten(0, 2), z[:, None].expand(-1, k, -1, -1).flatten(0, 2)
