"""Spectrum: the eigenvalues of a known covariance, and dimension counts of spectra whose answer is known."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from barlow.theory.spectrum import (
    alpha_req,
    condition_number,
    covariance_eigenvalues,
    effective_rank,
    numerical_rank,
    participation_ratio,
    rank_me,
)


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


def naive_rank_me(h: Tensor, eps: float) -> float:
    singular = np.linalg.svd(h.double().numpy(), compute_uv=False)
    shares = singular / singular.sum() + eps
    return float(np.exp(-(shares * np.log(shares)).sum()))


@pytest.mark.parametrize("shape", [(50, 7), (7, 50), (20, 20), (9000, 3)], ids=str)
@pytest.mark.parametrize("eps", [1e-7, 0.01])
def test_rank_me_is_the_formula_of_its_paper(shape: tuple[int, int], eps: float) -> None:
    h = normal(*shape) @ normal(shape[1], shape[1], seed=1) + 3.0
    assert rank_me(h, eps) == pytest.approx(naive_rank_me(h, eps), rel=1e-9)


@pytest.mark.parametrize("count", [1, 5, 16])
def test_rank_me_counts_orthogonal_directions(count: int) -> None:
    rows = torch.linalg.qr(normal(16, 16)).Q[:count]
    assert rank_me(1e-3 * rows) == pytest.approx(count, rel=1e-4)
    assert rank_me(torch.cat([rows, -rows, torch.zeros(30, 16)])) == pytest.approx(count, rel=1e-4)
    assert rank_me(rows, eps=0.0) == pytest.approx(count, rel=1e-6)


def test_rank_me_takes_singular_values_and_sees_the_mean() -> None:
    # Singular values 3 and 1, not their squares; the mean of collapsed features is a direction, that of h is not lost.
    assert rank_me(torch.tensor([[3.0, 0.0], [0.0, 1.0]])) == pytest.approx(0.75**-0.75 * 0.25**-0.25, rel=1e-5)
    h = normal(500, 8)
    assert rank_me(h) > 7.9
    assert rank_me(h + 100.0) < 1.5
    assert rank_me(torch.full((500, 8), 0.3)) == pytest.approx(1.0, abs=1e-4)
    assert rank_me(torch.zeros(5, 3)) == 0.0


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(1, 12), st.floats(1e-3, 1e3), st.integers(0, 1000))
def test_rank_me_ignores_scale_rotation_and_order_of_samples(n: int, d: int, scale: float, seed: int) -> None:
    h = normal(n, d, seed=seed).double()
    rotation = torch.linalg.qr(normal(d, d, seed=seed + 1).double()).Q
    assert rank_me(scale * h.flip(0) @ rotation) == pytest.approx(rank_me(h), rel=1e-6)
    assert 1 - 1e-6 <= rank_me(h) <= min(n, d) * (1 + 1e-4)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.3])
@pytest.mark.parametrize(("d", "last"), [(400, 100), (64, 64)])
def test_alpha_of_a_power_law_is_its_exponent(alpha: float, d: int, last: int) -> None:
    spectrum = 7.0 * torch.arange(1, d + 1).double() ** -alpha
    found = alpha_req(spectrum[torch.randperm(d, generator=torch.Generator().manual_seed(0))])
    assert found.alpha == pytest.approx(alpha, abs=1e-9)
    assert found.window == (11, last)
    assert math.isnan(found.r_squared) if alpha == 0 else found.r_squared == pytest.approx(1.0)


def test_alpha_of_samples_is_near_that_of_their_covariance() -> None:
    h = normal(5000, 64) * torch.arange(1, 65) ** -0.6
    found = alpha_req(covariance_eigenvalues(h))
    assert found.alpha == pytest.approx(1.2, abs=0.1)
    assert found.r_squared > 0.98


def test_the_fit_is_least_squares_with_weights_one_over_rank() -> None:
    spectrum = normal(40).double().exp().sort(descending=True).values
    ranks = np.arange(4, 31)
    x, y, weights = np.log(ranks), np.log(spectrum.numpy()[3:30]), 1 / ranks
    slope, offset = np.polyfit(x, y, 1, w=np.sqrt(weights))
    around = weights @ (y - np.average(y, weights=weights)) ** 2
    found = alpha_req(spectrum, (4, 30))
    assert found.alpha == pytest.approx(-slope)
    assert found.r_squared == pytest.approx(1 - weights @ (y - slope * x - offset) ** 2 / around)
    assert found.window == (4, 30)


def test_the_window_decides_and_ends_where_the_spectrum_does() -> None:
    ranks = torch.arange(1, 201).double()
    bent = torch.where(ranks <= 20, ranks**-0.5, 20**1.5 * ranks**-2.0)
    assert alpha_req(bent, (1, 20)).alpha == pytest.approx(0.5)
    assert alpha_req(bent, (21, 200)).alpha == pytest.approx(2.0)
    both = alpha_req(bent, (1, 200))
    assert 0.6 < both.alpha < 1.9
    assert both.r_squared < 0.97
    noise = torch.cat([bent[:40], torch.full((160,), 1e-9).double()])
    assert alpha_req(noise, (21, 200)).window == (21, 40)
    assert alpha_req(noise, (21, 200)).alpha == pytest.approx(2.0)


def test_collapsed_features_have_no_power_law_and_few_dimensions() -> None:
    for spectrum in (torch.zeros(50), torch.cat([torch.ones(12), torch.zeros(50)])):
        found = alpha_req(spectrum)
        assert math.isnan(found.alpha)
        assert math.isnan(found.r_squared)
        assert found.window[1] < 13
    collapsed = covariance_eigenvalues(normal(200, 1) @ normal(1, 16, seed=1))
    assert numerical_rank(collapsed) == 1
    assert condition_number(collapsed) == 1.0
    assert numerical_rank(torch.zeros(4)) == 0
    assert math.isnan(condition_number(torch.zeros(4)))


def test_rank_and_condition_are_those_above_the_tolerance() -> None:
    spectrum = torch.tensor([1e-3, 8.0, 2.0, 1e-7, 0.0])
    assert numerical_rank(spectrum) == 3
    assert condition_number(spectrum) == pytest.approx(8000.0)
    assert numerical_rank(spectrum, 0.2) == 2
    assert condition_number(spectrum, 0.2) == pytest.approx(4.0)
    assert numerical_rank(spectrum, 0.0) == 4
    assert condition_number(spectrum, 0.0) == pytest.approx(8e7)


def test_repeated_features_in_float32_are_one_direction() -> None:
    h = normal(300, 6)
    mixing = normal(6, 6, seed=1)
    eigenvalues = covariance_eigenvalues(torch.cat([h @ mixing, h @ mixing, 3 * h[:, :2] + 1], dim=1))
    assert numerical_rank(eigenvalues) == 6


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="h: got 1 samples"):
        covariance_eigenvalues(torch.ones(1, 3))
    with pytest.raises(ValueError, match="h: has values that are not finite"):
        covariance_eigenvalues(torch.tensor([[1.0], [float("nan")]]))
    with pytest.raises(ValueError, match="eigenvalues: the smallest is -1"):
        effective_rank(torch.tensor([2.0, -1.0]))
    with pytest.raises(ValueError, match=r"eigenvalues: got \[-1.0\] as the smallest"):
        numerical_rank(torch.tensor([2.0, -1.0]))
    for tolerance in (-0.1, 1.0):
        with pytest.raises(ValueError, match=f"tolerance: got {tolerance}"):
            condition_number(torch.ones(3), tolerance)
    for window in ((0, 5), (5, 5), (7, 3)):
        with pytest.raises(ValueError, match=f"window: got \\({window[0]}, {window[1]}\\)"):
            alpha_req(torch.ones(30), window)
    with pytest.raises(ValueError, match=r"h: got shape \(0, 3\)"):
        rank_me(torch.ones(0, 3))
    with pytest.raises(ValueError, match="eps: got -1"):
        rank_me(torch.ones(2, 3), -1.0)
    with pytest.raises(ValueError, match="h: has values that are not finite"):
        rank_me(torch.tensor([[1.0, float("inf")]]))
