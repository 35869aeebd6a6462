"""Spectrum: the eigenvalues of a known covariance, and dimension counts of spectra whose answer is known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from barlow.theory.spectrum import covariance_eigenvalues, effective_rank, participation_ratio


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(50, 7), (7, 50), (20, 20), (20_000, 3)], ids=str)
def test_eigenvalues_are_those_of_the_unbiased_covariance(shape: tuple[int, int]) -> None:
    h = normal(*shape) @ normal(shape[1], shape[1], seed=1) + 3.0
    wanted = np.linalg.eigvalsh(np.cov(h.double().numpy(), rowvar=False))[::-1]
    found = covariance_eigenvalues(h)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), wanted.clip(min=0), rtol=1e-9, atol=1e-10 * wanted[0])


def test_samples_of_known_covariance_have_its_eigenvalues() -> None:
    rotation = torch.linalg.qr(normal(3, 3)).Q
    h = (normal(40_000, 3) * torch.tensor([3.0, 1.0, 0.5])) @ rotation.T
    torch.testing.assert_close(covariance_eigenvalues(h), torch.tensor([9.0, 1.0, 0.25]).double(), rtol=0.03, atol=0)


def test_fewer_samples_than_features_leave_the_rest_of_the_spectrum_zero() -> None:
    found = covariance_eigenvalues(normal(5, 12))
    assert (found[:4] > 0.1).all()
    assert (found[4:] == 0).all()


def test_rounding_of_a_collapsed_network_is_no_spectrum() -> None:
    noise = 1e-7 * normal(200, 16)
    assert (covariance_eigenvalues(2.0 + noise) == 0).all()
    assert (covariance_eigenvalues(noise) > 0).all()  # nothing to round: small features are as good as large ones


def test_a_shift_far_beyond_the_spread_does_not_change_the_spectrum() -> None:
    h = torch.randint(-8, 8, (100, 4), generator=torch.Generator().manual_seed(0)).float()
    torch.testing.assert_close(covariance_eigenvalues(h + 65536.0), covariance_eigenvalues(h))


def test_equal_eigenvalues_count_as_what_they_are() -> None:
    for count in (1, 2, 17):
        spectrum = torch.cat([torch.full((count,), 0.3), torch.zeros(5)])
        assert effective_rank(spectrum) == pytest.approx(count)
        assert participation_ratio(spectrum) == pytest.approx(count)


def test_two_unequal_eigenvalues_count_as_the_formulas_say() -> None:
    spectrum = torch.tensor([3.0, 1.0])
    assert effective_rank(spectrum) == pytest.approx(0.75**-0.75 * 0.25**-0.25)
    assert participation_ratio(spectrum) == pytest.approx(16 / 10)


def test_no_variance_is_no_dimension() -> None:
    assert effective_rank(torch.zeros(4)) == 0.0
    assert participation_ratio(torch.zeros(4)) == 0.0


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=20), st.floats(1e-3, 1e3))
def test_dimension_counts_ignore_scale_and_order_and_keep_their_order(values: list[float], scale: float) -> None:
    spectrum = torch.tensor(values, dtype=torch.float64)
    rank, ratio = effective_rank(spectrum), participation_ratio(spectrum)
    assert effective_rank(scale * spectrum.flip(0)) == pytest.approx(rank)
    assert participation_ratio(scale * spectrum.flip(0)) == pytest.approx(ratio)
    assert 1 - 1e-9 <= ratio <= rank + 1e-9 <= len(values) + 2e-9


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="h: got 1 samples"):
        covariance_eigenvalues(torch.ones(1, 3))
    with pytest.raises(ValueError, match="h: has values that are not finite"):
        covariance_eigenvalues(torch.tensor([[1.0], [float("nan")]]))
    with pytest.raises(ValueError, match="eigenvalues: the smallest is -1"):
        effective_rank(torch.tensor([2.0, -1.0]))
