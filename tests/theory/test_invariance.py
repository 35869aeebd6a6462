"""Shares of augmentation and image: exact on worked numbers, unbiased on features of known covariances."""

import math

import pytest
import torch
from torch import Tensor

from barlow.theory.invariance import augmentation_share, invariance_share, share_standard_error


def features(num_views: int, num_images: int, *, between: Tensor, within: Tensor, seed: int = 0) -> Tensor:
    """Features with covariance diag(between) over images and diag(within) over the views of one image."""
    generator = torch.Generator().manual_seed(seed)
    image = between.sqrt() * torch.randn(num_images, 1, len(between), generator=generator)
    view = within.sqrt() * torch.randn(num_images, num_views, len(within), generator=generator)
    return 2.0 + image + view


BETWEEN, WITHIN = torch.tensor([4.0, 1.0, 0.0]), torch.tensor([1.0, 0.5, 0.5])
TRUE_SHARE = 2.0 / 7.0


@pytest.mark.parametrize("num_views", [2, 3, 8])
def test_the_share_of_known_covariances_is_found(num_views: int) -> None:
    h = features(num_views, 20_000, between=BETWEEN, within=WITHIN)
    assert augmentation_share(h) == pytest.approx(TRUE_SHARE, abs=0.008)
    assert invariance_share(h) == pytest.approx(1 - TRUE_SHARE, abs=0.008)


def test_few_images_are_right_on_average() -> None:
    many = features(2, 12 * 1000, between=BETWEEN, within=WITHIN).reshape(1000, 12, 2, 3)
    shares = torch.tensor([augmentation_share(h) for h in many])
    assert float(shares.mean()) == pytest.approx(TRUE_SHARE, abs=0.03)  # a ratio: unbiased only above and below


def test_worked_numbers_come_out_exactly() -> None:
    # Views (0, 2) and (10, 12): MS_W = 2, MS_B = 2 * 50 = 100, W = 2, B = 49.
    h = torch.tensor([[[0.0], [2.0]], [[10.0], [12.0]]])
    assert augmentation_share(h) == pytest.approx(2 / 51)


def test_views_that_agree_leave_nothing_to_augmentation() -> None:
    h = features(1, 50, between=BETWEEN, within=WITHIN).repeat(1, 3, 1)
    assert augmentation_share(h) == pytest.approx(0.0, abs=1e-15)
    assert invariance_share(h) == pytest.approx(1.0, abs=1e-15)


def test_views_that_have_nothing_in_common_are_all_augmentation() -> None:
    h = features(4, 20_000, between=torch.zeros(3), within=WITHIN)
    assert augmentation_share(h) == pytest.approx(1.0, abs=0.01)


def test_no_variance_at_all_is_no_share() -> None:
    assert math.isnan(augmentation_share(torch.full((5, 2, 3), 0.1)))
    assert math.isnan(invariance_share(torch.full((5, 2, 3), 7.0)))
    assert math.isnan(share_standard_error(torch.full((5, 2, 3), 7.0)))


def test_shift_scale_rotation_and_order_of_views_do_not_matter() -> None:
    h = features(3, 40, between=BETWEEN, within=WITHIN).double()
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)).double()).Q
    moved = 5.0 * (h.flip(1) @ rotation.T) - 100.0
    assert augmentation_share(moved) == pytest.approx(augmentation_share(h), rel=1e-10)


def test_the_standard_error_is_the_spread_over_repetitions() -> None:
    runs = [features(2, 100, between=BETWEEN, within=WITHIN, seed=seed) for seed in range(300)]
    spread = torch.tensor([invariance_share(h) for h in runs]).std()
    errors = torch.tensor([share_standard_error(h) for h in runs])
    assert float(errors.mean()) == pytest.approx(float(spread), rel=0.15)


def test_the_standard_error_is_the_jackknife_done_by_hand() -> None:
    h = features(3, 11, between=BETWEEN, within=WITHIN)
    block = torch.arange(11) % 4
    left_out = torch.tensor([invariance_share(h[block != out]) for out in range(4)], dtype=torch.float64)
    by_hand = (3 / 4 * (left_out - left_out.mean()).square().sum()).sqrt()
    assert share_standard_error(h, num_blocks=4) == pytest.approx(float(by_hand), rel=1e-9)


def test_images_sorted_by_class_do_not_inflate_the_standard_error() -> None:
    h = features(2, 400, between=BETWEEN, within=WITHIN)
    h[:40] += 20.0  # a rare class, all of it in the first two of 20 blocks if those were runs of images
    shuffled = h[torch.randperm(400, generator=torch.Generator().manual_seed(0))]
    assert share_standard_error(h) == pytest.approx(share_standard_error(shuffled), rel=0.6)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="h_views: got 1 views of 5 samples"):
        augmentation_share(torch.ones(5, 1, 2))
    with pytest.raises(ValueError, match="h_views: got 2 views of 1 samples"):
        invariance_share(torch.ones(1, 2, 2))
    with pytest.raises(ValueError, match="h_views: has values that are not finite"):
        augmentation_share(torch.full((5, 2, 2), float("inf")))
    with pytest.raises(ValueError, match="h_views: got 2 samples, wanted at least 3"):
        share_standard_error(torch.ones(2, 2, 2))
    with pytest.raises(ValueError, match="num_blocks: got 1"):
        share_standard_error(torch.ones(5, 2, 2), num_blocks=1)
