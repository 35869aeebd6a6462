"""Effects of single transforms: the variances of known functions come out, and so do their sums."""

import math

import pytest
import torch
from torch import Tensor

from barlow.theory.effects import (
    direction_effects,
    effect_covariance,
    first_order_effect,
    half_distance_share,
    marginal_effect,
    squared_distances,
    total_effect,
)
from barlow.theory.invariance import augmentation_share, variance_components

NUM_IMAGES = 20_000


def draws(num_transforms: int, num_images: int = NUM_IMAGES, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Images x and two draws t, t' of every transform, all of variance 1."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num_images, 1, generator=generator, dtype=torch.float64)
    t, other = torch.randn(2, num_images, num_transforms, generator=generator, dtype=torch.float64).unbind()
    return x, t, other


def replaced(t: Tensor, other: Tensor, j: int) -> Tensor:
    mixed = t.clone()
    mixed[:, j] = other[:, j]
    return mixed


STRENGTH = torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64)


def additive(x: Tensor, t: Tensor) -> Tensor:
    """(3x, x) + (2 t_0, t_1): variance 10 between, 5 within; t_2 does nothing."""
    return torch.cat([3 * x + STRENGTH[0] * t[:, :1], x + STRENGTH[1] * t[:, 1:2]], dim=1)


def interacting(x: Tensor, t: Tensor) -> Tensor:
    """Return x + t_0 + t_0 t_1: variances 1, 1 and 1; first order 1 and 0, total 2 and 1."""
    return x + t[:, :1] + t[:, :1] * t[:, 1:2]


def test_effects_of_a_sum_over_transforms_are_its_parts_and_add_up_to_the_share_of_augmentation() -> None:
    x, t, other = draws(3)
    h, h_other = additive(x, t), additive(x, other)
    views = torch.stack([h, h_other], dim=1)
    found = variance_components(views)
    mixed = [additive(x, replaced(t, other, j)) for j in range(3)]
    total = [total_effect(h, h_j, found.total_trace) for h_j in mixed]
    first = [first_order_effect(h_other, h_j, found.within_trace, found.total_trace) for h_j in mixed]
    for effects in (total, first):
        values = [float(effect.value) for effect in effects]
        assert values == pytest.approx([4 / 15, 1 / 15, 0.0], abs=0.012)
    # In exactly these draws, not only on average: |dh_0|^2 + |dh_1|^2 is |h - h'|^2 here.
    assert sum(float(effect.value) for effect in total) == pytest.approx(augmentation_share(views), rel=1e-10)
    assert float(total[2].value) == 0.0
    assert float(total[2].standard_error) == 0.0


def test_an_interaction_counts_in_total_effects_and_not_in_first_order_ones() -> None:
    x, t, other = draws(2)
    h, h_other = interacting(x, t), interacting(x, other)
    found = variance_components(torch.stack([h, h_other], dim=1))
    mixed = [interacting(x, replaced(t, other, j)) for j in range(2)]
    total = [float(total_effect(h, h_j, found.total_trace).value) for h_j in mixed]
    first = [float(first_order_effect(h_other, h_j, found.within_trace, found.total_trace).value) for h_j in mixed]
    assert total == pytest.approx([2 / 3, 1 / 3], abs=0.03)
    assert first == pytest.approx([1 / 3, 0.0], abs=0.03)


def test_the_marginal_effect_is_measured_against_the_difference_of_two_images() -> None:
    x, t, _ = draws(3)
    plain = additive(x, torch.zeros_like(t))
    only_first = additive(x, torch.cat([t[:, :1], torch.zeros(NUM_IMAGES, 2, dtype=torch.float64)], dim=1))
    assert float(marginal_effect(plain, only_first, 10.0).value) == pytest.approx(4 / 20, abs=0.01)
    moved_to_another_image = plain.roll(1, dims=0)
    assert float(marginal_effect(plain, moved_to_another_image, 10.0).value) == pytest.approx(1.0, abs=0.03)


def test_standard_errors_are_the_spread_over_repetitions() -> None:
    totals, firsts, margins = [], [], []
    for seed in range(200):
        x, t, other = draws(2, 100, seed)
        h, h_other, mixed = interacting(x, t), interacting(x, other), interacting(x, replaced(t, other, 0))
        found = variance_components(torch.stack([h, h_other], dim=1))
        totals.append(total_effect(h, mixed, found.total_trace))
        firsts.append(first_order_effect(h_other, mixed, found.within_trace, found.total_trace))
        margins.append(marginal_effect(x, h, found.total_trace))
    for effects in (totals, firsts, margins):
        spread = torch.stack([effect.value for effect in effects]).std()
        error = torch.stack([effect.standard_error for effect in effects]).mean()
        assert float(error) == pytest.approx(float(spread), rel=0.2)


def test_a_known_variance_leaves_the_error_of_the_numerator() -> None:
    x, t, other = draws(1, 50)
    h, mixed = x + t, x + other
    per_image = 0.5 * (h - mixed).square()[:, 0] / 4.0
    found = total_effect(h, mixed, 4.0, num_blocks=50)
    assert float(found.standard_error) == pytest.approx(float(per_image.std() / 50**0.5), rel=1e-10)
    assert float(first_order_effect(h, mixed, 2.0, 4.0).value) == pytest.approx(0.5 - float(per_image.mean()))


def test_the_covariance_of_an_effect_has_its_trace_and_its_directions() -> None:
    x, t, other = draws(3, 300)
    h, mixed = additive(x, t), additive(x, replaced(t, other, 0))
    covariance, error = effect_covariance(h, mixed)
    change = h - mixed
    torch.testing.assert_close(covariance, 0.5 * torch.einsum("ni,nj->ij", change, change) / 300)
    assert float(covariance.trace()) == pytest.approx(float(total_effect(h, mixed, 1.0).value), rel=1e-12)
    by_entry = half_distance_share(change.square(), 1.0)
    torch.testing.assert_close(error.diagonal(), by_entry.standard_error)

    directions = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, -1.0]], dtype=torch.float64)
    views = torch.stack([h, additive(x, other)], dim=1)
    total = variance_components(views @ directions.T).total
    along = direction_effects(h, mixed, directions, total)
    expected = torch.einsum("mi,ij,mj->m", directions, covariance, directions) / total.value
    torch.testing.assert_close(along.value, expected)
    assert along.value.tolist() == pytest.approx([4 / 13, 0.0, 4 / 9], abs=0.1)
    assert along.left_out.shape == (20, 3)


def test_without_variance_there_is_no_effect_to_speak_of() -> None:
    constant = torch.full((10, 3), 0.1)
    trace = variance_components(constant[:, None].repeat(1, 2, 1)).total_trace
    assert math.isnan(total_effect(constant, constant, trace).value)
    assert math.isnan(marginal_effect(constant, constant + 1, 0.0).value)
    assert math.isnan(first_order_effect(constant, constant, 0.0, 0.0).value)


def test_wrong_arguments_are_named() -> None:
    h = torch.ones(5, 2)
    with pytest.raises(ValueError, match="h: has values that are not finite"):
        squared_distances(h, h * math.inf)
    with pytest.raises(ValueError, match="h: has values that are not finite"):
        effect_covariance(h * math.nan, h)
    with pytest.raises(ValueError, match="num_blocks: got 1"):
        total_effect(h, h, 1.0, num_blocks=1)


@pytest.mark.usefixtures("as_users_call_it")
def test_features_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shapes \(5, 2\) and \(4, 2\)"):
        squared_distances(torch.ones(5, 2), torch.ones(4, 2))
