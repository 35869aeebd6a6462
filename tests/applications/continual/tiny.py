"""A method of a few weights with BatchNorm, views that change something, and pictures."""

from typing import Any

import torch
from torch import Tensor, nn

import barlow
from barlow.data.arrays import ArraySource
from barlow.methods.barlow_twins import barlow_twins
from barlow.methods.heads import HeadSpec
from barlow.seams import Method, Params, Views


class Noise:
    """A view that adds what it draws."""

    def sample(self, batch: Any, generator: torch.Generator) -> Params:
        return {"noise": {"amount": 0.3 * torch.randn(len(batch), 6, generator=generator)}}

    def apply(self, batch: Any, params: Params) -> Tensor:
        plain: Tensor = batch.float()
        return plain + params["noise"]["amount"] if "noise" in params else plain


VIEWS = Views((Noise(), Noise()), plain=lambda batch: batch.float())


def method(seed: int = 0) -> Method:
    torch.manual_seed(seed)
    backbone = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU())
    return barlow_twins(backbone, HeadSpec("4-3"), 5)


def source(number: int = 40, *, seed: int = 0, labelled: bool = False) -> ArraySource:
    generator = torch.Generator().manual_seed(seed)
    labels: Any = (torch.arange(number) % 2).tolist() if labelled else None
    samples = torch.randn(number, 6, generator=generator)
    return ArraySource(samples, name=f"tiny-{seed}", **({"labels": labels} if labelled else {}))


PICTURES: dict[str, Any] = {
    "backbone": "resnet10", "width": 2, "projector": "8-8", "batch_size": 16, "epochs": 2, "image_size": 12,
    "precision": "32-true", "learning_rate": 1e-2,
}  # fmt: skip
QUIET = barlow.Machine(accelerator="cpu", quiet=True)


def pictures(seed: int, number: int = 60, *, labelled: bool = False) -> ArraySource:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, 256, (number, 3, 12, 12), generator=generator).to(torch.uint8)
    labels: Any = {"labels": (torch.arange(number) % 2).tolist()} if labelled else {}
    return ArraySource(drawn // (1 + seed), name=f"pictures-{seed}", **labels)
