"""A pipeline of one parameter, for samples that are no pictures."""

import torch
from torch import Tensor

from barlow.seams import Params


class Shift:
    """A view that adds a number to every pixel."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def sample(self, batch: Tensor, generator: torch.Generator) -> Params:
        return {"shift": {"value": self.scale * torch.randn(len(batch), 1, generator=generator)}}

    def apply(self, batch: Tensor, params: Params) -> Tensor:
        return batch + params["shift"]["value"] if "shift" in params else batch
