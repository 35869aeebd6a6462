"""Random signs measure what chance reaches on the images at hand, also where Wachter's formula is far too low."""

import pytest
import torch

from barlow.theory.intraclass import intraclass_correlations, wachter_edge
from barlow.theory.moments import Moments
from barlow.theory.null_edge import SignFlips, edge_of

N, K, D = 500, 4, 32
BASIS = torch.eye(D).double()


def noise(seed: int, loud: float, mean: float = 0.0) -> torch.Tensor:
    """Pure augmentation; a tenth of the images is `loud` times as noisy as the others."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.where(torch.rand(N, 1, 1, generator=generator) < 0.1, loud, 1.0)
    return mean + scale * torch.randn(N, K, D, generator=generator)


def edges(h: torch.Tensor) -> tuple[float, float, float]:
    """Largest correlation, the edge of random signs, and Wachter's."""
    moments, flips = Moments(D), SignFlips(D)
    moments.add(h)
    flips.add(h)
    c = moments.covariances()
    largest = float(intraclass_correlations(c.between, c.total).correlations[0])
    return largest, edge_of(flips.largest(BASIS)), wachter_edge(D, N, K)


def test_equal_noise_has_wachters_edge() -> None:
    _, found, formula = edges(noise(0, 1.0))
    assert found == pytest.approx(formula, rel=0.15)


def test_uneven_noise_stays_below_its_edge_and_goes_far_above_wachters() -> None:
    above, beyond = 0, 0
    for seed in range(6):
        largest, found, formula = edges(noise(seed, 9.0, mean=3.0))
        above += largest > found
        beyond += largest > 1.5 * formula
    assert (above <= 1, beyond) == (True, 6)


def test_an_image_in_the_features_stays_above_the_edge() -> None:
    h = noise(0, 3.0)
    h[:, :, 0] += 4.0 * torch.randn(N, 1, generator=torch.Generator().manual_seed(9))
    largest, found, _ = edges(h)
    assert largest > found


def test_one_draw_is_no_edge() -> None:
    with pytest.raises(ValueError, match="num_draws: got 1, wanted at least 2"):
        SignFlips(4, num_draws=1)
