"""The jackknife of a mean is its textbook error, and ratios keep the covariance of what they are made of."""

import pytest
import torch

from barlow.theory.jackknifed import Jackknifed, image_mean, over_images, replicate_error


def test_one_image_per_block_gives_the_standard_error_of_a_mean() -> None:
    values = torch.randn(15, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = image_mean(values, num_blocks=100)
    assert float(found.value) == pytest.approx(float(values.mean()), rel=1e-12)
    assert float(found.standard_error) == pytest.approx(float(values.std() / 15**0.5), rel=1e-12)


def test_replicates_are_the_means_without_every_g_th_image() -> None:
    values = torch.randn(11, 2, 3, generator=torch.Generator().manual_seed(1))
    found = image_mean(values, num_blocks=4)
    for g in range(4):
        torch.testing.assert_close(found.left_out[g], values[torch.arange(11) % 4 != g].double().mean(dim=0))


def test_the_error_of_a_ratio_of_the_same_images_is_smaller_than_that_of_independent_ones() -> None:
    generator = torch.Generator().manual_seed(2)
    size = 1.0 + torch.rand(400, generator=generator, dtype=torch.float64)
    part = image_mean(0.3 * size + 0.001 * torch.randn(400, generator=generator, dtype=torch.float64))
    whole = image_mean(size)
    assert float((part / whole).value) == pytest.approx(0.3, abs=1e-3)
    assert float((part / whole).standard_error) < 0.05 * float((part / float(whole.value)).standard_error)


def test_sums_differences_and_functions_act_on_value_and_replicates() -> None:
    a = Jackknifed(torch.tensor([3.0]).double(), torch.tensor([[1.0], [5.0]]).double())
    b = Jackknifed(torch.tensor([2.0]).double(), torch.tensor([[2.0], [4.0]]).double())
    assert (a + b).left_out.tolist() == [[3.0], [9.0]]
    assert (a - b).value.tolist() == [1.0]
    assert (a / 2.0).left_out.tolist() == [[0.5], [2.5]]
    assert float(a.map(torch.sum).value) == 3.0
    assert a.map(lambda part: part.sum(dim=-1)).left_out.tolist() == [1.0, 5.0]


def test_any_statistic_of_images_has_the_replicates_of_its_closed_form() -> None:
    values = torch.randn(50, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    found, expected = over_images(lambda rows: values[rows].mean(dim=0), 50, 7), image_mean(values, 7)
    torch.testing.assert_close(found.value, expected.value)
    torch.testing.assert_close(found.left_out, expected.left_out)
    assert over_images(lambda rows: float(len(rows)), 5).left_out.tolist() == [4.0] * 5


def test_too_few_images_or_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="num_blocks: got 1"):
        image_mean(torch.ones(5), num_blocks=1)
    with pytest.raises(ValueError, match="values: got 1 images"):
        image_mean(torch.ones(1))
    with pytest.raises(ValueError, match="left_out: got 1 blocks"):
        replicate_error(torch.ones(1, 3))
