"""Single samples are read and packed into a batch that travels well between processes."""

import errno
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod
from typing import Any, Protocol, runtime_checkable

import numpy.typing as npt
import torch
from torch import Tensor

from barlow.data.pixels import NOT_FINITE
from barlow.data.seeds import generators_kept, hash_seed, seed_generators
from barlow.data.source import Batch

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


@dataclass(frozen=True)
class Asked:
    """A batch to be read.

    Attributes:
        positions: of its samples.
        seed: what is random in a sample follows from it and the sample's position, nothing else.
    """

    positions: list[int]
    seed: int


def read_packed(reader: Reader, asked: Asked) -> PackedBatch:
    """Read samples one by one and pack them; what cannot be read becomes a reason.

    Args:
        reader: reads one sample; may draw from the global generators, which are put back at the end.
        asked: what to read.

    Returns:
        The packed batch.

    Raises:
        OSError: no file descriptors or no memory left, which is no fault of the sample.
    """
    samples: list[Tensor] = []
    failures: list[tuple[int, str]] = []
    with generators_kept():
        for position in asked.positions:
            seed_generators(hash_seed(asked.seed, position))
            try:
                sample = reader.read(position)
            except Exception as error:  # a broken file makes a decoder raise anything
                if isinstance(error, OSError) and error.errno in _NOT_THE_SAMPLE:
                    raise
                failures.append((position, reason_of(error)))
                continue
            if sample.is_floating_point() and not bool(sample.isfinite().all()):
                failures.append((position, NOT_FINITE))
            else:
                samples.append(sample)
    values = torch.cat([sample.reshape(-1) for sample in samples]) if samples else torch.empty(0)
    return PackedBatch(values, [tuple(sample.shape) for sample in samples], asked.positions, failures)


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


def reason_of(error: Exception) -> str:
    """Return in one line why a sample cannot be read, as a user can use it."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    own = isinstance(error, (ValueError, OSError)) and bool(text)
    line = " ".join((text if own else f"{type(error).__name__}: {text}").split())
    return line if len(line) <= 200 else line[:199] + "…"
