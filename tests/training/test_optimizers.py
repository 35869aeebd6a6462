"""Optimizers: the published step by hand, what is excluded from it, and how wrong arguments are answered."""

import math
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import nn

from barlow.training.optimizers import LARS, build_optimizer
from barlow.training.plan import set_learning_rate

TRUST = 0.001
WEIGHT = [3.0, -4.0]
GRADIENTS = [[0.6, 0.1], [-0.2, 0.5]]


def adapted(weight: list[float], gradient: list[float], decay: float) -> list[float]:
    """The Barlow Twins repository's update of a weight before momentum, in plain Python."""
    update = [g + decay * w for w, g in zip(weight, gradient, strict=True)]
    lengths = math.hypot(*weight), math.hypot(*update)
    ratio = TRUST * lengths[0] / lengths[1] if min(lengths) > 0 else 1.0
    return [ratio * u for u in update]


class TwoParameters(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([WEIGHT], dtype=torch.float64))
        self.bias = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))

    def receive(self, weight_gradient: list[float], bias_gradient: float) -> None:
        self.weight.grad = torch.tensor([weight_gradient], dtype=torch.float64)
        self.bias.grad = torch.tensor([bias_gradient], dtype=torch.float64)


def lars(method: nn.Module, **numbers: float) -> torch.optim.Optimizer:
    arguments: dict[str, Any] = {"learning_rate": 0.2, "momentum": 0.9, "weight_decay": 0.1, **numbers}
    return build_optimizer(method, name="lars", **arguments)


def values(parameter: torch.Tensor) -> list[float]:
    return [float(value) for value in parameter.detach().flatten()]


def exactly(expected: list[float]) -> Any:
    return pytest.approx(expected, rel=1e-14, abs=0.0)


def test_the_first_lars_step_equals_the_published_one_by_hand() -> None:
    method = TwoParameters()
    optimizer = lars(method, bias_learning_rate=0.0048)
    method.receive(GRADIENTS[0], 0.7)
    optimizer.step()
    update = adapted(WEIGHT, GRADIENTS[0], decay=0.1)
    assert values(method.weight) == exactly([w - 0.2 * u for w, u in zip(WEIGHT, update, strict=True)])
    assert values(method.bias) == exactly([2.0 - 0.0048 * 0.7])


def test_the_second_lars_step_keeps_the_learning_rate_outside_the_momentum() -> None:
    method = TwoParameters()
    optimizer = lars(method, bias_learning_rate=0.0048)
    method.receive(GRADIENTS[0], 0.7)
    optimizer.step()
    set_learning_rate(optimizer, 0.5)
    method.receive(GRADIENTS[1], -0.3)
    optimizer.step()

    first = adapted(WEIGHT, GRADIENTS[0], decay=0.1)
    weight = [w - 0.2 * u for w, u in zip(WEIGHT, first, strict=True)]
    second = adapted(weight, GRADIENTS[1], decay=0.1)
    momentum = [0.9 * a + b for a, b in zip(first, second, strict=True)]
    assert values(method.weight) == exactly([w - 0.1 * m for w, m in zip(weight, momentum, strict=True)])
    assert values(method.bias) == exactly([2.0 - 0.0048 * 0.7 - 0.0024 * (0.9 * 0.7 - 0.3)])


def by_solo_learn(weight: list[float], gradient: list[float], lr: float, trust: float, decay: float) -> list[float]:
    """The first step as its code takes it, but for our denominator |g + decay p|."""
    update = [g + decay * w for g, w in zip(gradient, weight, strict=True)]
    ratio = min(trust * math.hypot(*weight) / math.hypot(*update) / lr, 1.0)
    return [w - lr * ratio * u for w, u in zip(weight, update, strict=True)]


@pytest.mark.parametrize("trust", [0.02, 100.0])
def test_a_clipped_lars_step_is_the_shorter_of_two(trust: float) -> None:
    """The adapted one of length trust |p|, and that of plain SGD, which the larger trust leads to."""
    method = TwoParameters()
    optimizer = lars(method, lars_trust=trust, lars_clip=True)
    method.receive(GRADIENTS[0], 0.7)
    optimizer.step()
    wanted = by_solo_learn(WEIGHT, GRADIENTS[0], 0.2, trust, 0.1)
    assert values(method.weight) == exactly(wanted)
    length = math.dist(wanted, WEIGHT)
    update = [g + 0.1 * w for g, w in zip(GRADIENTS[0], WEIGHT, strict=True)]
    assert length == pytest.approx(min(trust * math.hypot(*WEIGHT), 0.2 * math.hypot(*update)))
    assert values(method.bias) == exactly([2.0 - 0.2 * 0.7])


@pytest.mark.parametrize("trust", [0.02, 100.0])
def test_a_scaled_loss_takes_the_clipped_steps_of_another_rate_and_decay(trust: float) -> None:
    scaled, whole = TwoParameters(), TwoParameters()
    scaled.receive([0.1 * g for g in GRADIENTS[0]], 0.07)
    whole.receive(GRADIENTS[0], 0.7)
    lars(scaled, lars_trust=trust, lars_clip=True, learning_rate=0.3, weight_decay=1e-4).step()
    lars(whole, lars_trust=trust, lars_clip=True, learning_rate=0.03, weight_decay=1e-3).step()
    assert values(scaled.weight) == pytest.approx(values(whole.weight), rel=1e-12)
    assert values(scaled.bias) == pytest.approx(values(whole.bias), rel=1e-12)


def test_timms_lars_takes_another_step_which_is_why_there_is_one_of_ours() -> None:
    ours, theirs = TwoParameters(), TwoParameters()
    for method in (ours, theirs):
        method.receive(GRADIENTS[0], 0.0)
    lars(ours, weight_decay=0.1).step()
    timm_lars: Any = import_module("timm.optim").Lars
    timm_lars([theirs.weight], lr=0.2, momentum=0.9, weight_decay=0.1, trust_coeff=TRUST).step()
    moved = (ours.weight - theirs.weight).abs().max()
    assert moved > 1e-5, "timm's step is the published one by now: use it and delete ours"


@pytest.mark.parametrize(("weight", "gradient"), [([0.0, 0.0], [0.6, 0.1]), ([3.0, -4.0], [-1.5, 2.0])])
def test_a_zero_weight_or_a_zero_update_is_not_adapted_and_stays_finite(
    weight: list[float], gradient: list[float]
) -> None:
    parameter = nn.Parameter(torch.tensor([weight], dtype=torch.float64))
    parameter.grad = torch.tensor([gradient], dtype=torch.float64)
    LARS([parameter], lr=0.2, weight_decay=0.5).step()
    update = [g + 0.5 * w for w, g in zip(weight, gradient, strict=True)]
    torch.testing.assert_close(
        parameter.detach(),
        torch.tensor([[w - 0.2 * u for w, u in zip(weight, update, strict=True)]], dtype=torch.float64),
    )


def test_lars_adapts_without_weight_decay_too() -> None:
    method = TwoParameters()
    method.receive(GRADIENTS[0], 0.0)
    lars(method, weight_decay=0.0).step()
    step = method.weight.detach() - torch.tensor([WEIGHT], dtype=torch.float64)
    assert float(step.norm()) == pytest.approx(0.2 * TRUST * 5.0, rel=1e-12)


def test_a_lars_step_leaves_the_gradient_as_it_was() -> None:
    method = TwoParameters()
    method.receive(GRADIENTS[0], 0.7)
    lars(method).step()
    assert method.weight.grad is not None
    assert values(method.weight.grad) == exactly(GRADIENTS[0])


def test_lars_calls_a_closure_once_with_gradients_enabled_and_returns_its_loss() -> None:
    parameter = nn.Parameter(torch.ones(1, 2))
    calls = []

    def closure() -> float:
        loss = parameter.square().sum()
        loss.backward()
        calls.append(loss.requires_grad)
        return float(loss.detach())

    assert LARS([parameter], lr=0.1).step(closure) == 2.0
    assert calls == [True]


@pytest.mark.parametrize("name", ["adamw", "adam", "lars", "sgd"])
def test_biases_and_norms_have_their_own_group_without_weight_decay(name: Any) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    optimizer = build_optimizer(
        network, name=name, learning_rate=0.2, bias_learning_rate=0.0048, momentum=0.9, weight_decay=1e-6
    )
    weights, biases = optimizer.param_groups
    assert [p.ndim for p in weights["params"]] == [4, 2]
    assert [p.ndim for p in biases["params"]] == [1, 1, 1, 1]
    assert (weights["weight_decay"], biases["weight_decay"]) == (1e-6, 0.0)
    assert (weights["peak"], biases["peak"]) == (0.2, 0.0048)
    assert (weights["lr"], biases["lr"]) == (0.2, 0.0048)
    assert name != "lars" or (weights["adapt"], biases["adapt"]) == (True, False)


@pytest.mark.parametrize("name", ["adamw", "adam", "lars", "sgd"])
def test_biases_decay_as_weights_do_where_a_recipe_says_so(name: Any) -> None:
    optimizer = build_optimizer(
        TwoParameters(), name=name, learning_rate=0.2, momentum=0.9, weight_decay=0.1, exclude_biases=False
    )
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.1]


def test_under_lars_an_included_bias_takes_an_adapted_step_as_a_weight_does() -> None:
    """SwAV's LARC adapts parameters of any shape."""
    method = TwoParameters()
    optimizer = build_optimizer(
        method, name="lars", learning_rate=0.2, momentum=0.9, weight_decay=0.1, exclude_biases=False
    )
    method.receive(GRADIENTS[0], 0.7)
    optimizer.step()
    assert values(method.bias) == exactly([2.0 - 0.2 * adapted([2.0], [0.7], decay=0.1)[0]])


def test_the_decay_of_adam_is_part_of_the_gradient() -> None:
    """The first step of Adam is lr * sign(g + decay * p): a decay larger than the gradient turns it round."""
    method = TwoParameters()
    optimizer = build_optimizer(method, name="adam", learning_rate=0.2, momentum=0.9, weight_decay=1.0)
    method.receive([-0.6, 0.6], 0.7)
    optimizer.step()
    assert method.weight.detach().flatten().tolist() == pytest.approx([3.0 - 0.2, -4.0 + 0.2], abs=1e-6)
    assert method.bias.item() == pytest.approx(2.0 - 0.2, abs=1e-6)


def test_a_constant_part_keeps_its_learning_rate_while_the_rest_follows_the_schedule() -> None:
    method = nn.ModuleDict({"backbone": nn.Linear(2, 2), "predictor": nn.Linear(2, 2), "predictor_2": nn.Linear(2, 2)})
    optimizer = build_optimizer(
        method, name="sgd", learning_rate=0.2, momentum=0.9, weight_decay=0.1, constant_part="predictor"
    )
    set_learning_rate(optimizer, 0.5)
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    assert {name: rates[id(parameter)] for name, parameter in method.named_parameters()} == {
        "backbone.weight": 0.1, "backbone.bias": 0.1,
        "predictor.weight": 0.2, "predictor.bias": 0.2,
        "predictor_2.weight": 0.1, "predictor_2.bias": 0.1,
    }  # fmt: skip


def test_a_constant_part_that_is_not_there_is_refused_with_those_that_are() -> None:
    method = nn.ModuleDict({"backbone": nn.Linear(2, 2), "predictor": nn.Linear(2, 2)})
    with pytest.raises(ValueError, match=r"constant_part: got 'predicter', wanted one of backbone, predictor; did you"):
        build_optimizer(
            method, name="sgd", learning_rate=0.2, momentum=0.9, weight_decay=0.1, constant_part="predicter"
        )


def test_a_bias_learning_rate_of_zero_means_that_of_the_weights() -> None:
    groups = lars(TwoParameters(), bias_learning_rate=0.0).param_groups
    assert [group["peak"] for group in groups] == [0.2, 0.2]


def test_frozen_parameters_are_left_out_and_an_empty_group_is_not_made() -> None:
    method = TwoParameters()
    method.weight.requires_grad_(False)
    optimizer = lars(method)
    assert [group["params"] for group in optimizer.param_groups] == [[method.bias]]
    assert not optimizer.param_groups[0]["adapt"]


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_a_fused_step_equals_the_plain_one(name: Any) -> None:
    methods = TwoParameters(), TwoParameters()
    for method, fused in zip(methods, (False, True), strict=True):
        optimizer = build_optimizer(method, name=name, learning_rate=0.01, momentum=0.9, weight_decay=0.1, fused=fused)
        assert optimizer.defaults["fused"] is fused
        for gradient in GRADIENTS:
            method.receive(gradient, 0.7)
            optimizer.step()
    torch.testing.assert_close(methods[1].weight, methods[0].weight, rtol=1e-14, atol=0)
    assert not torch.equal(methods[0].weight, TwoParameters().weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "adanw"}, r"optimizer: got 'adanw', wanted one of adamw, adam, lars, sgd; did you mean 'adamw'"),
        ({"learning_rate": 0.0}, r"learning_rate: got 0\.0, wanted a positive number"),
        ({"learning_rate": math.nan}, r"learning_rate: got nan"),
        ({"bias_learning_rate": -1.0}, r"bias_learning_rate: got -1\.0, wanted a number >= 0"),
        ({"momentum": 1.0}, r"momentum: got 1\.0, wanted a number in \[0, 1\)"),
        ({"weight_decay": -0.1}, r"weight_decay: got -0\.1"),
    ],
)
def test_a_wrong_argument_is_named_with_what_was_wanted(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"name": "lars", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.0}
    build: Any = getattr(build_optimizer, "__wrapped__", build_optimizer)  # The type checks of the tests come first.
    with pytest.raises(ValueError, match=message):
        build(TwoParameters(), **{**arguments, **change})


def test_a_module_without_trainable_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="Identity has no parameter that requires a gradient"):
        lars(nn.Identity())
