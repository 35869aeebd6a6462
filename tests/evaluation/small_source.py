"""A source in memory whose bad samples are found when they are read, as those of a folder are."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from barlow.seams import Batch


class SmallSource:
    """Samples by position; those in `unreadable` are left out of every batch."""

    def __init__(self, samples: Tensor, labels: Tensor | None = None, unreadable: Sequence[int] = ()) -> None:
        self.name = "small"
        self.labels = labels
        self.class_names: Sequence[str] = ()
        self.bad: dict[int, str] = {}
        self._samples = samples
        self._unreadable = set(unreadable)

    def __len__(self) -> int:
        return len(self._samples)

    def describe(self, index: int) -> str:
        return str(index)

    def batches(self, order: Sequence[int], batch_size: int) -> Iterator[Batch]:
        for start in range(0, len(order), batch_size):
            asked = list(order[start : start + batch_size])
            self.bad |= {index: "unreadable" for index in asked if index in self._unreadable}
            good = torch.tensor([index for index in asked if index not in self._unreadable], dtype=torch.int64)
            if len(good):
                yield Batch(self._samples[good], good)
