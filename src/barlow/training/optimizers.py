"""Optimizers: groups of parameters, and LARS as the Barlow Twins repository applies it.

Weights (two axes or more) decay and, under LARS, adapt. Biases and norms (at most one axis) do neither, unless a
recipe says so, and may have a learning rate of their own. Each group keeps its highest learning rate as `peak`,
which `plan.py` scales, unless the group is `constant`.
"""

import math
from collections.abc import Callable
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, ParamsT

from barlow.errors import unknown

OptimizerName = Literal["adamw", "adam", "lars", "sgd"]
NAMES = ("adamw", "adam", "lars", "sgd")


class LARS(Optimizer):
    """Layer-wise adaptive learning rates with momentum; the learning rate stays outside the momentum buffer.

    u = g + weight_decay * p;  u <- r u with r = trust * |p| / |u| where the group adapts and both norms are positive;
    m <- momentum * m + u;  p <- p - lr * m.

    With `clip` r = min(trust * |p| / (|u| lr), 1): the step is the shorter one of trust * |p| and lr * |u|, as in
    "LARC" and solo-learn (whose denominator is |g| + weight_decay * |p|, never shorter than ours). A loss times s with
    lr and weight_decay takes the steps of the loss with s lr and weight_decay / s.

    timm's LARS does not serve here: its denominator is |g| + weight_decay * |p|, and it stops adapting when
    the weight decay is zero. torch has none.

    Source: You et al. 2017, "Large batch training of convolutional networks", in the form of the Barlow Twins
    repository (Zbontar et al. 2021, section 4.1 and code).
    """

    def __init__(
        self,
        params: ParamsT,
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
        clip: bool = False,
    ) -> None:
        """Take parameters or groups of them; a group with `adapt=False` takes plain momentum steps.

        `trust` is the length of an adapted update as a fraction of the length of its parameter; with `clip` that of a
        whole step, and the learning rate bounds it.
        """
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust": trust,
            "clip": clip,
            "adapt": True,
        }
        super().__init__(params, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step with the gradients at hand; parameters without one stay as they are."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        update = gradient.add(parameter, alpha=group["weight_decay"])
        if group["adapt"]:
            lengths = torch.linalg.vector_norm(parameter), torch.linalg.vector_norm(update)
            # On the device throughout: asking for the two numbers would make every layer wait for the GPU.
            both = (lengths[0] > 0) & (lengths[1] > 0)
            ratio = torch.where(both, group["trust"] * lengths[0] / lengths[1], torch.ones_like(lengths[0]))
            if group.get("clip") and group["lr"] > 0:  # "clip" is not in the checkpoints of older runs
                ratio = torch.where(both, (ratio / group["lr"]).clamp(max=1.0), ratio)
            update.mul_(ratio)
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer = state["momentum_buffer"].mul_(group["momentum"]).add_(update)
        parameter.add_(buffer, alpha=-group["lr"])


def build_optimizer(
    method: nn.Module,
    *,
    name: OptimizerName,
    learning_rate: float,
    bias_learning_rate: float = 0.0,
    momentum: float,
    lars_trust: float = 0.001,
    lars_clip: bool = False,
    weight_decay: float,
    exclude_biases: bool = True,
    constant_part: str = "",
    fused: bool = False,
) -> Optimizer:
    """Return an optimizer over the parameters of `method` that require a gradient; each group has its `peak` rate.

    Weights have two axes or more, biases and norms at most one; these have a peak of their own, `bias_learning_rate`
    (0: the same), and neither decay nor, under LARS, adapt unless `exclude_biases` is False. "adam" makes the decay
    part of the gradient; Adam and AdamW keep torch's betas, `momentum` is that of LARS and SGD, `lars_trust` and
    `lars_clip` are `trust` and `clip` of LARS. `constant_part` names a
    part of `method`, such as "predictor", whose learning rate stays at its peak. `fused` makes one pass over memory per
    step, several times faster on a CPU: Fabric refuses it together with float16 and gradient clipping, LARS ignores it.

    ValueError: an unknown name, a number out of range, a part that `method` does not have, or nothing to train.
    """
    _check(name, learning_rate, bias_learning_rate, momentum, lars_trust, weight_decay)
    groups: list[dict[str, Any]] = []
    for constant, parameters in _parts(method, constant_part).items():
        weights = [parameter for parameter in parameters if parameter.ndim > 1]
        biases = [parameter for parameter in parameters if parameter.ndim <= 1]
        for members, peak, included in (
            (weights, learning_rate, True),
            (biases, bias_learning_rate or learning_rate, not exclude_biases),
        ):
            decay = weight_decay if included else 0.0
            group = {"params": members, "lr": peak, "peak": peak, "weight_decay": decay}
            groups += [{**group, "adapt": included, "constant": constant}] if members else []
    if name == "lars":
        return LARS(groups, lr=learning_rate, momentum=momentum, trust=lars_trust, clip=lars_clip)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum, fused=fused)
    adam = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    return adam(groups, lr=learning_rate, fused=fused)


def _parts(method: nn.Module, constant_part: str) -> dict[bool, list[nn.Parameter]]:
    """Trainable parameters, those that follow the schedule first, then those that do not."""
    trainable = [(name, parameter) for name, parameter in method.named_parameters() if parameter.requires_grad]
    if not trainable:
        raise ValueError(f"method: {type(method).__name__} has no parameter that requires a gradient; nothing to train")
    parts: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for name, parameter in trainable:
        parts[bool(constant_part) and name.startswith(f"{constant_part}.")].append(parameter)
    if constant_part and not parts[True]:
        known = list(dict.fromkeys(name.partition(".")[0] for name, _ in trainable))
        raise unknown("constant_part", constant_part, known)
    return parts


def _check(
    name: str,
    learning_rate: float,
    bias_learning_rate: float,
    momentum: float,
    lars_trust: float,
    weight_decay: float,
) -> None:
    if name not in NAMES:
        raise unknown("optimizer", name, NAMES)
    wanted = {
        "learning_rate": (learning_rate, 0 < learning_rate < math.inf, "a positive number"),
        "bias_learning_rate": (bias_learning_rate, 0 <= bias_learning_rate < math.inf, "a number >= 0"),
        "momentum": (momentum, 0 <= momentum < 1, "a number in [0, 1)"),
        "lars_trust": (lars_trust, 0 < lars_trust < math.inf, "a positive number"),
        "weight_decay": (weight_decay, 0 <= weight_decay < math.inf, "a number >= 0"),
    }
    for argument, (value, holds, description) in wanted.items():
        if not holds:
            raise ValueError(f"{argument}: got {value}, wanted {description}")
