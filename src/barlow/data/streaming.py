"""Samples that are read when they are asked for, by worker processes, in the order asked for."""

import errno
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from math import prod
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from zlib import crc32

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from barlow.data.bad_samples import MOST_BAD, NOT_FINITE, BadSamples
from barlow.data.labels import UNLABELLED, Labels
from barlow.data.lost import counting
from barlow.data.order import Batches, batches_of, generators_restored, hash_seed, seed_generators
from barlow.seams import Batch
from barlow.statistics.collectives import num_processes

MOST_WORKERS = 16
"""Largest default number of worker processes: beyond it the memory of waiting batches grows faster than the speed."""

MOST_IN_PROCESS = 64
"""Orders of up to this many samples are read in this process: starting workers would take longer."""

MOST_IN_PROCESS_WITHOUT_FORK = 512
"""The same where every worker starts from nothing and imports torch first, which takes seconds."""

SHARED_MEMORY_WANTED = 1 << 30
"""Bytes of /dev/shm below which batches are sent through pipes: containers often have 64 MB, and a worker
that runs out of it is killed without a message."""

_HASHED_AT_ONCE = 4096
"""Positions that go into the hash of an order together."""

_NOT_THE_SAMPLE = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))
"""Errors of the machine, which say nothing about the sample that met them."""


def available_cores() -> int:
    """Return the cores that this process may use: its share among the training processes of the machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    here = min(num_processes(), torch.cuda.device_count() or num_processes())
    return max(1, cores // here)


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


@runtime_checkable
class DrawingReader(Reader, Protocol):
    """A `Reader` of parts of something longer: one part for looking at, another one each time for training."""

    def draw(self, position: int) -> Tensor:
        """Return what `read` does, of a part that is drawn from torch's global generator."""
        ...


@dataclass(frozen=True)
class BatchRequest:
    """A batch to be read: what is random in a sample follows from `seed` and its position, nothing else.

    `drawn`: whether it is for training, so that a `DrawingReader` draws parts.
    """

    positions: list[int]
    seed: int
    drawn: bool = False


@dataclass(frozen=True)
class PackedBatch:
    """A batch as it travels between processes: one block of memory, so a single file descriptor.

    Attributes:
        values: all samples one after the other; a NumPy array where shared memory is scarce.
        positions: those that were asked for.
        failures: (position, reason) of those that could not be read.
        lost: (position, what, how often) of what was lost in reading the others.
    """

    values: Tensor | npt.NDArray[Any]
    shapes: list[tuple[int, ...]]
    positions: list[int]
    failures: list[tuple[int, str]]
    lost: list[tuple[int, str, int]] = field(default_factory=list)


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
        bad: reason by position of every sample that could not be read so far.
        notes: sentences for the user about how the data were read and what was left out.
        lost: what was lost so far in reading samples: in words -> position -> how often.
        reading: facts about how the samples are read, for `recipe.json`.
        num_workers: worker processes; 0 reads in this process.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        name: str,
        labels: Labels = UNLABELLED,
        notes: Sequence[str] = (),
        reading: Mapping[str, Any] | None = None,
        num_workers: int | None = None,
        most_bad: float = MOST_BAD,
    ) -> None:
        """Read nothing yet; `num_workers` None is one per available core, at most `MOST_WORKERS`.

        `most_bad` is the share of all samples that may be unreadable; see `data/bad_samples.py`.
        """
        if num_workers is not None and num_workers < 0:
            raise ValueError(f"num_workers: got {num_workers}, wanted at least 0")
        self.name = name
        self.labels = labels.values
        self.class_names: Sequence[str] = labels.class_names
        self.notes = tuple(notes)
        self.lost: dict[str, dict[int, int]] = {}
        self.reading: Mapping[str, Any] = reading or {}
        self.num_workers = min(available_cores(), MOST_WORKERS) if num_workers is None else num_workers
        self.reader = reader
        self._bad = BadSamples(len(reader), reader.describe, most_bad)
        self.most_bad = most_bad
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

        What is random in them follows from the order: the same order gives the same samples again. The batches are
        stacked tensors, or lists of tensors where sizes differ. While iterating, bad samples that are more than 1% of
        the source are an error.
        """
        chunks, seed = batches_of(order, batch_size, len(self)), 0
        for positions in batches_of(order, _HASHED_AT_ONCE, len(self)):
            seed = crc32(np.array(positions, dtype=np.int64).tobytes(), seed)
        return self._batches(_Requests(chunks, seed))

    def seeded_batches(self, order: Sequence[int], batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield what `batches` does; what is random in a sample follows from `seed` and its position."""
        chunks = batches_of(order, batch_size, len(self))
        return self._batches(_Requests(chunks, seed, drawn=True))

    def _batches(self, chunks: "_Requests") -> Iterator[Batch]:
        for packed in self._packed(chunks):
            self._bad.record(packed.failures)
            for position, what, number in packed.lost:
                self.lost.setdefault(what, {})[position] = number
            batch = unpack(packed)
            if batch is not None:
                yield batch

    def _packed(self, chunks: "_Requests") -> Iterator[PackedBatch]:
        if self.num_workers == 0 or chunks.num_samples <= _most_in_process():
            yield from (read_packed(self.reader, chunk) for chunk in chunks)
        elif self._busy:
            # The lasting workers are in the middle of another order: this one gets workers of its own.
            yield from self._new_loader(_Chunks(chunks))
        else:
            self._busy = True
            try:
                self._chunks.chunks = chunks
                self._loader = self._loader or self._new_loader(self._chunks)
                yield from self._loader
            finally:
                self._busy = False

    def close(self) -> None:
        """Let the worker processes end; they start again when something is read."""
        if not self._busy:
            self._loader = None

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


class _Requests(Sequence[BatchRequest]):
    """The requests for the batches of an order, each made when it is asked for."""

    def __init__(self, batches: Batches, seed: int, *, drawn: bool = False) -> None:
        self._batches, self._seed, self._drawn = batches, seed, drawn

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: Any) -> Any:
        return BatchRequest(self._batches[number], self._seed, self._drawn)

    @property
    def num_samples(self) -> int:
        """Samples of all batches together."""
        return len(self._batches.order)


class _Chunks(Sampler[BatchRequest]):
    """The batches to read next; they can be replaced, so that lasting workers serve any order."""

    def __init__(self, chunks: Sequence[BatchRequest] = ()) -> None:
        self.chunks = chunks

    def __iter__(self) -> Iterator[BatchRequest]:
        return iter(self.chunks)

    def __len__(self) -> int:
        return len(self.chunks)


class _BatchReader(Dataset[PackedBatch]):
    def __init__(self, reader: Reader, through_pipes: bool) -> None:
        self._reader = reader
        self._through_pipes = through_pipes

    def __getitem__(self, request: BatchRequest) -> PackedBatch:
        packed = read_packed(self._reader, request)
        if self._through_pipes and isinstance(packed.values, Tensor):
            return replace(packed, values=packed.values.numpy())
        return packed


def _unchanged(packed: Any) -> Any:
    return packed


def _most_in_process() -> int:
    # The first of all methods is the platform's own; asking for the current one would fix it for the whole process.
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    return MOST_IN_PROCESS if method == "fork" else MOST_IN_PROCESS_WITHOUT_FORK


def _shared_memory_is_scarce() -> bool:
    place = Path("/dev/shm")
    if not place.is_dir() or not hasattr(os, "statvfs"):
        return False
    status = os.statvfs(place)
    return status.f_bavail * status.f_frsize < SHARED_MEMORY_WANTED


def read_packed(reader: Reader, request: BatchRequest) -> PackedBatch:
    """Read samples one by one and pack them; what cannot be read becomes a reason.

    The reader may draw from the global generators, which are restored at the end. An OSError for want of file
    descriptors or memory is raised: it is no fault of the sample.
    """
    samples: list[Tensor] = []
    failures: list[tuple[int, str]] = []
    lost: list[tuple[int, str, int]] = []
    read = reader.draw if request.drawn and isinstance(reader, DrawingReader) else reader.read
    with generators_restored():
        for position in request.positions:
            seed_generators(hash_seed(request.seed, position))
            try:
                with counting() as counts:
                    sample = read(position)
            except Exception as error:  # a broken file makes a decoder raise anything
                if isinstance(error, OSError) and error.errno in _NOT_THE_SAMPLE:
                    raise
                failures.append((position, reason_of(error)))
                continue
            if sample.is_floating_point() and not bool(sample.isfinite().all()):
                failures.append((position, NOT_FINITE))
            else:
                samples.append(sample)
                lost += [(position, what, number) for what, number in counts.items()]
    values = torch.cat([sample.reshape(-1) for sample in samples]) if samples else torch.empty(0)
    return PackedBatch(values, [tuple(sample.shape) for sample in samples], request.positions, failures, lost)


def unpack(packed: PackedBatch) -> Batch | None:
    """Undo the packing, without copying; None where nothing could be read."""
    if not packed.shapes:
        return None
    values = packed.values if isinstance(packed.values, Tensor) else torch.from_numpy(packed.values)
    failed = {position for position, _ in packed.failures}
    indices = torch.tensor([position for position in packed.positions if position not in failed], dtype=torch.int64)
    if len(set(packed.shapes)) == 1:
        return Batch(values.view(len(packed.shapes), *packed.shapes[0]), indices)
    ends = [0, *accumulate(prod(shape) for shape in packed.shapes)]
    parts = [values[start:end] for start, end in pairwise(ends)]
    return Batch([part.view(shape) for part, shape in zip(parts, packed.shapes, strict=True)], indices)


def reason_of(error: Exception) -> str:
    """Return in one line why a sample cannot be read, as a user can use it."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    own = isinstance(error, (ValueError, OSError)) and bool(text)
    line = " ".join((text if own else f"{type(error).__name__}: {text}").split())
    return line if len(line) <= 200 else line[:199] + "…"
