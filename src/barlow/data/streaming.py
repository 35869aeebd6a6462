"""Samples that are read when they are asked for: by worker processes, in the order asked for."""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from barlow.collectives import num_processes
from barlow.data.bad_samples import BadSamples
from barlow.data.labels import UNLABELLED, Labels
from barlow.data.order import batches_of
from barlow.data.packing import Asked, PackedBatch, Reader, read_packed, unpack
from barlow.data.seeds import hash_seed
from barlow.data.source import Batch

MOST_WORKERS = 16
"""Cap of the worker processes: beyond it the memory of waiting batches grows faster than the speed."""

READ_HERE = 64
"""Orders of up to this many samples are read in this process: starting workers would take longer."""

READ_HERE_WITHOUT_FORK = 512
"""The same where every worker starts from nothing and imports torch first, which takes seconds."""

SHARED_MEMORY_WANTED = 1 << 30
"""Bytes of /dev/shm below which batches are sent through pipes: containers often have 64 MB, and a worker
that runs out of it is killed without a message."""


def available_cores() -> int:
    """Return the cores that this process may use: its share among the training processes of the machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    here = min(num_processes(), torch.cuda.device_count() or num_processes())
    return max(1, cores // here)


class StreamSource:
    """A `RandomSource` over a `Reader`.

    What a reader draws from the global generators of Python, NumPy and torch is the same for a seed and a
    position whatever the number of workers or processes, the batches and what was read before, so a resumed run
    gets the samples of one that was not interrupted. A reader that keeps a generator of its own draws from
    that: a copy of it in every worker, which at best (where it is started in the worker, from the worker's seed)
    differs between seeds, processes and first samples, and is not resumed.

    Worker processes stay alive between calls of `batches`. They start in the platform's way; where that is
    not fork (macOS, Windows, Linux from Python 3.14 on), a script needs the usual `if __name__ ==
    "__main__":`.

    Attributes:
        name: what to call the data.
        labels: (len,) int64, or None.
        class_names: names of the classes, empty without labels.
        bad: reason by position of every sample that could not be read so far.
        notes: sentences for the user about how the data were read and what was left out.
        num_workers: worker processes; 0 reads in this process.
        reader: reads one sample.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        name: str,
        labels: Labels = UNLABELLED,
        notes: Sequence[str] = (),
        num_workers: int | None = None,
    ) -> None:
        """Read nothing yet.

        Args:
            reader: reads one sample.
            name: what to call the data.
            labels: labels of all samples, if there are any.
            notes: sentences for the user.
            num_workers: worker processes; None: one per available core, at most `MOST_WORKERS`.

        Raises:
            ValueError: a negative number of workers.
        """
        if num_workers is not None and num_workers < 0:
            raise ValueError(f"num_workers: got {num_workers}, wanted at least 0")
        self.name = name
        self.labels = labels.values
        self.class_names: Sequence[str] = labels.class_names
        self.notes = tuple(notes)
        self.num_workers = min(available_cores(), MOST_WORKERS) if num_workers is None else num_workers
        self.reader = reader
        self._bad = BadSamples(len(reader), reader.describe)
        self.bad: dict[int, str] = self._bad.reasons
        self._chunks = _Chunks()
        self._loader: DataLoader[PackedBatch] | None = None
        self._busy = False

    def __len__(self) -> int:
        """Return the number of samples, bad ones included."""
        return len(self.reader)

    def describe(self, index: int) -> str:
        """Return what a person would call sample `index`."""
        return self.reader.describe(index)

    def batches(self, order: Sequence[int], batch_size: int) -> Iterator[Batch]:
        """Yield the samples of `order` in that order, the bad ones left out; workers change the speed only.

        What is random in them follows from the order: the same order gives the same samples again.

        Args:
            order: positions, in any order.
            batch_size: positions per batch.

        Returns:
            An iterator over batches: a stacked tensor, or a list of tensors where sizes differ.

        Raises:
            ValueError: a batch size below 1, or a position outside the source.
            BadDataError: while iterating, when more than 1% of the samples are bad.
        """
        positions = np.fromiter(order, dtype=np.int64, count=len(order))
        return self.seeded_batches(order, batch_size, crc32(positions.tobytes()))

    def seeded_batches(self, order: Sequence[int], batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield the same; what is random in a sample follows from `seed` and its position.

        Args:
            order: positions, in any order.
            batch_size: positions per batch.
            seed: any whole number.

        Returns:
            An iterator over batches, as `batches` returns it.

        Raises:
            ValueError: a batch size below 1, or a position outside the source.
            BadDataError: while iterating, when more than 1% of the samples are bad.
        """
        chunks = batches_of(order, batch_size, len(self))
        return self._batches([Asked(positions, seed) for positions in chunks])

    def _batches(self, chunks: list[Asked]) -> Iterator[Batch]:
        for packed in self._packed(chunks):
            self._bad.record(packed.asked, packed.failures)
            batch = unpack(packed)
            if batch is not None:
                yield batch

    def _packed(self, chunks: list[Asked]) -> Iterator[PackedBatch]:
        if self.num_workers == 0 or sum(len(chunk.positions) for chunk in chunks) <= _read_here():
            yield from (read_packed(self.reader, chunk) for chunk in chunks)
        elif self._busy:
            # Someone is in the middle of the lasting workers' order: this one gets workers of its own.
            yield from self._new_loader(_Chunks(chunks))
        else:
            self._busy = True
            try:
                self._chunks.chunks = chunks
                self._loader = self._loader or self._new_loader(self._chunks)
                yield from self._loader
            finally:
                self._busy = False

    def _new_loader(self, chunks: "_Chunks") -> DataLoader[PackedBatch]:
        first = chunks.chunks[0]  # of another process and of a resumed run it is another one
        workers_seed = torch.Generator().manual_seed(hash_seed(first.seed, first.positions[0]))
        return DataLoader(
            _BatchReader(self.reader, through_pipes=_shared_memory_is_scarce()),
            sampler=chunks,
            batch_size=None,  # one item of the loader is one whole batch
            collate_fn=_unchanged,
            num_workers=self.num_workers,
            persistent_workers=True,
            generator=workers_seed,  # else starting an iteration draws from the global generator
        )


class _Chunks(Sampler[Asked]):
    """The batches to read next; exchangeable, so that lasting workers serve any order."""

    def __init__(self, chunks: Sequence[Asked] = ()) -> None:
        self.chunks = chunks

    def __iter__(self) -> Iterator[Asked]:
        return iter(self.chunks)

    def __len__(self) -> int:
        return len(self.chunks)


class _BatchReader(Dataset[PackedBatch]):
    def __init__(self, reader: Reader, through_pipes: bool) -> None:
        self._reader = reader
        self._through_pipes = through_pipes

    def __getitem__(self, asked: Asked) -> PackedBatch:
        packed = read_packed(self._reader, asked)
        if self._through_pipes and isinstance(packed.values, Tensor):
            return PackedBatch(packed.values.numpy(), packed.shapes, packed.asked, packed.failures)
        return packed


def _unchanged(packed: Any) -> Any:
    return packed


def _read_here() -> int:
    # The first of all methods is the platform's own; asking for the current one plainly would settle it for good.
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    return READ_HERE if method == "fork" else READ_HERE_WITHOUT_FORK


def _shared_memory_is_scarce() -> bool:
    place = Path("/dev/shm")
    if not place.is_dir() or not hasattr(os, "statvfs"):
        return False
    status = os.statvfs(place)
    return status.f_bavail * status.f_frsize < SHARED_MEMORY_WANTED
