"""Asymmetry: what N samples explain is met by simulation, i.i.d. views pass, different pipelines are flagged."""

import math

import pytest
import torch
from torch import Tensor

from barlow.statistics.correlation import cross_correlation, standardize
from barlow.theory.symmetry import (
    asymmetry,
    asymmetry_and_chance,
    diagonalisable_features,
    expected_asymmetry,
    skew_share,
    swap_test,
    symmetry_z,
)

RHO = torch.linspace(0.2, 0.95, 32, dtype=torch.float64)


def two_views(num_samples: int, rho: Tensor = RHO, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Uncorrelated Gaussian features of variance 1 whose views correlate by rho."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(3, num_samples, len(rho), generator=generator, dtype=torch.float64)
    image = rho.sqrt() * noise[0]
    return image + (1 - rho).sqrt() * noise[1], image + (1 - rho).sqrt() * noise[2]


def batch_correlation(views: tuple[Tensor, Tensor]) -> Tensor:
    return cross_correlation(*(standardize(z, eps=0.0) for z in views))


@pytest.mark.parametrize(("num_samples", "noted"), [(32, 1.399), (64, 1.375), (256, 1.349), (1024, 1.338)])
def test_the_asymmetry_of_a_batch_is_the_one_of_the_notes(num_samples: int, noted: float) -> None:
    repetitions = 150
    off_diagonal = len(RHO) * (len(RHO) - 1)
    found = torch.stack([batch_correlation(two_views(num_samples, seed=seed)) for seed in range(repetitions)])
    mean_square = float((found - found.transpose(1, 2)).square().sum()) / repetitions / off_diagonal
    assert num_samples * mean_square == pytest.approx(noted, abs=0.025)
    c_norm = float(found[0].norm())
    expected = (expected_asymmetry(RHO, num_samples, c_norm) * c_norm) ** 2 / off_diagonal
    assert mean_square == pytest.approx(expected, rel=0.02)


def test_the_limit_for_many_samples_is_the_closed_form_of_the_notes() -> None:
    expected = (expected_asymmetry(RHO, 10**6 + 1, 1.0)) ** 2 * 10**6 / (32 * 31)
    assert expected == pytest.approx(1.342, abs=5e-4)
    by_hand = [2 * (1 - float(a * b)) for i, a in enumerate(RHO) for j, b in enumerate(RHO) if i != j]
    assert expected == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-10)


def test_invariant_features_leave_no_asymmetry_to_chance() -> None:
    assert expected_asymmetry(torch.ones(5), 100, 1.0) == 0.0
    assert math.isnan(symmetry_z(torch.eye(5), torch.ones(5), 100))


def test_z_scores_of_independent_views_are_standard() -> None:
    closed = torch.tensor([symmetry_z(batch_correlation(two_views(400, seed=s)), RHO, 400) for s in range(200)])
    swapped = torch.tensor([swap_test(*two_views(100, RHO[::4], seed=s)).z for s in range(200)])
    for scores in (closed, swapped):
        assert abs(float(scores.mean())) < 0.25
        assert float(scores.std()) == pytest.approx(1.0, abs=0.2)


def test_the_moments_of_the_swap_test_are_those_of_all_swaps() -> None:
    z_a, z_b = two_views(8, RHO[:3])
    found = swap_test(z_a, z_b)
    both = torch.cat([z_a, z_b])
    a, b = ((z - both.mean(dim=0)) / both.std(dim=0, correction=0) for z in (z_a, z_b))
    squares, norm = [], float((a.T @ b / 8).norm())
    for which in range(2**8):
        swap = torch.tensor([which >> n & 1 for n in range(8)], dtype=torch.bool)[:, None]
        c = torch.where(swap, b, a).T @ torch.where(swap, a, b) / 8
        squares.append(float((c - c.T).square().sum()))
    every = torch.tensor(squares, dtype=torch.float64)
    assert found.expected == pytest.approx(float(every.mean().sqrt()) / norm, rel=1e-10)
    assert found.asymmetry == pytest.approx(math.sqrt(squares[0]) / norm, rel=1e-10)
    assert found.z == pytest.approx((squares[0] - float(every.mean())) / float(every.std(correction=0)), rel=1e-10)


def test_the_swap_test_works_in_blocks_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    views = two_views(50, RHO[:5])
    whole = swap_test(*views)
    monkeypatch.setattr("barlow.theory.symmetry.ROWS", 7)
    assert swap_test(*views).z == pytest.approx(whole.z, rel=1e-10)


def test_the_asymmetry_and_its_chance_are_those_of_the_swap_test() -> None:
    z_a, z_b = two_views(60, RHO[:7])
    found = swap_test(z_a, 2 * z_b + 1)
    assert asymmetry_and_chance(z_a, 2 * z_b + 1) == pytest.approx((found.asymmetry, found.expected), rel=1e-12)
    assert all(math.isnan(value) for value in asymmetry_and_chance(torch.ones(4, 2), torch.ones(4, 2)))


def test_correlated_and_skewed_features_of_one_pipeline_are_not_flagged() -> None:
    mix = torch.randn(32, 60, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    scores = [swap_test(*((z @ mix).exp().clamp(max=50) for z in two_views(40, seed=s))).z for s in range(30)]
    assert max(scores) < 5
    assert abs(sum(scores) / 30) < 0.7


def test_pipelines_that_differ_are_flagged_and_their_skew_is_measured() -> None:
    z_a, z_b = two_views(2000)
    turned = z_b.clone()  # by 0.6 and 0.8 in the plane of the two most invariant features: variances stay 1
    turned[:, 30] = 0.6 * z_b[:, 30] + 0.8 * z_b[:, 31]
    turned[:, 31] = 0.6 * z_b[:, 31] - 0.8 * z_b[:, 30]
    found = swap_test(z_a, turned)
    assert found.z > 5
    complete = torch.diag(RHO)
    complete[30, 31], complete[31, 30] = -0.8 * RHO[30], 0.8 * RHO[31]
    complete[30, 30], complete[31, 31] = 0.6 * RHO[30], 0.6 * RHO[31]
    assert found.excess == pytest.approx(asymmetry(complete), rel=0.15)
    assert symmetry_z(batch_correlation((z_a, turned)), RHO, 2000) > 5
    assert swap_test(z_a, z_b).z < 4


def test_an_affine_difference_between_views_is_invisible_to_their_correlation_but_not_to_the_swap_test() -> None:
    z_a, z_b = two_views(500)
    assert symmetry_z(batch_correlation((z_a, 2 * z_b + 3)), RHO, 500) < 4
    uneven = 3 * (torch.arange(32) < 16) + 1.0
    correlated = torch.randn(32, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64) / 6
    correlated += torch.eye(32, dtype=torch.float64)
    assert swap_test(z_a @ correlated, (z_b @ correlated) * uneven).z > 5


def test_symmetric_and_skew_matrices_are_the_two_ends() -> None:
    m = torch.tensor([[1.0, 2.0], [2.0, 5.0]])
    skew = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    assert (asymmetry(m), skew_share(m)) == (0.0, 0.0)
    assert (asymmetry(skew), skew_share(skew)) == (2.0, 1.0)
    assert skew_share(m + 3 * skew) ** 2 == pytest.approx(18 / (34 + 18))
    assert math.isnan(asymmetry(torch.zeros(3, 3)))
    assert math.isnan(swap_test(torch.full((5, 2), 0.1), torch.full((5, 2), 0.1)).z)


def test_seven_features_of_rank_ten_and_skew_rank_six_can_be_decorrelated() -> None:
    skew = torch.zeros(10, 10, dtype=torch.float64)
    for plane in range(3):
        skew[2 * plane, 2 * plane + 1] = 1.0 + plane
    skew = skew - skew.T
    root = torch.randn(10, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    m = root @ (torch.eye(10, dtype=torch.float64) + skew) @ root.T
    assert diagonalisable_features(m) == 7
    assert diagonalisable_features(m + m.T) == 10
    projector = torch.eye(10, dtype=torch.float64)[[0, 2, 4, 6, 7, 8, 9]] @ torch.linalg.inv(root)
    torch.testing.assert_close(projector @ m @ projector.T, torch.eye(7, dtype=torch.float64))


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="c: has values that are not finite"):
        asymmetry(torch.full((2, 2), math.nan))
    with pytest.raises(ValueError, match="num_samples: got 1"):
        expected_asymmetry(RHO, 1, 1.0)
    with pytest.raises(ValueError, match="c_norm: got -1"):
        expected_asymmetry(RHO, 10, -1.0)
    with pytest.raises(ValueError, match=r"correlations: got 1\.5 in size"):
        expected_asymmetry(torch.tensor([0.5, 1.5]), 10, 1.0)
    with pytest.raises(ValueError, match="m: the symmetric part has the eigenvalue -1"):
        diagonalisable_features(-torch.eye(3))
    with pytest.raises(ValueError, match="z_a, z_b: got shapes"):
        swap_test(torch.ones(1, 2), torch.ones(1, 2))
    with pytest.raises(ValueError, match="correlations: got 1 for a matrix of 1"):
        symmetry_z(torch.ones(1, 1), torch.ones(1), 10)
