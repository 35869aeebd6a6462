"""The numbers of the loop, as it takes them."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The numbers of the loop; see `Recipe` for what they mean.

    Attributes:
        epochs: passes over the data; the last one may be a part.
        batch_size: samples per step over all processes.
        seed: decides order and views.
        factor: step -> multiple of the peak learning rate.
        clip_norm: largest gradient norm, 0 for none.
        checkpoint_minutes: time between checkpoints; the most that a kill can lose.
        floor: what the loss cannot go below, None where no such number is known.
    """

    epochs: int | float
    batch_size: int
    seed: int
    factor: Callable[[int], float]
    clip_norm: float
    checkpoint_minutes: float
    floor: float | None


def steps_per_epoch(num_samples: int, batch_size: int) -> int:
    """Return the full batches in one pass; the incomplete one is left to the next epoch's other order."""
    return max(1, num_samples // batch_size)


def steps_of(epochs: int | float, per_epoch: int) -> int:
    """Return the steps of so many passes, rounded, at least one."""
    return max(1, round(epochs * per_epoch))
