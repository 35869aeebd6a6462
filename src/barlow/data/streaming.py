"""Samples that are read when they are asked for: by worker processes, in the order asked for."""

import errno
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from barlow.collectives import num_processes
from barlow.data.bad_samples import BadSamples
from barlow.data.labels import UNLABELLED, Labels
from barlow.data.order import batches_of
from barlow.data.pixels import NOT_FINITE
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

_NOT_THE_SAMPLE = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))
"""Errors of the machine, which say nothing about the sample that met them."""


@runtime_checkable
class Reader(Protocol):
    """Reads single samples; has to be picklable, because worker processes get a copy."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def read(self, position: int) -> Tensor:
        """Return one sample, or raise anything where it is bad."""
        ...

    def describe(self, position: int) -> str:
        """Return what a person would call the sample."""
        ...


def available_cores() -> int:
    """Return the cores that this process may use: its share among the training processes of the machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    here = min(num_processes(), torch.cuda.device_count() or num_processes())
    return max(1, cores // here)


@dataclass(frozen=True)
class PackedBatch:
    """A batch as it travels between processes: one block of memory, so a single file descriptor.

    Attributes:
        values: all samples one after the other; a NumPy array where shared memory is scarce.
        shapes: shape of each sample.
        asked: positions that were asked for.
        failures: (position, reason) of those that could not be read.
    """

    values: Tensor | npt.NDArray[Any]
    shapes: list[tuple[int, ...]]
    asked: list[int]
    failures: list[tuple[int, str]]


def read_packed(reader: Reader, positions: Sequence[int]) -> PackedBatch:
    """Read samples one by one and pack them; what cannot be read becomes a reason.

    Args:
        reader: reads one sample.
        positions: what to read.

    Returns:
        The packed batch.

    Raises:
        OSError: no file descriptors or no memory left, which is no fault of the sample.
    """
    samples: list[Tensor] = []
    failures: list[tuple[int, str]] = []
    for position in positions:
        try:
            sample = reader.read(position)
        except Exception as error:  # a broken file makes a decoder raise anything
            if isinstance(error, OSError) and error.errno in _NOT_THE_SAMPLE:
                raise
            failures.append((position, _reason(error)))
            continue
        if sample.is_floating_point() and not bool(sample.isfinite().all()):
            failures.append((position, NOT_FINITE))
        else:
            samples.append(sample)
    values = torch.cat([sample.reshape(-1) for sample in samples]) if samples else torch.empty(0)
    return PackedBatch(values, [tuple(sample.shape) for sample in samples], list(positions), failures)


def unpack(packed: PackedBatch) -> Batch | None:
    """Undo the packing, without copying; None where nothing could be read."""
    if not packed.shapes:
        return None
    values = packed.values if isinstance(packed.values, Tensor) else torch.from_numpy(packed.values)
    failed = {position for position, _ in packed.failures}
    indices = torch.tensor([position for position in packed.asked if position not in failed], dtype=torch.int64)
    if len(set(packed.shapes)) == 1:
        return Batch(values.view(len(packed.shapes), *packed.shapes[0]), indices)
    ends = [0, *accumulate(prod(shape) for shape in packed.shapes)]
    parts = [values[start:end] for start, end in pairwise(ends)]
    return Batch([part.view(shape) for part, shape in zip(parts, packed.shapes, strict=True)], indices)


class StreamSource:
    """A `Source` over a `Reader`.

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

        Args:
            order: positions, in any order.
            batch_size: positions per batch.

        Returns:
            An iterator over batches: a stacked tensor, or a list of tensors where sizes differ.

        Raises:
            ValueError: a batch size below 1, or a position outside the source.
            BadDataError: while iterating, when more than 1% of the samples are bad.
        """
        return self._batches(batches_of(order, batch_size, len(self)))

    def _batches(self, chunks: list[list[int]]) -> Iterator[Batch]:
        for packed in self._packed(chunks):
            self._bad.record(packed.asked, packed.failures)
            batch = unpack(packed)
            if batch is not None:
                yield batch

    def _packed(self, chunks: list[list[int]]) -> Iterator[PackedBatch]:
        if self.num_workers == 0 or sum(map(len, chunks)) <= _read_here():
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
        return DataLoader(
            _BatchReader(self.reader, through_pipes=_shared_memory_is_scarce()),
            sampler=chunks,
            batch_size=None,  # one item of the loader is one whole batch
            collate_fn=_unchanged,
            num_workers=self.num_workers,
            persistent_workers=True,
            generator=torch.Generator(),  # else starting an iteration draws from the global generator
        )


class _Chunks(Sampler[list[int]]):
    """The batches of positions to read next; exchangeable, so that lasting workers serve any order."""

    def __init__(self, chunks: Sequence[list[int]] = ()) -> None:
        self.chunks = chunks

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.chunks)

    def __len__(self) -> int:
        return len(self.chunks)


class _BatchReader(Dataset[PackedBatch]):
    def __init__(self, reader: Reader, through_pipes: bool) -> None:
        self._reader = reader
        self._through_pipes = through_pipes

    def __getitem__(self, positions: list[int]) -> PackedBatch:
        packed = read_packed(self._reader, positions)
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


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    own = isinstance(error, (ValueError, OSError)) and bool(text)
    line = " ".join((text if own else f"{type(error).__name__}: {text}").split())
    return line if len(line) <= 200 else line[:199] + "…"
