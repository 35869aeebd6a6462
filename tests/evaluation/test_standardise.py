"""Standardisation: training statistics only, and constant features do no harm."""

import pytest
import torch

from barlow.evaluation.standardise import fit_standardiser
from tests.evaluation.gaussians import gaussian_classes


def test_training_features_get_mean_zero_and_spread_one() -> None:
    h = 5.0 + 3.0 * gaussian_classes(20_000, 4, 2, distance=1.0)[0]
    standard = fit_standardiser(h)(h)
    torch.testing.assert_close(standard.mean(dim=0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(standard.std(dim=0, correction=0), torch.ones(4))


def test_test_features_are_measured_by_training_statistics() -> None:
    train = torch.tensor([[1.0], [3.0]])  # mean 2, spread 1
    test = torch.tensor([[10.0], [20.0]])
    torch.testing.assert_close(fit_standardiser(train)(test), torch.tensor([[8.0], [18.0]]))


def test_the_features_that_came_are_left_as_they_were() -> None:
    h = gaussian_classes(10, 3, 2, distance=1.0)[0]
    before = h.clone()
    fit_standardiser(h)(h)
    assert torch.equal(h, before)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4, -3e-8])
def test_a_constant_feature_becomes_zero(value: float) -> None:
    h = torch.full((10_000, 1), value)
    assert torch.equal(fit_standardiser(h)(h), torch.zeros(10_000, 1))


def test_a_feature_that_only_rounding_moves_is_not_blown_up() -> None:
    h = torch.full((1000, 1), 100.0)
    h[::2] = 100.00001
    assert fit_standardiser(h)(h).abs().max() < 1e-4


def test_a_large_mean_does_not_hide_the_spread() -> None:
    h = torch.tensor([[65536.0], [65537.0], [65538.0], [65539.0]])
    assert float(fit_standardiser(h).spread) == pytest.approx(1.25**0.5)


def test_no_samples_is_an_error() -> None:
    with pytest.raises(ValueError, match="train_h: no samples"):
        fit_standardiser(torch.empty(0, 3))
