"""Transforms of normalised log-mels (N, M, T), each of a whole batch at once; what they do is in their arguments."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

CUBIC = -0.75
"""The constant of torch's bicubic filter."""
SILENCE_DB = 60.0
"""Fall in decibels that a reverberation time is measured by."""


def mixup(
    x: Float[Tensor, "n m t"], other: Float[Tensor, "n m t"], share: Float[Tensor, " n"]
) -> Float[Tensor, "n m t"]:
    """Add another sound in the background: log((1 - a) exp x + a exp z), by `logaddexp`, which does not overflow.

    Source: Niizumi et al. 2021 (BYOL-A), section III-B; as there on normalised values.
    """
    a = share[:, None, None]
    return torch.logaddexp(x + torch.log1p(-a), other + a.log())


def resized_crops(
    x: Float[Tensor, "n m t"],
    canvas: int,
    top: Int[Tensor, " n"],
    left: Int[Tensor, " n"],
    height: Int[Tensor, " n"],
    width: Int[Tensor, " n"],
) -> Float[Tensor, "n m t"]:
    """Cut a box out of each spectrogram in the middle of `canvas` frames of zeros, and resize it to (M, T).

    The values of `interpolate(crop, mode="bicubic", align_corners=True)`, as two products with matrices: the crops of
    a batch have as many sizes as clips, and go through at once.
    """
    _, mels, frames = x.shape
    before = (canvas - frames) // 2
    rows = bicubic_matrix(top, height, mels, mels)
    columns = bicubic_matrix(left, width, canvas, frames)[:, :, before : before + frames]
    return torch.bmm(torch.bmm(rows, x), columns.transpose(1, 2))


def bicubic_matrix(
    start: Int[Tensor, " n"], length: Int[Tensor, " n"], source: int, size: int
) -> Float[Tensor, "n size source"]:
    """Write the bicubic resize of [start, start + length) to `size` places as a matrix; ends meet ends."""
    step = (length - 1).to(torch.float32) / max(1, size - 1)
    at = torch.arange(size, device=start.device) * step[:, None]
    whole = at.floor()
    part = (at - whole)[:, :, None]
    taps = torch.arange(-1, 3, device=start.device)
    distance = (taps - part).abs()
    weights = torch.where(distance <= 1, _inner(distance), _outer(distance))
    inside = torch.minimum((whole[:, :, None] + taps).clamp(min=0), (length - 1)[:, None, None]).long()
    place = (inside + start[:, None, None]).clamp(max=source - 1)
    found = torch.zeros(len(start), size, source, device=start.device)
    return found.scatter_add_(2, place, weights)


def _inner(d: Tensor) -> Tensor:
    return ((CUBIC + 2) * d - (CUBIC + 3)) * d * d + 1


def _outer(d: Tensor) -> Tensor:
    return ((CUBIC * d - 5 * CUBIC) * d + 8 * CUBIC) * d - 4 * CUBIC


def fader(x: Float[Tensor, "n m t"], first: Float[Tensor, " n"], last: Float[Tensor, " n"]) -> Float[Tensor, "n m t"]:
    """Add a line over time from `first` to `last`, the same in all bands (RandomLinearFader of BYOL-A)."""
    steps = torch.linspace(0, 1, x.shape[2], device=x.device)
    return x + (first[:, None] + (last - first)[:, None] * steps)[:, None, :]


def shifted(x: Float[Tensor, "n m t"], frames: Int[Tensor, " n"]) -> Float[Tensor, "n m t"]:
    """Move each spectrogram by some frames; what leaves at one end comes in at the other."""
    places = (torch.arange(x.shape[2], device=x.device) - frames[:, None]) % x.shape[2]
    return x.gather(2, places[:, None, :].expand_as(x))


def louder(x: Float[Tensor, "n m t"], decibels: Float[Tensor, " n"], std: float) -> Float[Tensor, "n m t"]:
    """Change the level of each clip by some decibels; `std` is that of log-mels before they were normalised."""
    return x + (decibels * (torch.log(torch.tensor(10.0)) / 10 / std).item())[:, None, None]


def noisy(
    x: Float[Tensor, "n m t"], noise: Float[Tensor, "n m t"], share: Float[Tensor, " n"]
) -> Float[Tensor, "n m t"]:
    """Mix noise in, of normalised log-mels: as `mixup` does."""
    return mixup(x, noise, share)


def reverberant(
    x: Float[Tensor, "n m t"], seconds: Float[Tensor, " n"], hop_seconds: float, mean: float, std: float
) -> Float[Tensor, "n m t"]:
    """Let the power of each band die away: p'(t) = sum_k r^k p(t - k), r^(seconds / hop) = 10^-6, of the same total.

    A room in the domain of powers: no phases, the same decay in all bands.
    """
    t = x.shape[2]
    rate = torch.pow(10.0, -SILENCE_DB / 10 * hop_seconds / seconds.clamp(min=1e-6))
    lag = torch.arange(t, device=x.device)[:, None] - torch.arange(t, device=x.device)[None, :]
    kernel = torch.where(lag >= 0, rate[:, None, None] ** lag.clamp(min=0), 0.0) * (1 - rate)[:, None, None]
    power = (x * std + mean).exp()
    return (torch.bmm(power, kernel.transpose(1, 2)).clamp(min=1e-30).log() - mean) / std
