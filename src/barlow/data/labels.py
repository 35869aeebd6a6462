"""Labels of a source: whole numbers from 0, names of the classes, or nothing, which is the normal case.

A sample alone may have none: its label is -1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from barlow.errors import did_you_mean

LabelChoice = str | Sequence[Any] | npt.NDArray[Any] | Tensor | None
""""auto" (what is found), "required" (an error when nothing is found), "none" or None, or the labels."""

LABEL_MODES = ("auto", "required", "none")
UNKNOWN = -1
"""The label of a sample that has none, beside others that have one."""
MOST_CLASSES = 1_000_000
"""Numbers from this on, most of them there once, are identifiers, dates or positions, not classes."""


@dataclass(frozen=True)
class Labels:
    """Labels of every sample, or of none.

    Attributes:
        values: (num_samples,) int64 positions in `class_names`, -1 for a sample without a label, or None.
        class_names: names of the classes, empty without labels.
    """

    values: Tensor | None = None
    class_names: tuple[str, ...] = ()


UNLABELLED = Labels()


def as_labels(
    labels: Sequence[Any] | npt.NDArray[Any] | Tensor, num_samples: int, class_names: Sequence[str] = ()
) -> Labels:
    """Bring labels to int64 and give their classes names.

    Numbers stay what they are, so that two splits of one set agree even when one of them lacks a class, unless most
    numbers up to the largest are missing (3, 17, 90): then they become their places among those that are there, and
    the classes are called by them. Text becomes its place in the sorted names. Labels are (num_samples,) or
    (num_samples, 1) whole numbers from 0, -1 for samples without a label, or text; `class_names` is by default the
    numbers, or the sorted text. Where no sample has a label, there are none.
    """
    array = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (num_samples,):
        raise ValueError(f"labels: got shape {array.shape}, wanted one per sample: ({num_samples},)")
    if array.dtype.kind in "SUO":
        text = [entry.decode() if isinstance(entry, bytes) else str(entry) for entry in array.tolist()]
        names = tuple(class_names) or tuple(sorted(set(text)))
        unknown = sorted(set(text) - set(names))
        if unknown:
            raise ValueError(f"labels: {unknown[0]!r} is not one of the classes {', '.join(names)}")
        place = {name: index for index, name in enumerate(names)}
        return Labels(torch.tensor([place[entry] for entry in text], dtype=torch.int64), names)
    with np.errstate(invalid="ignore"):  # NaN has no whole number and is refused below
        values = array.astype(np.int64)
    if array.size and (not np.array_equal(values, array) or values.min() < UNKNOWN):
        raise ValueError(
            "labels: wanted whole numbers from 0, and -1 for samples without a label; leave them out with labels=None"
        )
    known = values[values != UNKNOWN]
    if values.size and not known.size:
        return UNLABELLED
    if not class_names:
        return _named_by_number(values, known)
    largest = int(known.max()) if known.size else UNKNOWN
    if largest >= len(class_names):
        raise ValueError(f"labels: label {largest} has no name, there are {len(class_names)} classes")
    return Labels(torch.from_numpy(values), tuple(class_names))


def _named_by_number(values: npt.NDArray[np.int64], known: npt.NDArray[np.int64]) -> Labels:
    """Labels whose classes are called by their numbers; `known` are those of `values` that are not -1."""
    present = np.unique(known)
    largest = int(present[-1]) if present.size else UNKNOWN
    if largest >= MOST_CLASSES and 2 * len(present) > len(known):
        raise ValueError(f"labels: got {largest}, wanted numbers of classes, from 0 to {MOST_CLASSES - 1}")
    if 2 * len(present) < largest + 1:  # a class for each number in between would be one of nothing
        places = np.searchsorted(present, values)
        return Labels(torch.from_numpy(np.where(values == UNKNOWN, UNKNOWN, places)), tuple(map(str, present.tolist())))
    return Labels(torch.from_numpy(values), tuple(map(str, range(largest + 1))))


def choose_labels(choice: LabelChoice, found: Labels, reason: str, num_samples: int) -> Labels:
    """Decide which labels a source gets: the user's own, those found in the data, or none.

    `reason` says why the data carry none, for the error of "required".
    """
    if choice is None:
        return UNLABELLED
    if not isinstance(choice, str):
        return as_labels(choice, num_samples)
    if choice not in LABEL_MODES:
        hint = did_you_mean(choice, LABEL_MODES)
        raise ValueError(f"labels: got {choice!r}, wanted one of {', '.join(LABEL_MODES)} or the labels{hint}")
    if choice == "none":
        return UNLABELLED
    if choice == "required" and found.values is None:
        raise ValueError(f"labels: required, but there are none: {reason}")
    return found
