"""A transform of whole batches of floats, as kornia has them, as a view that can be replayed on the same batch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from barlow.data.each_sample import LARGEST_SEED, UNREPLAYABLE, WHOLE
from barlow.data.order import generators_restored, seed_generators
from barlow.seams import Params


@dataclass(frozen=True)
class EachBatch:
    """A `View` that calls `transform` on a batch (N, C, H, W) of floats from 0 to 1, on its device.

    What it draws from the global generators follows from the seed of the batch's first sample, so that the same batch
    is drawn again to the bit, and a sample in another batch is not. To an audit the whole of it is one transform.

    Attributes:
        transform: from a batch of samples to one view of each.
        plain: from a batch to what is seen without the transform; None: the samples as floats.
        replayable: whether the same seeds gave the same view when it was tried.
    """

    transform: Callable[[Tensor], Tensor]
    plain: Callable[[Any], Any] | None = None
    replayable: bool = True

    @property
    def limits(self) -> str:
        """What an audit cannot do with it."""
        return (WHOLE if self.replayable else UNREPLAYABLE).format(type(self.transform).__name__)

    def sample(self, batch: Any, generator: torch.Generator) -> Params:
        """Draw a seed for each sample, so that any part of a batch has one of its own."""
        return {"transform": {"seed": torch.randint(LARGEST_SEED, (len(batch),), generator=generator)}}

    def apply(self, batch: Any, params: Params) -> Any:
        """Return one view of each sample; without seeds what is plain."""
        if "transform" not in params:
            return self._floats(batch) if self.plain is None else self.plain(batch)
        with generators_restored():
            seed_generators(int(params["transform"]["seed"][0]))
            made = self.transform(self._floats(batch))
        if not isinstance(made, Tensor) or not made.is_floating_point() or len(made) != len(batch):
            raise ValueError(
                f"views: {type(self.transform).__name__} gives {type(made).__name__}, wanted a tensor of floats with a "
                "view of each sample"
            )
        return made

    def _floats(self, batch: Any) -> Tensor:
        sizes = sorted({tuple(one.shape) for one in batch})
        if len(sizes) > 1:
            raise ValueError(
                f"views: {type(self.transform).__name__} takes whole batches, and the samples have {len(sizes)} sizes, "
                f"such as {sizes[0]} and {sizes[-1]}; wanted one size, or a transform of one sample at a time"
            )
        whole = batch if isinstance(batch, Tensor) else torch.stack(list(batch))
        return whole if whole.is_floating_point() else whole.float() / torch.iinfo(whole.dtype).max
