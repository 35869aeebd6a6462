"""BYOL against a loop over samples, its slow copy of the network, and what of it a checkpoint has to keep."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from barlow.methods.byol import BYOL, byol, byol_loss, momentum_at
from barlow.methods.heads import HeadSpec
from barlow.methods.simsiam import simsiam_loss
from barlow.training.optimizers import build_optimizer


def outputs(n: int, d: int, *, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """p_a, z_b, p_b, z_a in float64."""
    generator = torch.Generator().manual_seed(seed)
    p_a, z_b, p_b, z_a = torch.randn(4, n, d, generator=generator, dtype=torch.float64) + 0.3
    return p_a.requires_grad_(), z_b.requires_grad_(), p_b.requires_grad_(), z_a.requires_grad_()


def naive_loss(p_a: Tensor, z_b: Tensor, p_b: Tensor, z_a: Tensor) -> Tensor:
    """Squared distances of normalised vectors, entry by entry (equation 2 of the paper, both directions)."""
    n, d = p_a.shape
    total = torch.zeros((), dtype=p_a.dtype)
    for k in range(n):
        for p, z in ((p_a[k], z_b[k].detach()), (p_b[k], z_a[k].detach())):
            p_length, z_length = (p**2).sum().sqrt(), (z**2).sum().sqrt()
            for i in range(d):
                total = total + (p[i] / p_length - z[i] / z_length) ** 2
    return total / n


@pytest.mark.parametrize(("n", "d"), [(1, 3), (7, 4), (4, 16)])
def test_equals_the_squared_distances_of_the_paper_in_value_and_gradient(n: int, d: int) -> None:
    p_a, z_b, p_b, z_a = outputs(n, d)
    terms = byol_loss(p_a, z_b, p_b, z_a)
    expected = naive_loss(p_a, z_b, p_b, z_a)
    torch.testing.assert_close(terms.total, expected, rtol=1e-12, atol=1e-12)
    ours, theirs = torch.autograd.grad(terms.total, (p_a, p_b)), torch.autograd.grad(expected, (p_a, p_b))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(terms.parts["a_to_b"] + terms.parts["b_to_a"], terms.total)


def test_gradcheck() -> None:
    p_a, z_b, p_b, z_a = outputs(5, 4)
    assert torch.autograd.gradcheck(lambda a, b: byol_loss(a, z_b.detach(), b, z_a.detach()).total, (p_a, p_b))


def test_no_gradient_goes_into_the_targets() -> None:
    p_a, z_b, p_b, z_a = outputs(5, 4)
    total = byol_loss(p_a, z_b, p_b, z_a).total
    assert not any(torch.is_tensor(g) for g in torch.autograd.grad(total, (z_a, z_b), allow_unused=True))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), n=st.integers(1, 12), d=st.integers(2, 8))
def test_lies_between_zero_and_eight_and_is_four_times_one_plus_simsiam(seed: int, n: int, d: int) -> None:
    args = outputs(n, d, seed=seed)
    loss = byol_loss(*args).total
    assert 0 <= loss <= 8
    torch.testing.assert_close(loss, 4 + 4 * simsiam_loss(*args).total)


def test_is_zero_where_all_predictions_are_right_and_eight_where_all_are_opposite() -> None:
    _, z_b, _, z_a = outputs(5, 4)
    assert abs(byol_loss(z_b * 2, z_b, z_a, z_a).total.item()) < 1e-12
    torch.testing.assert_close(byol_loss(-z_b, z_b, -z_a, z_a).total.item(), 8.0)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_collapse_gives_finite_values_and_gradients_and_shows(value: float) -> None:
    p = torch.full((4, 3), value, requires_grad=True)
    terms = byol_loss(p, p * 1, p, p * 1)
    (gradient,) = torch.autograd.grad(terms.total, p)
    assert torch.isfinite(terms.total)
    assert torch.isfinite(gradient).all()
    assert terms.parts["embedding_std"] < 1e-6


def test_half_precision_is_compared_in_float32_also_under_autocast() -> None:
    args = tuple(x.detach().to(torch.bfloat16) for x in outputs(16, 8))
    expected = byol_loss(*(x.float() for x in args)).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = byol_loss(*args).total
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, expected, rtol=0, atol=0)


def test_unequal_shards_are_weighted_by_their_sizes() -> None:
    """The mean over processes is asked for the mean of the shard together with its size."""
    args, asked = outputs(8, 4), []

    def all_mean(local: Tensor, count: int) -> Tensor:
        asked.append(count)
        return local

    sizes = (3, 5)
    shards = [byol_loss(*part, all_mean=all_mean).total for part in zip(*(x.split(sizes) for x in args), strict=True)]
    assert set(asked) == set(sizes)
    torch.testing.assert_close((3 * shards[0] + 5 * shards[1]) / 8, byol_loss(*args).total)


def test_the_momentum_goes_from_its_start_to_one_by_the_cosine() -> None:
    assert momentum_at(0.0, 0.9) == pytest.approx(0.9)
    assert momentum_at(0.5, 0.9) == pytest.approx(0.95)
    assert momentum_at(1.0, 0.9) == pytest.approx(1.0)
    assert momentum_at(1 / 3, 0.9) == pytest.approx(1 - 0.1 * 0.75)


def method_of(**options: float) -> BYOL:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5))
    return byol(backbone, HeadSpec("7-4", bias=True), 5, **({"predictor_width": 6} | options))  # type: ignore[arg-type]


def views_of(seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return list(torch.randn(2, 8, 6, generator=generator))


def step(method: BYOL, optimizer: torch.optim.Optimizer, index: int, *, epochs: int = 4) -> None:
    """One step as the loop takes it."""
    method.train()
    method.start_step(index / 2, epochs)
    method(views_of(index)).total.backward()
    method.after_backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    method.after_step()


def optimizer_of(method: BYOL) -> torch.optim.Optimizer:
    return build_optimizer(method, name="sgd", learning_rate=0.1, momentum=0.9, weight_decay=0.0)


def test_the_heads_are_those_of_the_official_code() -> None:
    method = method_of()
    for head, widths in ((method.projector, (5, 7, 4)), (method.predictor, (4, 6, 4))):
        layers = list(head.children())
        assert [type(layer) for layer in layers] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
        shapes = {name: tuple(p.shape) for name, p in head.named_parameters() if not name.startswith("1.")}
        inputs, hidden, width = widths
        assert shapes == {"0.weight": (hidden, inputs), "0.bias": (hidden,), "3.weight": (width, hidden)}


def test_the_module_predicts_what_the_target_network_sees_in_the_other_view() -> None:
    method = method_of()
    with torch.no_grad():
        for xi in method.target.parameters():
            xi.mul_(0.5).add_(0.1)
    views = views_of()
    terms = method(views)
    p_a, p_b = (method.predictor(method.projector(method.backbone(view))) for view in views)
    z_a, z_b = (method.target["projector"](method.target["backbone"](view)) for view in views)
    torch.testing.assert_close(terms.total, byol_loss(p_a, z_b, p_b, z_a).total)
    assert list(terms.parts) == ["a_to_b", "b_to_a", "embedding_std"]
    torch.testing.assert_close(method.represent(views[0]), method.backbone(views[0]))


def test_gradients_reach_the_online_network_and_never_the_target() -> None:
    method = method_of()
    method(views_of()).total.backward()
    online = [p for part in (method.backbone, method.projector, method.predictor) for p in part.parameters()]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in online if p.ndim > 1)
    assert all(p.grad is None and not p.requires_grad for p in method.target.parameters())
    held = {id(p) for group in optimizer_of(method).param_groups for p in group["params"]}
    assert held == {id(p) for p in online}


def test_the_target_starts_as_a_copy_that_shares_no_memory_and_changes_only_after_a_step() -> None:
    method = method_of()
    online = nn.ModuleDict({"backbone": method.backbone, "projector": method.projector})
    start = copy.deepcopy(method.target.state_dict())
    torch.testing.assert_close(dict(start), dict(online.state_dict()))
    optimizer = optimizer_of(method)
    method.start_step(0.0, 4)
    method(views_of()).total.backward()
    optimizer.step()
    for name, xi in method.target.named_parameters():
        torch.testing.assert_close(xi, start[name], rtol=0, atol=0)
    method.after_step()
    assert any((xi - start[name]).abs().max() > 0 for name, xi in method.target.named_parameters())


def test_the_target_follows_the_online_network_geometrically() -> None:
    """With the online network held still, after k steps the target keeps tau^k of where it was."""
    method = method_of(momentum=0.9)
    weight, target = next(method.backbone.parameters()), next(method.target["backbone"].parameters())
    start = target.clone()
    with torch.no_grad():
        weight.add_(1.0)
    method.tau = 0.9
    for _ in range(7):
        method.after_step()
    torch.testing.assert_close(target, weight - 0.9**7, rtol=1e-5, atol=1e-6)
    assert not torch.equal(start, target)


def test_start_step_sets_tau_by_the_share_of_the_run_that_is_done() -> None:
    method = method_of(momentum=0.9)
    weight, target = next(method.backbone.parameters()), next(method.target["backbone"].parameters())
    with torch.no_grad():
        weight.add_(1.0)
    method.start_step(1.5, 3)
    before = target.clone()
    method.after_step()
    torch.testing.assert_close(target, before + 0.05)
    method.start_step(3.0, 3)
    before = target.clone()
    method.after_step()
    torch.testing.assert_close(target, before, rtol=0, atol=0)


def test_the_norms_of_the_target_use_the_batch_and_count_statistics_of_their_own() -> None:
    method = method_of(momentum=1.0)
    optimizer = optimizer_of(method)
    for index in range(3):
        step(method, optimizer, index)
    assert all(module.training for module in method.target.modules())
    counted, online = dict(method.target.named_buffers()), dict(method.named_buffers())
    assert int(counted["backbone.1.num_batches_tracked"]) == 6  # two views in each of three steps
    assert (counted["backbone.1.running_mean"] - online["backbone.1.running_mean"]).abs().max() > 1e-4


def test_a_run_resumed_from_its_state_goes_on_to_the_same_numbers() -> None:
    straight = method_of(momentum=0.8)
    optimizer = optimizer_of(straight)
    for index in range(6):
        step(straight, optimizer, index)
    first = method_of(momentum=0.8)
    optimizer = optimizer_of(first)
    for index in range(3):
        step(first, optimizer, index)
    second = method_of(momentum=0.8)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    resumed = optimizer_of(second)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for index in range(3, 6):
        step(second, resumed, index)
    torch.testing.assert_close(dict(second.state_dict()), dict(straight.state_dict()), rtol=0, atol=0)
    assert any(name.startswith("target.backbone") for name in straight.state_dict())


@pytest.mark.parametrize("views", [1, 3])
def test_the_module_wants_two_views(views: int) -> None:
    with pytest.raises(ValueError, match=f"views: got {views}, wanted 2"):
        method_of()([torch.zeros(4, 6)] * views)


@pytest.mark.usefixtures("as_users_call_it")
def test_errors_name_the_argument_what_came_and_what_was_wanted() -> None:
    z = torch.randn(4, 3)
    with pytest.raises(ValueError, match=r"\(4, 3\), \(5, 3\), \(4, 3\), \(4, 3\), wanted"):
        byol_loss(z, torch.randn(5, 3), z, z)
    for momentum in (-0.1, 1.5, math.nan):
        with pytest.raises(ValueError, match=f"momentum: got {momentum}, wanted a number in"):
            method_of(momentum=momentum)
    with pytest.raises(ValueError, match="predictor_width: got 0, wanted at least 1"):
        method_of(predictor_width=0)
