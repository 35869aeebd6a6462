"""A small data set is read once and stays in memory; where reading it takes long, training begins meanwhile."""

import os
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch import Tensor

from barlow.data.arrays import ArraySource, taken
from barlow.data.labels import Labels
from barlow.data.order import batches_of
from barlow.data.streaming import StreamSource
from barlow.seams import Batch

MEMORY_BUDGET = 2 << 30
"""Bytes that the samples of one source may take at most; at most a quarter of the machine's too."""

_BATCH = 64
"""Samples that a worker reads at a time: small enough that workers finish together."""

HEAD_START = 10.0
"""Seconds of reading before training begins: most folders are in memory by then, and broken ones are found out."""

Progress = Callable[[int, int], None]
"""(samples read, samples in all) -> None."""


def memory_budget() -> int:
    """Return the bytes that the samples of one source may take on this machine."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return MEMORY_BUDGET
    return min(MEMORY_BUDGET, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4)


def read_all(
    stream: StreamSource, progress: Progress | None = None, *, seconds: float = HEAD_START
) -> "ArraySource | FillingSource":
    """Read every sample of a stream into memory, in parallel; after so many seconds leave the rest to who asks for it.

    Positions stay the same, as bad samples keep theirs and are left out of batches. How many are read before changes
    no batch. `progress` is called after each batch.
    """
    started, total, filling = time.perf_counter(), len(stream), FillingSource(stream)
    for batch in stream.batches(range(total), _BATCH):
        filling.keep(batch)
        read = int(batch.indices[-1]) + 1
        if progress is not None:
            progress(read, total)
        if read < total and time.perf_counter() - started > seconds:
            filling.notes += (
                f"{read:,} of {total:,} files are in memory; the others join them as training reads them",
            )
            return filling
    return ArraySource(
        filling.samples,
        name=stream.name,
        labels=Labels(stream.labels, tuple(stream.class_names)),
        describe=stream.reader.describe,
        bad=stream.bad,
        most_bad=stream.most_bad,
        notes=stream.notes,
        lost=stream.lost,
        reading=stream.reading,
    )


class FillingSource:
    """A `Source` over a stream that keeps in memory what it has read, so that nothing is read twice.

    Attributes:
        bad, notes, lost, reading: as of `StreamSource`; what is bad shows when it is read.
    """

    def __init__(self, stream: StreamSource) -> None:
        """Hold nothing yet."""
        self.name, self.labels, self.class_names = stream.name, stream.labels, stream.class_names
        self.bad, self.notes, self.lost, self.reading = stream.bad, stream.notes, stream.lost, stream.reading
        self._stream = stream
        self._storage = _Storage(len(stream))
        self._held = np.zeros(len(stream), dtype=bool)

    def __len__(self) -> int:
        """Return the number of samples, bad ones included."""
        return len(self._stream)

    def describe(self, index: int) -> str:
        """Return what a person would call sample `index`."""
        return self._stream.describe(index)

    @property
    def samples(self) -> Tensor | list[Tensor]:
        """What is in memory, by position."""
        return self._storage.samples

    @property
    def share_read(self) -> float:
        """Share of the samples that are in memory."""
        return float(self._held.mean())

    def keep(self, batch: Batch) -> None:
        """Keep the samples of a batch that the stream gave."""
        for position, sample in zip(batch.indices.tolist(), batch.samples, strict=True):
            self._storage.put(position, sample)
            self._held[position] = True

    def batches(self, order: Sequence[int], batch_size: int) -> Iterator[Batch]:
        """Yield the samples of `order` in that order, as `ArraySource.batches`; those not yet in memory are read."""
        chunks = batches_of(order, batch_size, len(self))
        missing = list(dict.fromkeys(position for chunk in chunks for position in chunk if self._is_missing(position)))
        return self._batches(chunks, self._stream.batches(missing, _BATCH) if missing else iter(()))

    def _batches(self, chunks: Sequence[list[int]], reading: Iterator[Batch]) -> Iterator[Batch]:
        for chunk in chunks:
            while any(map(self._is_missing, chunk)) and (read := next(reading, None)) is not None:
                self.keep(read)
            if good := [position for position in chunk if position not in self.bad]:
                yield taken(self.samples, good)
        if bool(self._held.all()):
            self._stream.close()

    def _is_missing(self, position: int) -> bool:
        return not self._held[position] and position not in self.bad


class _Storage:
    """Room for n samples: one tensor while all have the same shape, separate ones once they differ."""

    def __init__(self, num_samples: int) -> None:
        self._num_samples = num_samples
        self.samples: Tensor | list[Tensor] = []

    def put(self, position: int, sample: Tensor) -> None:
        if isinstance(self.samples, list) and not self.samples:
            self.samples = self._room_for(sample)
        if isinstance(self.samples, Tensor):
            if sample.shape == self.samples.shape[1:] and sample.dtype == self.samples.dtype:
                self.samples[position] = sample
                return
            # The rows that are there stay where they are; the rows to come are replaced one by one.
            self.samples = list(self.samples.unbind())
        self.samples[position] = sample.clone()  # a batch that came from a worker lives in shared memory

    def _room_for(self, first: Tensor) -> Tensor | list[Tensor]:
        if first.numel() * first.element_size() * self._num_samples <= memory_budget():
            return first.new_zeros((self._num_samples, *first.shape))
        return [first.new_zeros(0)] * self._num_samples  # the first one is far larger than the others
