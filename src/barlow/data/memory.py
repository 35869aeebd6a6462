"""A small data set is read once and stays in memory."""

import os
from collections.abc import Callable

from torch import Tensor

from barlow.data.arrays import ArraySource
from barlow.data.labels import Labels
from barlow.data.streaming import StreamSource

MEMORY_BUDGET = 2 << 30
"""Bytes that the samples of one source may take at most; at most a quarter of the machine's too."""

_BATCH = 64
"""Samples that a worker reads at a time: small enough that workers finish together."""

Progress = Callable[[int, int], None]
"""(samples read, samples in all) -> None."""


def memory_budget() -> int:
    """Return the bytes that the samples of one source may take on this machine."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return MEMORY_BUDGET
    return min(MEMORY_BUDGET, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4)


def read_all(stream: StreamSource, progress: Progress | None = None) -> ArraySource:
    """Read every sample of a stream into memory, in parallel.

    Positions stay the same, as bad samples keep theirs and are left out of batches; the stream is not needed
    afterwards. `progress` is called after each batch.
    """
    total = len(stream)
    storage = _Storage(total)
    for batch in stream.batches(range(total), _BATCH):
        for position, sample in zip(batch.indices.tolist(), batch.samples, strict=True):
            storage.put(position, sample)
        if progress is not None:
            progress(int(batch.indices[-1]) + 1, total)
    return ArraySource(
        storage.samples,
        name=stream.name,
        labels=Labels(stream.labels, tuple(stream.class_names)),
        describe=stream.reader.describe,
        bad=stream.bad,
        most_bad=stream.most_bad,
        notes=stream.notes,
        lost=stream.lost,
        reading=stream.reading,
    )


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
