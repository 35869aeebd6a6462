"""Which axis of an array holds the channels of its images: told by a shape that is clear, refused where it is not."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from barlow.errors import unknown

Axis = Literal["first", "last"]
"""(N, C, H, W) or (N, H, W, C)."""
SPELLINGS: dict[str, Axis] = {"first": "first", "1": "first", "last": "last", "-1": "last"}
"""How `channels_axis` may be typed: a word, or the place of the axis in an array of images."""
USUAL, SELDOM = (1, 3), (2, 4)
"""Numbers of channels: grey and colour; grey or colour with alpha, and two measurements."""
SETTLE = "--channels-axis first or last (channels_axis=) says which"


def axis_named(given: Any) -> Axis | None:
    """Return the axis that a user has named; None for nothing, "" or None."""
    if given is None or given == "":
        return None
    if str(given) not in SPELLINGS or isinstance(given, bool):
        raise unknown("channels_axis", str(given), SPELLINGS)
    return SPELLINGS[str(given)]


def channels_axis(shape: Sequence[int], *, asked: Axis | None = None, channels: int = 0, before: str = "") -> Axis:
    """Return the channel axis of images of shape (N, a, b, c).

    In this order: the axis `asked` for; the end that has the `channels` of the network of a run, where there is one;
    the end of 1 or 3; the end that leaves square images; the end of 2 or 4. Where the second and the third contradict
    each other, or the shape says nothing, it is the axis of the run's own data, `before`, or a ValueError.
    """
    if asked is not None:
        return asked
    first, last = shape[1], shape[3]
    if channels and (first == channels) != (last == channels):
        return "first" if first == channels else "last"
    square: Axis | None = _of(shape[2] == last, first == shape[2])
    usual: Axis | None = _of(first in USUAL, last in USUAL)
    if usual is not None and square in (None, usual):
        return usual
    both = first in USUAL and last in USUAL
    if usual is None and not both and square is not None and (first if square == "last" else last) not in SELDOM:
        return square
    seldom: Axis | None = _of(first in SELDOM, last in SELDOM)
    if usual is None and not both and seldom is not None and square in (None, seldom):
        return seldom
    if before:
        return SPELLINGS[before]
    raise ValueError(
        f"data: got an array of shape {tuple(shape)}, which could be (N, {first} channels, {shape[2]}, {last}) or "
        f"(N, {first}, {shape[2]}, {last} channels); {SETTLE}"
    )


def _of(first: bool, last: bool) -> Axis | None:
    """The axis for which alone something speaks."""
    return None if first == last else "first" if first else "last"


def axis_of_one_picture(
    shape: Sequence[int], *, asked: Axis | None = None, channels: int = 0, before: str = ""
) -> Axis | None:
    """Return the channel axis where an array of shape (a, b, c) is one picture; None where it is a images of b x c.

    It is one picture where a channel axis was `asked` for, where one of its ends has the `channels` of a network that
    takes several, or where it is no less than five pixels high and wide and has 1, 3 or 4 values at its end.
    """
    if asked is not None:
        return asked
    if channels > 1 and channels in (shape[0], shape[2]):
        if shape[0] == shape[2]:
            return channels_axis((1, *shape), channels=channels, before=before)
        return "first" if shape[0] == channels else "last"
    looks_so = shape[2] in (*USUAL, 4) and min(shape[:2]) > 4
    return "last" if looks_so else None


def channels_first(
    array: npt.NDArray[Any], *, asked: Axis | None = None, channels: int = 0, before: str = ""
) -> tuple[npt.NDArray[Any], Axis | None, tuple[str, ...]]:
    """Return an array of images as (N, C, H, W), the channel axis that it had, and how it was read where one may ask.

    (N, H, W) are grey images and have none. The other arguments are as for `channels_axis`.
    """
    known: Any = {"asked": asked, "channels": channels, "before": before}
    shape, notes = array.shape, []
    if array.ndim == 3:
        axis = axis_of_one_picture(shape, **known)
        if axis is None:
            if shape[0] == USUAL[-1] and min(shape[1:]) > 4:
                notes.append(f"{shape} is read as {shape[0]} grey images; one picture in colour is (1, C, H, W)")
            return array[:, None], None, tuple(notes)
        array = array[None]
        notes.append(f"{shape} is read as one picture, its channels {axis}")
    else:
        axis = channels_axis(shape, **known)
    if axis == "last":
        array = np.moveaxis(array, 3, 1)
    if array.ndim == len(shape) and array.shape[1] not in USUAL:
        count, height, width = array.shape[1:]
        notes.append(f"{shape} is read as images of {height} x {width} with {count} channels, the channel axis {axis}")
    return array, axis, tuple(notes)
