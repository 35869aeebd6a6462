"""SIGReg against sums over samples and knots, its exact values, in shards, and as a method."""

import cmath
import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from barlow.methods.heads import HeadSpec
from barlow.methods.sigreg import SIGReg, epps_pulley, knots, random_directions, sigreg, sigreg_loss
from barlow.statistics.collectives import AllMean, MeanOver
from tests.methods.in_lockstep import in_lockstep

CPU = torch.device("cpu")


def embeddings(views: int, n: int, d: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(n, d, generator=generator, dtype=torch.float64)
    noise = torch.randn(views, n, d, generator=generator, dtype=torch.float64)
    return (1.5 * shared + 0.5 * noise + 0.3).requires_grad_()


def axes(d: int, m: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return nn.functional.normalize(torch.randn(d, m, generator=generator, dtype=torch.float64), dim=0)


def naive_statistic(x: list[float]) -> float:
    """N times the trapezoid of |phi(t) - exp(-t^2/2)|^2 exp(-t^2/2) over [-3, 3], with 33 points, one by one."""
    n, step, total = len(x), 3 / 16, 0.0
    for k in range(-16, 17):
        t = k * step
        phi = sum(cmath.exp(1j * t * value) for value in x) / n
        total += abs(phi - math.exp(-(t**2) / 2)) ** 2 * math.exp(-(t**2) / 2) * step * (0.5 if abs(k) == 16 else 1.0)
    return n * total


def naive_loss(z: Tensor, directions: Tensor, weight: float) -> Tensor:
    """The loss with one sample, one direction and one knot at a time, kept differentiable."""
    views, n, d = z.shape
    sigreg_sum = torch.zeros((), dtype=z.dtype)
    invariance = torch.zeros((), dtype=z.dtype)
    for v in range(views):
        for m in range(directions.shape[1]):
            x = [
                sum((z[v, k, i] * directions[i, m] for i in range(d)), torch.zeros((), dtype=z.dtype)) for k in range(n)
            ]
            for knot in range(17):
                t = 3 * knot / 16
                normal = math.exp(-(t**2) / 2)
                real = sum((torch.cos(t * value) for value in x), torch.zeros((), dtype=z.dtype)) / n
                imaginary = sum((torch.sin(t * value) for value in x), torch.zeros((), dtype=z.dtype)) / n
                width = 3 / 16 * (1 if knot in (0, 16) else 2)
                sigreg_sum = sigreg_sum + n * width * normal * ((real - normal) ** 2 + imaginary**2)
        for k in range(n):
            for i in range(d):
                invariance = invariance + (z[v, k, i] - z[:, k, i].sum() / views) ** 2
    return weight * sigreg_sum / (views * directions.shape[1]) + (1 - weight) * invariance / (views * n * d)


@pytest.mark.parametrize("views", [2, 3])
def test_equals_the_sums_of_its_definition_in_value_and_gradient(views: int) -> None:
    z, directions = embeddings(views, 5, 3), axes(3, 4)
    terms = sigreg_loss(z, directions, sigreg_weight=0.3)
    expected = naive_loss(z, directions, 0.3)
    torch.testing.assert_close(terms.total, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(terms.total, sum(terms.parts.values()))
    ours = torch.autograd.grad(terms.total, z)
    torch.testing.assert_close(ours, torch.autograd.grad(expected, z), rtol=1e-9, atol=1e-12)


def test_the_statistic_is_the_integral_over_both_sides_of_zero() -> None:
    x = embeddings(1, 7, 2).detach()
    statistic = epps_pulley(x)
    for m in range(2):
        assert float(statistic[0, m]) == pytest.approx(naive_statistic(x[0, :, m].tolist()), rel=1e-12)


def test_gradcheck() -> None:
    directions = axes(3, 4)
    assert torch.autograd.gradcheck(lambda z: sigreg_loss(z, directions).total, (embeddings(2, 5, 3),))


@pytest.mark.parametrize("n", [4, 64])
def test_standard_normal_numbers_have_the_same_mean_at_every_batch_size(n: int) -> None:
    """Section 11, item 10 of the notes: E = sum_l w_l (1 - exp(-t_l^2)), the noise of the batch."""
    t, weight = knots(torch.float64, CPU)
    expected = (weight * (1 - torch.exp(-t.square()))).sum()
    assert float(expected) == pytest.approx(1.0525, abs=1e-4)
    draws = torch.randn(1, n, 4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = epps_pulley(draws)[0]
    error = values.std() / 4000**0.5
    assert abs(values.mean() - expected) < 4 * error < 0.08


def test_constant_embeddings_cost_in_proportion_to_the_number_of_samples() -> None:
    t, weight = knots(torch.float64, CPU)
    at_zero = (weight * (1 - torch.exp(-t.square() / 2)).square()).sum()
    for n in (3, 30):
        torch.testing.assert_close(epps_pulley(torch.zeros(1, n, 1, dtype=torch.float64)), (n * at_zero).view(1, 1))


def test_the_value_of_many_samples_tells_a_normal_from_other_laws_of_variance_1() -> None:
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(1, 2000, 1, generator=generator)
    uniform = (torch.rand(1, 2000, 1, generator=generator) - 0.5) * 12**0.5
    signs = torch.randint(0, 2, (1, 2000, 1), generator=generator).float() * 2 - 1
    assert epps_pulley(normal) < 4 < epps_pulley(uniform) < epps_pulley(signs)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000))
def test_turning_embeddings_with_their_directions_reordering_and_mirroring_change_nothing(seed: int) -> None:
    z, directions = embeddings(2, 6, 3, seed=seed), axes(3, 5, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    order = torch.randperm(6, generator=generator)
    before = sigreg_loss(z, directions).total
    torch.testing.assert_close(sigreg_loss(z[:, order] @ turn, turn.T @ directions).total, before)
    torch.testing.assert_close(sigreg_loss(-z.flip(0), directions).total, before)


def test_the_invariance_term_alone_is_half_the_squared_distance_of_two_views_from_each_other() -> None:
    z = embeddings(2, 6, 3)
    expected = (z[0] - z[1]).square().mean() / 4
    torch.testing.assert_close(sigreg_loss(z, axes(3, 2), sigreg_weight=0.0).total, expected)


@pytest.mark.parametrize("sizes", [(4, 4), (2, 6), (1, 7)])
def test_shards_equal_the_whole_batch_in_value_and_gradient(sizes: tuple[int, int]) -> None:
    z, directions = embeddings(3, 8, 4), axes(4, 6)
    whole = sigreg_loss(z, directions).total
    expected = torch.autograd.grad(whole, z)
    shards = z.split(list(sizes), dim=1)

    def loss(rank: int, mean: AllMean, _: object) -> Tensor:
        return sigreg_loss(shards[rank], directions, all_mean=MeanOver(mean, sum(sizes))).total

    totals = in_lockstep(2, loss)
    for total in totals:
        torch.testing.assert_close(total, whole, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(torch.autograd.grad(totals[0], z), expected, rtol=1e-9, atol=1e-11)
    assert abs(sigreg_loss(shards[1], directions).total - whole) > 1e-4


def test_directions_are_unit_vectors_follow_the_generator_and_favour_no_axis() -> None:
    torch.manual_seed(0)
    one = random_directions(3, 4000, device=CPU)
    torch.testing.assert_close(one.norm(dim=0), torch.ones(4000))
    torch.testing.assert_close(one @ one.T / 4000, torch.eye(3) / 3, atol=0.02, rtol=0)
    assert not torch.equal(one, random_directions(3, 4000, device=CPU))
    torch.manual_seed(0)
    torch.testing.assert_close(random_directions(3, 4000, device=CPU), one, rtol=0, atol=0)


def test_all_processes_have_the_same_unit_directions_wherever_their_generators_are() -> None:
    found = in_lockstep(3, lambda rank, all_mean, _: random_directions(3, 2000, device=CPU, all_mean=all_mean))
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)
    torch.testing.assert_close(found[2], found[0], rtol=0, atol=0)
    torch.testing.assert_close(found[0].norm(dim=0), torch.ones(2000))
    torch.testing.assert_close(found[0] @ found[0].T / 2000, torch.eye(3) / 3, atol=0.03, rtol=0)


def test_half_precision_embeddings_are_reduced_in_float32_also_under_autocast() -> None:
    z, directions = embeddings(2, 16, 4).detach().bfloat16(), axes(4, 8).float()
    expected = sigreg_loss(z.float(), directions).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = sigreg_loss(z, directions).total
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, expected, rtol=0, atol=0)


@pytest.mark.parametrize("value", [0.0, 3.0, 1e6])
def test_collapse_gives_finite_values_and_gradients(value: float) -> None:
    z = torch.full((2, 6, 4), value, requires_grad=True)
    total = sigreg_loss(z, axes(4, 8).float()).total
    assert torch.isfinite(total)
    assert torch.isfinite(torch.autograd.grad(total, z)[0]).all()


def test_the_module_takes_any_number_of_views_and_gradients_reach_backbone_and_head() -> None:
    torch.manual_seed(0)
    backbone = nn.Linear(6, 4)
    method = sigreg(backbone, HeadSpec("5-3"), 4, sigreg_weight=0.3, num_directions=7)
    views = [torch.randn(8, 6) for _ in range(3)]
    torch.manual_seed(1)
    terms = method(views)
    torch.manual_seed(1)
    directions = random_directions(3, 7, device=CPU)
    z = torch.stack([method.projector(method.backbone(view)) for view in views])
    torch.testing.assert_close(terms.total, sigreg_loss(z, directions, sigreg_weight=0.3).total)
    assert set(terms.parts) == {"sigreg", "invariance"}
    terms.total.backward()
    assert all(p.grad is not None for p in method.parameters())
    assert backbone.weight.grad is not None
    assert backbone.weight.grad.abs().max() > 0


@pytest.mark.usefixtures("as_users_call_it")
def test_errors_name_the_argument_what_came_and_what_was_wanted() -> None:
    z, directions = torch.randn(2, 4, 3), torch.randn(3, 5)
    with pytest.raises(ValueError, match=r"z: got shape \(1, 4, 3\), wanted \(V, N, D\) with at least 2 views"):
        sigreg_loss(z[:1], directions)
    with pytest.raises(ValueError, match=r"directions: got shape \(5, 3\), wanted \(3, M\)"):
        sigreg_loss(z, directions.T)
    with pytest.raises(ValueError, match=r"sigreg_weight: got 1\.5, wanted a number from 0 to 1"):
        sigreg_loss(z, directions, sigreg_weight=1.5)
    with pytest.raises(ValueError, match="num_directions: got 0, wanted at least 1"):
        SIGReg(nn.Identity(), nn.Identity(), num_directions=0)
    with pytest.raises(ValueError, match="views: got 1, wanted 2 or more"):
        SIGReg(nn.Identity(), nn.Identity())([torch.zeros(4, 2)])
