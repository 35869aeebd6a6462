"""Alignment and uniformity: worked points on the sphere, and a double loop over pairs."""

import math

import pytest
import torch
from torch import Tensor

from barlow.theory import alignment as module
from barlow.theory.alignment import alignment, jackknifed_uniformity, uniformity
from barlow.theory.standard_errors import over_images


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def simplex(num_points: int) -> Tensor:
    """Corners of a regular simplex around the origin."""
    return torch.eye(num_points) - 1 / num_points


def unit(row: Tensor) -> list[float]:
    length = math.sqrt(sum(value * value for value in row.tolist()))
    return [value / length for value in row.tolist()]


def naive_uniformity(z: Tensor, t: float) -> float:
    terms = [
        math.exp(-t * sum((a - b) ** 2 for a, b in zip(unit(z[i]), unit(z[j]), strict=True)))
        for i in range(len(z))
        for j in range(len(z))
        if i != j
    ]
    return math.log(sum(terms) / len(terms))


@pytest.mark.parametrize("block", [1, 4, 7, 1024])
@pytest.mark.parametrize("t", [0.5, 2.0])
def test_uniformity_is_the_double_loop_over_pairs_in_blocks_of_any_size(
    block: int, t: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS", block)
    z = 3 * normal(15, 4) + 1
    assert uniformity(z, t) == pytest.approx(naive_uniformity(z, t), rel=1e-10)


@pytest.mark.parametrize("block", [2, 1024])
@pytest.mark.parametrize("power", [1.0, 2.0, 3.5])
def test_alignment_is_the_loop_over_images(block: int, power: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", block)
    z_a, z_b = 3 * normal(9, 4) + 1, normal(9, 4, seed=1)
    distances = [math.dist(unit(a), unit(b)) for a, b in zip(z_a, z_b, strict=True)]
    assert alignment(z_a, z_b, power) == pytest.approx(sum(d**power for d in distances) / 9, rel=1e-10)


def test_identical_points_are_aligned_and_not_uniform_at_all() -> None:
    z = torch.tensor([[0.1, -3.0, 0.2]]).repeat(6, 1)
    assert alignment(z, z) == 0.0
    assert alignment(z, 4 * z) == 0.0  # only the direction counts
    assert uniformity(z) == pytest.approx(0.0, abs=1e-14)


def test_antipodal_points_are_as_far_apart_as_can_be() -> None:
    z = normal(6, 3)
    assert alignment(z, -z) == pytest.approx(4.0)
    assert alignment(z, -z, power=3.0) == pytest.approx(8.0)
    assert uniformity(torch.stack([z[0], -z[0]])) == pytest.approx(-8.0)
    assert uniformity(torch.stack([z[0], -z[0]]), t=0.25) == pytest.approx(-1.0)


def test_orthogonal_views_have_distance_root_two() -> None:
    assert alignment(torch.eye(2), torch.eye(2).flip(0)) == pytest.approx(2.0)
    assert alignment(torch.eye(2), torch.eye(2).flip(0), power=1.0) == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize("num_points", [2, 3, 10])
@pytest.mark.parametrize("t", [0.5, 2.0])
def test_a_regular_simplex_reaches_the_least_uniformity_and_nothing_else_passes_it(num_points: int, t: float) -> None:
    least = -2 * t * num_points / (num_points - 1)
    assert uniformity(simplex(num_points), t) == pytest.approx(least, rel=1e-6)
    assert all(uniformity(normal(num_points, 10, seed=seed), t) >= least for seed in range(20))


def test_random_directions_in_many_dimensions_are_nearly_as_uniform_as_can_be() -> None:
    assert uniformity(normal(400, 1000)) == pytest.approx(-4.0, abs=0.03)


def test_rotation_scale_and_order_do_not_matter() -> None:
    z_a, z_b = normal(20, 5), normal(20, 5, seed=1)
    rotation = torch.linalg.qr(normal(5, 5, seed=2)).Q
    lengths, order = torch.rand(20, 1, generator=torch.Generator().manual_seed(3)) + 0.1, torch.randperm(20)
    assert alignment(lengths * z_a[order] @ rotation, z_b[order] @ rotation) == pytest.approx(
        alignment(z_a, z_b), rel=1e-5
    )
    assert uniformity((lengths * z_a)[order] @ rotation) == pytest.approx(uniformity(z_a), rel=1e-5)


def test_a_large_t_does_not_underflow() -> None:
    assert uniformity(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), t=1e4) == pytest.approx(-2e4)


def test_tiny_embeddings_have_a_direction_and_zero_ones_none() -> None:
    tiny = torch.tensor([[1e-30, 0.0], [0.0, 1e-30]])
    assert uniformity(tiny) == pytest.approx(-4.0)
    assert uniformity(torch.zeros(3, 2)) == 0.0
    assert alignment(torch.zeros(2, 2), tiny) == pytest.approx(1.0)


def test_the_pairs_of_twenty_thousand_images_are_never_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0
    distances = module._squared_distances

    def watched(points: Tensor, others: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, len(points) * len(others))
        return distances(points[:1], others[:1])

    monkeypatch.setattr(module, "_squared_distances", watched)
    uniformity(normal(20_000, 2))
    assert 0 < largest <= 1024**2


@pytest.mark.usefixtures("as_users_call_it")
def test_wrong_arguments_are_named() -> None:
    z = normal(4, 3)
    with pytest.raises(ValueError, match=r"z_b: got shape \(3, 3\), wanted \(4, 3\)"):
        alignment(z, z[:3])
    with pytest.raises(ValueError, match=r"z: got shape \(1, 3\)"):
        uniformity(z[:1])
    with pytest.raises(ValueError, match=r"z_a: got shape \(0, 3\)"):
        alignment(z[:0], z[:0])
    with pytest.raises(ValueError, match=r"power: got 0\.0"):
        alignment(z, z, power=0.0)
    with pytest.raises(ValueError, match=r"t: got -1\.0"):
        uniformity(z, t=-1.0)
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="z_b: has values that are not finite"):
            alignment(z, z * bad)
        with pytest.raises(ValueError, match="z: has values that are not finite"):
            uniformity(z * bad)


def test_the_replicates_of_the_uniformity_are_those_of_computing_it_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    z = normal(41, 5, seed=6)
    monkeypatch.setattr(module, "ROWS", 16)  # pairs within and between blocks of rows
    found, anew = jackknifed_uniformity(z, 6), over_images(lambda rows: uniformity(z[rows]), 41, 6)
    torch.testing.assert_close(found.value, anew.value)
    torch.testing.assert_close(found.left_out, anew.left_out)
    with pytest.raises(ValueError, match=r"z: got shape \(2, 5\), wanted at least 3"):
        jackknifed_uniformity(z[:2])
