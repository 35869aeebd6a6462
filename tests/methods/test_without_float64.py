"""Losses on devices without float64 (Apple's GPUs): the same values from float32 alone.

None is here, so the CPU is declared one, and every operation is watched.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from barlow.methods.barlow_twins import barlow_twins_loss
from barlow.methods.vicreg import vicreg_loss
from barlow.seams import Terms

LOSSES: dict[str, Callable[[Tensor, Tensor], Terms]] = {
    "barlow twins, direct": lambda z_a, z_b: barlow_twins_loss(z_a, z_b, form="direct"),
    "barlow twins, gram": lambda z_a, z_b: barlow_twins_loss(z_a, z_b, form="gram"),
    "barlow twins, unbiased": lambda z_a, z_b: barlow_twins_loss(z_a, z_b, bias="removed"),
    "vicreg, direct": lambda z_a, z_b: vicreg_loss(z_a, z_b, form="direct"),
    "vicreg, gram": lambda z_a, z_b: vicreg_loss(z_a, z_b, form="gram"),
}


class NoFloat64(TorchDispatchMode):
    """Refuses every operation that makes a tensor of float64."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, (tuple, list)) else [made]:
            assert not (isinstance(one, Tensor) and one.dtype == torch.float64), f"{func} made float64"
        return made


@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_come_from_float32_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    z_a = torch.randn(40, 30, generator=generator)
    z_b = (z_a + torch.randn(40, 30, generator=generator)).requires_grad_()
    total = LOSSES[name](z_a, z_b).total
    expected = torch.autograd.grad(total, z_b)[0]
    monkeypatch.setattr("barlow.statistics.correlation.NO_FLOAT64", ("cpu",))
    with NoFloat64():
        narrow = LOSSES[name](z_a, z_b).total
        gradient = torch.autograd.grad(narrow, z_b)[0]
    torch.testing.assert_close(narrow, total, rtol=1e-5, atol=0)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)
