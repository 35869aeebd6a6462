"""Raw log-mels as features: what every network of sound has to beat. All of them are of the plain view (N, 1, M, T)."""

import torch
from jaxtyping import Float
from torch import Tensor

from barlow.seams import flattened

STRETCHED_FRAMES = 12
"""Frames to which the heard part of every clip is brought."""


def heard(view: Float[Tensor, "n 1 m t"]) -> tuple[Tensor, Tensor]:
    """Return where sound begins and how many frames it lasts: in silence around a clip all bands are equal."""
    x = view[:, 0]
    sounding = (x.amax(dim=1) - x.amin(dim=1)) > 1e-4
    sounding[:, 0] |= ~sounding.any(dim=1)
    first = sounding.to(torch.int64).argmax(dim=1)
    last = x.shape[2] - 1 - sounding.flip(1).to(torch.int64).argmax(dim=1)
    return first, last - first + 1


def stretched(view: Float[Tensor, "n 1 m t"]) -> Float[Tensor, "n d"]:
    """Return the heard part of each clip, linear in time between its ends at 12 places: fast and slow look alike."""
    first, length = heard(view)
    places = torch.linspace(0, 1, STRETCHED_FRAMES, device=view.device)
    at = first[:, None] + (length - 1)[:, None] * places
    low = at.floor().long()
    high = (low + 1).clamp(max=view.shape[3] - 1)
    x, part = view[:, 0], (at - low)[:, None, :]
    n, mels = x.shape[:2]
    before, after = (x.gather(2, index[:, None, :].expand(n, mels, -1)) for index in (low, high))
    return (before + (after - before) * part).reshape(n, -1)


def centred(view: Float[Tensor, "n 1 m t"]) -> Float[Tensor, "n d"]:
    """Return log-mels without their mean over the heard frames, band by band: without the colour of voice and room."""
    first, length = heard(view)
    steps = torch.arange(view.shape[3], device=view.device)
    inside = ((steps >= first[:, None]) & (steps < (first + length)[:, None]))[:, None, :]
    x = view[:, 0]
    mean = (x * inside).sum(dim=2, keepdim=True) / length[:, None, None]
    return ((x - mean) * inside).reshape(len(x), -1)


BARS = {
    "raw log-mel": flattened,
    "raw log-mel, stretched": stretched,
    "raw log-mel, mean removed": centred,
}
"""Name -> features of the plain view."""
