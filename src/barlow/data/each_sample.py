"""A transform of one sample at a time, as torchvision and its kin have them, as a view that can be replayed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from barlow.data.order import generators_restored, seed_generators
from barlow.seams import Params

LARGEST_SEED = 2**62
WHOLE = (
    "{} is one transform to an audit, which cannot tell its parts apart nor make them stronger: their single effects "
    "and strengths are not among the figures"
)
UNREPLAYABLE = (
    "{} draws from a generator of its own, which no seed reaches: the same parameters give another view each time. A "
    "run that goes on is not that without a stop, and an audit leaves out what single augmentations do, for which it "
    "has to hold views and change a part"
)


@dataclass(frozen=True)
class EachSample:
    """A `View` that calls `transform` on one sample after the other, which is far slower than a batched view.

    What the transform draws from the global generators of Python, NumPy and torch follows from a seed for each sample,
    so the view can be drawn again. To an audit the whole of it is one transform.

    Attributes:
        transform: from one sample to one view of it.
        plain: from a batch to what is seen without the transform; None: the batch as it is.
        replayable: whether the same seeds gave the same view when it was tried.
    """

    transform: Callable[[Any], Any]
    plain: Callable[[Any], Any] | None = None
    replayable: bool = True

    @property
    def limits(self) -> str:
        """What an audit cannot do with it."""
        name = type(foreign_part(self.transform)).__name__
        return (WHOLE if self.replayable else UNREPLAYABLE).format(name)

    def sample(self, batch: Any, generator: torch.Generator) -> Params:
        """Draw a seed for each sample."""
        return {"transform": {"seed": torch.randint(LARGEST_SEED, (len(batch),), generator=generator)}}

    def apply(self, batch: Any, params: Params) -> Any:
        """Return the transformed samples, as one tensor where their sizes agree; without seeds what is plain."""
        if "transform" not in params:
            return batch if self.plain is None else self.plain(batch)
        made: list[Tensor] = []
        with generators_restored():
            for sample, seed in zip(batch, params["transform"]["seed"].tolist(), strict=True):
                seed_generators(seed)
                made.append(self._transformed(sample))
        return torch.stack(made) if len({one.shape for one in made}) == 1 else made

    def _transformed(self, sample: Any) -> Tensor:
        who = f"views: {type(foreign_part(self.transform)).__name__}"
        came = f"a {sample.dtype} tensor {tuple(sample.shape)}" if isinstance(sample, Tensor) else type(sample).__name__
        try:
            made = self.transform(sample)
        except Exception as error:  # anybody's code
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            pillow = " (one for Pillow images needs v2.ToPILImage() before it)" * ("PIL" in reason)
            raise ValueError(f"{who} fails on {came}: {reason}; wanted a transform of one sample{pillow}") from error
        if isinstance(made, (list, tuple)):
            raise ValueError(
                f"{who} makes {len(made)} views of a sample, wanted one: views=(transform_a, transform_b), or one "
                "transform alone for both"
            )
        if not isinstance(made, Tensor) or not made.is_floating_point():
            gave = made.dtype if isinstance(made, Tensor) else type(made).__name__
            raise ValueError(
                f"{who} gives {gave}, wanted a tensor of floats, as the network takes: end it with "
                "v2.ToImage(), v2.ToDtype(torch.float32, scale=True)"
            )
        return made.as_subclass(Tensor)


def foreign_part(transform: Any) -> Any:
    """Return what the user gave, inside what reads another library's results."""
    return getattr(transform, "foreign", transform)
