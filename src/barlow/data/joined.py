"""Several sources one behind the other as one: batches mix their samples, in the order asked for."""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from barlow.data.order import Computed, batches_of
from barlow.seams import Batch, Source, seeded_batches


class JoinedSource:
    """A `Source` of all samples of several others, those of the first one first; it has no labels.

    Samples are tensors, or lists of one tensor per sample where sizes differ; a batch is a list where those that come
    together differ. What is random in a sample follows from the seed and its position in its own source.

    Attributes:
        name: what to call the whole.
        parts: the sources; the same one may be there twice.
        labels: None: numbers of classes mean other things in other data.
        bad: reason by position of every sample that was asked for and could not be read.
        reading: facts about how the samples of the first one were read.
    """

    labels: Tensor | None = None
    class_names: Sequence[str] = ()

    def __init__(self, parts: Sequence[Source], name: str) -> None:
        if not parts:
            raise ValueError("parts: got none, wanted one or more sources")
        self.name, self.parts = name, list(parts)
        self.reading: Any = getattr(parts[0], "reading", {})
        self._starts = [0, *accumulate(len(part) for part in parts)]
        self.bad: dict[int, str] = {}
        self._take_over_bad()

    def __len__(self) -> int:
        """Return the number of samples, bad ones included."""
        return self._starts[-1]

    def describe(self, index: int) -> str:
        """Return what its own source calls sample `index`."""
        number, place = self._place(index)
        return self.parts[number].describe(place)

    def batches(self, order: Sequence[int], batch_size: int) -> Iterator[Batch]:
        """Yield the samples of `order` in that order, the bad ones left out."""
        return self._batches(order, batch_size, lambda part, places: part.batches(places, batch_size))

    def seeded_batches(self, order: Sequence[int], batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield the same; what the sources draw at random follows from `seed`."""
        return self._batches(order, batch_size, lambda part, places: seeded_batches(part, places, batch_size, seed))

    def _take_over_bad(self) -> None:
        for start, part in zip(self._starts, self.parts, strict=False):
            self.bad.update({start + place: reason for place, reason in part.bad.items()})

    def _place(self, index: int) -> tuple[int, int]:
        """Which part a position is in, and where in it."""
        number = bisect_right(self._starts, index) - 1
        return number, index - self._starts[number]

    def _batches(
        self, order: Sequence[int], batch_size: int, read: Callable[[Source, Sequence[int]], Iterator[Batch]]
    ) -> Iterator[Batch]:
        chunks = batches_of(order, batch_size, len(self))
        of_part = [array("q") for _ in self.parts]  # eight bytes a sample, whatever the order is made of
        for number, place in (self._place(index) for chunk in chunks for index in chunk):
            of_part[number].append(place)
        streams = [
            _Samples(read(part, _looked_up(np.asarray(some)))) for part, some in zip(self.parts, of_part, strict=True)
        ]
        for chunk in chunks:
            found = [
                (index, sample)
                for index in chunk
                if (sample := streams[(pair := self._place(index))[0]].take(pair[1])) is not None
            ]
            if len(found) < len(chunk):
                self._take_over_bad()
            if found:
                samples = [sample for _, sample in found]
                alike = len({sample.shape for sample in samples}) == 1
                yield Batch(torch.stack(samples) if alike else samples, torch.tensor([index for index, _ in found]))


def _looked_up(numbers: npt.NDArray[Any]) -> Computed:
    """Places as an order that hands them out as they are asked for."""
    within = (int(numbers.min()), int(numbers.max())) if len(numbers) else (0, 0)
    return Computed(len(numbers), within, lambda start, stop: numbers[start:stop])


class _Samples:
    """Single samples out of the batches of one part, in the order in which they were asked for."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._pairs = (
            (int(place), s) for batch in batches for place, s in zip(batch.indices, batch.samples, strict=True)
        )
        self._next = next(self._pairs, None)

    def take(self, place: int) -> Tensor | None:
        """Return the sample at a place; None for one that could not be read, which its source leaves out."""
        if self._next is None or self._next[0] != place:
            return None
        sample: Tensor = self._next[1]
        self._next = next(self._pairs, None)
        return sample
