"""Labels of a source: whole numbers from 0, names of the classes, or nothing, which is the normal case."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from barlow.choices import did_you_mean

LabelChoice = str | Sequence[Any] | npt.NDArray[Any] | Tensor | None
""""auto" (what is found), "required" (an error when nothing is found), "none" or None, or the labels."""

CHOICES = ("auto", "required", "none")


@dataclass(frozen=True)
class Labels:
    """Labels of every sample, or of none.

    Attributes:
        values: (num_samples,) int64 positions in `class_names`, or None.
        class_names: names of the classes, empty without labels.
    """

    values: Tensor | None = None
    class_names: tuple[str, ...] = ()


UNLABELLED = Labels()


def as_labels(
    labels: Sequence[Any] | npt.NDArray[Any] | Tensor, num_samples: int, class_names: Sequence[str] = ()
) -> Labels:
    """Bring labels to int64 and give their classes names.

    Numbers stay what they are, so that two splits of one set agree even when one of them lacks a class; text
    becomes its place in the sorted names.

    Args:
        labels: (num_samples,) or (num_samples, 1) whole numbers from 0, or text.
        num_samples: number of samples that they have to fit.
        class_names: names of the classes; default: the numbers, or the sorted text.

    Returns:
        The labels.

    Raises:
        ValueError: a wrong number of labels, negative or fractional ones, or text that is not in
            `class_names`.
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
    if array.size and (not np.array_equal(values, array) or values.min() < 0):
        raise ValueError("labels: wanted whole numbers from 0; leave them out with labels=None")
    num_classes = int(values.max()) + 1 if values.size else 0
    names = tuple(class_names) or tuple(str(number) for number in range(num_classes))
    if num_classes > len(names):
        raise ValueError(f"labels: label {num_classes - 1} has no name, there are {len(names)} classes")
    return Labels(torch.from_numpy(values), names)


def choose_labels(choice: LabelChoice, found: Labels, reason: str, num_samples: int) -> Labels:
    """Settle which labels a source gets.

    Args:
        choice: what the user asked for.
        found: what the data carry.
        reason: why the data carry none, for the error of "required".
        num_samples: number of samples.

    Returns:
        The user's own labels, those found, or none.

    Raises:
        ValueError: an unknown choice, or labels required where there are none.
    """
    if choice is None:
        return UNLABELLED
    if not isinstance(choice, str):
        return as_labels(choice, num_samples)
    if choice not in CHOICES:
        hint = did_you_mean(choice, CHOICES)
        raise ValueError(f"labels: got {choice!r}, wanted one of {', '.join(CHOICES)} or the labels{hint}")
    if choice == "none":
        return UNLABELLED
    if choice == "required" and found.values is None:
        raise ValueError(f"labels: required, but there are none: {reason}")
    return found
