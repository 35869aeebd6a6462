"""Log-mel spectrograms, once per batch on its device.

    x(m, t) = (log(sum_k F(m, k) |STFT(g s)(k, t)|^2 + eps) - mean) / std,    g = loudness / rms of the clip s

The bands are triangles with corners evenly spaced on mel(f) = 2595 log10(1 + f / 700), of height 1: the values of
torchaudio's `MelSpectrogram` (HTK mels, no norm, power 2), which is not needed. Frames are centred on every hop-th
sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from barlow.audio.front_end import FrontEnd, front_end

EPSILON = torch.finfo(torch.float32).eps
"""Added to powers before the logarithm, as Anton et al. 2023 do."""
QUIETEST = 2.0**-15
"""Root mean square below which a clip is not made louder: there is nothing but noise of the recorder in it."""


@lru_cache(maxsize=16)
def mel_bank(front: FrontEnd, device: torch.device) -> Float[Tensor, "m k"]:
    """Return the weights of the bands, (mels, n_fft / 2 + 1)."""
    frequencies = torch.linspace(0, front.sample_rate / 2, front.n_fft // 2 + 1, dtype=torch.float64)
    low, high = _mel(torch.tensor([front.f_min, front.f_max], dtype=torch.float64)).tolist()
    corners = 700 * (10 ** (torch.linspace(low, high, front.mels + 2, dtype=torch.float64) / 2595) - 1)
    width = corners.diff()
    slopes = corners[:, None] - frequencies[None, :]
    rising, falling = -slopes[:-2] / width[:-1, None], slopes[2:] / width[1:, None]
    return torch.minimum(rising, falling).clamp(min=0).to(torch.float32).to(device)


def _mel(hertz: Tensor) -> Tensor:
    return 2595 * torch.log10(1 + hertz / 700)


@lru_cache(maxsize=16)
def _window(n_fft: int, device: torch.device) -> Tensor:
    return torch.hann_window(n_fft, device=device)


def rms(waves: Float[Tensor, "n t"]) -> Float[Tensor, " n"]:
    """Return the root mean square of the samples of each clip that are not 0, so that silence around it counts not."""
    heard = (waves != 0).sum(dim=1).clamp(min=1)
    return (waves.square().sum(dim=1) / heard).sqrt()


def log_mels(waves: Float[Tensor, "n t"], front: FrontEnd) -> Float[Tensor, "n m f"]:
    """Return the logarithm of the power in each band and frame; `frames` of them for a window."""
    padded = pad(waves, (front.n_fft // 2, front.n_fft // 2), mode="reflect")
    window = _window(front.n_fft, waves.device)
    spectrum = torch.stft(padded, front.n_fft, front.hop, window=window, center=False, return_complex=True)
    power = torch.view_as_real(spectrum).square().sum(dim=-1)
    return torch.matmul(mel_bank(front, waves.device), power).add_(EPSILON).log_()


@dataclass(frozen=True)
class Prepare:
    """From a batch of clips to normalised log-mels: what views and evaluation start from.

    Attributes:
        front: numbers of the spectrogram.
        loudness: root mean square to which every clip is brought, that of the training data; 0: none is changed.
        mean: of the log-mels of the training data.
        std: their standard deviation.
    """

    front: FrontEnd
    loudness: float
    mean: float
    std: float

    def __call__(self, batch: Tensor) -> Float[Tensor, "n m f"]:
        """Return (N, mels, frames) of clips (N, t); a batch that is prepared already is returned as it is."""
        if batch.ndim == 3:
            return batch
        if batch.ndim != 2 or not batch.is_floating_point():
            raise ValueError(f"batch: got {batch.dtype} {tuple(batch.shape)}, wanted clips (N, t) of floats")
        with torch.no_grad(), torch.autocast(batch.device.type, enabled=False):
            waves = batch.to(torch.float32)
            if self.loudness:
                size = rms(waves)
                gain = torch.where(size > QUIETEST, self.loudness / size.clamp(min=QUIETEST), 1.0)
                waves = waves * gain[:, None]
            return log_mels(waves, self.front).sub_(self.mean).div_(self.std)

    def plain(self, batch: Tensor) -> Float[Tensor, "n 1 m f"]:
        """Return what the network sees without augmentation: one channel."""
        return self(batch)[:, None]


def prepare_of(facts: Mapping[str, Any]) -> Prepare:
    """Return what makes log-mels of clips as the run with these facts has them."""
    return Prepare(front_end(facts["front_end"]), *(float(facts[name][0]) for name in ("loudness", "mean", "std")))
