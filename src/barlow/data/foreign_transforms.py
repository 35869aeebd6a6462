"""Transforms of other libraries as views: whose one is, how it is called and seeded, and what it returns.

torchvision's v2 takes tensors, one sample at a time. albumentations takes `image=` as an array (H, W, C), returns a
dictionary, and has a generator of its own, which is seeded for every sample. kornia takes batches of floats.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from barlow.data.each_batch import EachBatch
from barlow.data.each_sample import EachSample

SEEDS = 2**31 - 1
"""albumentations takes seeds below this."""


def as_view(transform: Callable[[Any], Any]) -> EachSample | EachBatch:
    """Return a transform of any library as a view; one of no library is a function of one sample."""
    if _is_of(transform, "albumentations"):
        return EachSample(Albumentations(transform))
    if _is_of(transform, "kornia") or (
        isinstance(transform, nn.Sequential) and any(_is_of(part, "kornia") for part in transform.modules())
    ):
        return EachBatch(transform)
    return EachSample(transform)


@dataclass(frozen=True)
class Albumentations:
    """One picture (C, H, W) -> the view (C, H, W) that an albumentations pipeline makes of it, in floats.

    Whole numbers that it returns are divided by the white of their format, as torchvision's `scale=True` does.

    Attributes:
        foreign: the pipeline; from 1.4.19 on it is seeded by `set_random_seed`, before that by the global generators.
    """

    foreign: Any

    def __call__(self, picture: Tensor) -> Tensor:
        """Return one view; what is random in it follows from torch's global generator."""
        seed = int(torch.randint(SEEDS, ()))
        if hasattr(self.foreign, "set_random_seed"):
            self.foreign.set_random_seed(seed)
        made = self.foreign(image=np.ascontiguousarray(picture.permute(1, 2, 0).cpu().numpy()))["image"]
        if not isinstance(made, Tensor):
            made = torch.from_numpy(np.ascontiguousarray(made if made.ndim == 3 else made[:, :, None])).permute(2, 0, 1)
        return made if made.is_floating_point() else made.float() / torch.iinfo(made.dtype).max


def _is_of(transform: Any, library: str) -> bool:
    return any(one.__module__.partition(".")[0] == library for one in type(transform).__mro__)
