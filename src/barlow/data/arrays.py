"""Samples in memory: batches are cut out by indexing, without workers and without copies beyond the batch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from barlow.data.bad_samples import MOST_BAD, NOT_FINITE, BadSamples
from barlow.data.labels import UNLABELLED, Labels, as_labels
from barlow.data.lost import Lost
from barlow.data.order import batches_of
from barlow.seams import Batch

_CHUNK = 1024
"""Rows converted at a time, so that a conversion needs little memory beside its result."""


class ArraySource:
    """A `Source` over one tensor, or over a list of tensors of different sizes; samples may be anything.

    Attributes:
        name: what to call the data.
        labels: (len,) int64, or None.
        class_names: names of the classes, empty without labels.
        bad: reason by position of the samples that are left out.
        notes: sentences for the user about how the data were read and what was left out.
        lost: what was lost in reading, in words -> position -> how often (`lost.py`).
        reading: facts about how the samples were read, for `recipe.json`: a run reads others in the same way.
        samples: (n, ...) tensor, or a list of n tensors.
    """

    def __init__(
        self,
        samples: Tensor | list[Tensor],
        *,
        name: str = "array",
        labels: Labels | Sequence[Any] | npt.NDArray[Any] | Tensor = UNLABELLED,
        describe: Callable[[int], str] = "sample {}".format,
        bad: Mapping[int, str] | None = None,
        notes: Sequence[str] = (),
        lost: Lost | None = None,
        reading: Mapping[str, Any] | None = None,
        most_bad: float | None = None,
    ) -> None:
        """Keep the samples as they are: the number format is what the views will see.

        Args:
            samples: (n, ...), any number format; or n tensors.
            name: what to call the data.
            labels: (n,) labels, if there are any.
            describe: position -> what a person would call that sample; default: its number.
            bad: reason by position of samples that are known to be bad; NaN and infinite ones are found here.
            notes: sentences for the user.
            lost: what was lost in reading.
            reading: facts about how the samples were read.
            most_bad: share of all samples that may be bad, up to three always; None: 1%, of which those in `bad`, being
                known, are no part.

        Raises:
            ValueError: labels that do not fit the samples.
            BadDataError: more than 1% of the samples are bad.
        """
        known = labels if isinstance(labels, Labels) else as_labels(labels, len(samples))
        self.name = name
        self.labels = known.values
        self.class_names: Sequence[str] = known.class_names
        self.notes = tuple(notes)
        self.lost: Lost = lost or {}
        self.reading: Mapping[str, Any] = reading or {}
        self.samples = samples
        self._describe = describe
        known_bad = dict(bad or {})
        judged = BadSamples(len(samples), describe, MOST_BAD if most_bad is None else most_bad)
        judged.record((_not_finite(samples) | ({} if most_bad is None else known_bad)).items())
        self.bad: dict[int, str] = judged.reasons | known_bad

    def __len__(self) -> int:
        """Return the number of samples, bad ones included."""
        return len(self.samples)

    def describe(self, index: int) -> str:
        """Return what a person would call sample `index`."""
        return self._describe(index)

    def batches(self, order: Sequence[int], batch_size: int) -> Iterator[Batch]:
        """Yield the samples of `order` in that order, the bad ones left out.

        Args:
            order: positions, in any order.
            batch_size: positions per batch.

        Returns:
            An iterator over batches: a stacked tensor, or a list of tensors where sizes differ.

        Raises:
            ValueError: a batch size below 1, or a position outside the source.
        """
        return self._batches(batches_of(order, batch_size, len(self)))

    def _batches(self, chunks: Sequence[list[int]]) -> Iterator[Batch]:
        for chunk in chunks:
            good = [position for position in chunk if position not in self.bad] if self.bad else chunk
            if good:
                yield taken(self.samples, good)


def taken(samples: Tensor | list[Tensor], positions: list[int]) -> Batch:
    """Return the batch of the samples at some positions: one tensor where their shapes are equal."""
    indices = torch.tensor(positions, dtype=torch.int64)
    if isinstance(samples, Tensor):
        return Batch(samples[indices].contiguous(), indices)
    chosen = [samples[position] for position in positions]
    return Batch(torch.stack(chosen) if len({sample.shape for sample in chosen}) == 1 else chosen, indices)


def _not_finite(samples: Tensor | list[Tensor]) -> dict[int, str]:
    if isinstance(samples, Tensor):
        return not_finite(as_array(samples)) if samples.is_floating_point() else {}
    wrong = [p for p, sample in enumerate(samples) if sample.is_floating_point() and not bool(sample.isfinite().all())]
    return dict.fromkeys(wrong, NOT_FINITE)


def not_finite(array: npt.NDArray[Any]) -> dict[int, str]:
    """Return the reason by position for the rows that have NaN or infinite values; who makes a source judges them."""
    wrong: list[int] = []
    for start, chunk in chunks(array):
        finite = np.isfinite(chunk).reshape(len(chunk), -1).all(axis=1)
        wrong += (start + np.flatnonzero(~finite)).tolist()
    return dict.fromkeys(wrong, NOT_FINITE)


def chunks(array: npt.NDArray[Any]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Yield (position of the first row, some rows), over all rows of an array."""
    for start in range(0, len(array), _CHUNK):
        yield start, array[start : start + _CHUNK]


def as_array(values: Tensor | npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return `values` as a NumPy array over the same memory where that is possible."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return values
