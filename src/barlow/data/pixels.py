"""Arrays of any number format become pictures: uint8, channels first."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import UInt8
from torch import Tensor

from barlow.data.bad_samples import BadSamples
from barlow.data.bit_depth import LARGEST, depth_notes, white_level

_CHUNK = 1024
"""Samples converted at a time, so that a conversion needs little memory beside its result."""

NOT_FINITE = "NaN or infinite values"

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey: ITU-R BT.601, as Pillow converts."""


def as_array(values: Tensor | npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return `values` as a NumPy array over the same memory where that is possible."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return values


def as_tensor(array: npt.NDArray[Any]) -> Tensor:
    """Return a tensor over the same memory; nothing in this package writes into samples."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array if min(array.strides, default=0) >= 0 else array.copy())


def pictures(
    values: Tensor | npt.NDArray[Any], white: int | None = None
) -> tuple[UInt8[Tensor, "n c h w"], dict[int, str], tuple[str, ...]]:
    """Read an array as a set of pictures.

    The channel axis of four is the smaller one of the second and the last. Whole numbers are taken for 8, 10,
    12, 14 or 16 bits, the fewest that hold the largest of them, and scaled by 255 / (2^bits - 1); fractions in
    [0, 1] are scaled by 255. It is one rule for the whole array, so that the pictures keep their relations.
    Arrays of uint8 are used where they lie.

    Args:
        values: (n, h, w), (n, c, h, w) or (n, h, w, c), of any real number format.
        white: whole number that becomes 255, and larger ones with it; None: told from the array itself.

    Returns:
        The pictures; the reason by position for those with NaN or infinite values (their pixels are 0); and a
        sentence for the user where the array itself told that it has more than 8 bits.

    Raises:
        ValueError: another number of axes, no samples, or values that have no 8-bit meaning.
        BadDataError: more than 1% of the pictures have NaN or infinite values.
    """
    array = as_array(values)
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise ValueError(
            f"data: got an array of shape {array.shape}, wanted (N, H, W), (N, C, H, W) or (N, H, W, C); "
            "other samples go into barlow.data.arrays.ArraySource"
        )
    if array.ndim == 3:
        array = array[:, None]
    elif array.shape[3] < array.shape[1]:
        array = array.transpose(0, 3, 1, 2)
    converted, bad, notes = _to_uint8(array, white)
    return as_tensor(converted), bad, notes


def with_channels(samples: UInt8[Tensor, "*n c h w"], channels: int) -> UInt8[Tensor, "*n d h w"]:
    """Bring pictures to a number of channels: grey is repeated, colour becomes grey, a fourth is dropped.

    Args:
        samples: (..., c, h, w) pictures.
        channels: d, 1 or 3; 0 leaves the pictures as they are.

    Returns:
        The pictures; repeated grey takes no memory.

    Raises:
        ValueError: a change that has no meaning, as from 2 to 3 channels.
    """
    has = samples.shape[-3]
    if channels in (0, has):
        return samples
    if channels == 3 and has == 1:
        return samples.expand(*samples.shape[:-3], 3, -1, -1)
    if channels == 3 and has > 3:
        return samples[..., :3, :, :]
    if channels == 1 and has >= 3:
        grey = sum(samples[..., place, :, :] * weight for place, weight in enumerate(LUMA))
        return torch.as_tensor(grey).round().to(torch.uint8).unsqueeze(-3)
    raise ValueError(f"channels: pictures with {has} channels cannot be brought to {channels}")


def _to_uint8(
    array: npt.NDArray[Any], white: int | None
) -> tuple[npt.NDArray[np.uint8], dict[int, str], tuple[str, ...]]:
    if array.dtype == np.uint8:
        return array, {}, ()
    if array.dtype.kind not in "biuf":
        raise ValueError(f"data: got an array of {array.dtype}, wanted numbers")
    bad = not_finite(array) if array.dtype.kind == "f" else {}
    low, high = _range(array, bad)
    scale = _scale(array.dtype.kind, low, high, white)
    told = white is None and array.dtype.kind in "iu"
    converted = np.zeros(array.shape, dtype=np.uint8)
    for start, chunk in _chunks(array):
        with np.errstate(invalid="ignore"):  # NaN has no uint8; those rows are cleared below
            scaled = np.rint(np.clip(chunk.astype(np.float32) * scale, 0, 255)).astype(np.uint8)
        converted[start : start + len(chunk)] = scaled
    converted[list(bad)] = 0
    return converted, bad, depth_notes(high, "all") if told else ()


def _scale(kind: str, low: float, high: float, white: int | None) -> float:
    slack = 1e-3  # resampled fractions overshoot by a rounding error
    if kind == "b":
        return 255.0
    if kind == "f" and low >= -slack and high <= 1 + slack:
        return 255.0
    if kind == "f" and low >= 0 and high <= 255:
        return 1.0
    if kind in "iu" and low >= 0 and high <= LARGEST:
        return 255 / (white or white_level(high))
    wanted = "0 to 1 or 0 to 255" if kind == "f" else f"0 to 255 or 0 to {LARGEST}"
    raise ValueError(f"data: pixel values from {low:g} to {high:g}, wanted {wanted} (views normalise by themselves)")


def not_finite(array: npt.NDArray[Any]) -> dict[int, str]:
    """Return the reason by position for the rows that have NaN or infinite values.

    Args:
        array: (n, ...) fractions.

    Returns:
        Reason by position, empty when all is well.

    Raises:
        BadDataError: more than 1% of the rows are bad.
    """
    wrong: list[int] = []
    for start, chunk in _chunks(array):
        finite = np.isfinite(chunk).reshape(len(chunk), -1).all(axis=1)
        wrong += (start + np.flatnonzero(~finite)).tolist()
    bad = BadSamples(len(array), "sample {}".format)
    bad.record(range(len(array)), [(position, NOT_FINITE) for position in wrong])
    return bad.reasons


def _range(array: npt.NDArray[Any], bad: dict[int, str]) -> tuple[float, float]:
    low, high = np.inf, -np.inf
    for start, chunk in _chunks(array):
        good = [row for row in range(len(chunk)) if start + row not in bad]
        if good:
            kept = chunk if len(good) == len(chunk) else chunk[good]
            low, high = min(low, float(kept.min())), max(high, float(kept.max()))
    return low, high


def _chunks(array: npt.NDArray[Any]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    for start in range(0, len(array), _CHUNK):
        yield start, array[start : start + _CHUNK]
