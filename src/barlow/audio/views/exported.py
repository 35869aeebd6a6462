"""The front end as a module for other programs: clips become network input by convolutions and products alone."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad

from barlow.audio.views.log_mel import EPSILON, QUIETEST, Prepare, mel_bank


class PlainClip(nn.Module):
    """(N, window) float32 samples of mono clips at the rate of the run -> (N, 1, mels, frames), as the plain view.

    The Fourier transform is a convolution with cosines and sines under a Hann window: a graph of it means the same in
    every runtime, whether it knows complex numbers or not.
    """

    def __init__(self, prepare: Prepare) -> None:
        super().__init__()
        front = prepare.front
        self.hop, self.around, self.bins = front.hop, front.n_fft // 2, front.n_fft // 2 + 1
        self.loudness, self.mean, self.std = prepare.loudness, prepare.mean, prepare.std
        steps = torch.arange(front.n_fft, dtype=torch.float64)
        angle = 2 * math.pi * torch.arange(self.bins, dtype=torch.float64)[:, None] * steps / front.n_fft
        window = torch.hann_window(front.n_fft, dtype=torch.float64)
        waves = torch.cat([window * angle.cos(), window * angle.sin()])[:, None]
        self.waves: Tensor
        self.bank: Tensor
        self.register_buffer("waves", waves.to(torch.float32))
        self.register_buffer("bank", mel_bank(front, torch.device("cpu")))

    def forward(self, clips: Float[Tensor, "n t"]) -> Float[Tensor, "n 1 m f"]:
        """Return what the network sees of the clips."""
        if self.loudness:
            heard = (clips != 0).to(torch.float32).sum(dim=1).clamp(min=1)
            size = (clips.square().sum(dim=1) / heard).sqrt()
            gain = torch.where(size > QUIETEST, self.loudness / size.clamp(min=QUIETEST), torch.ones_like(size))
            clips = clips * gain[:, None]
        padded = pad(clips[:, None], (self.around, self.around), mode="reflect")
        parts = conv1d(padded, self.waves, stride=self.hop).square()
        power = torch.matmul(self.bank, parts[:, : self.bins] + parts[:, self.bins :])
        return ((torch.log(power + EPSILON) - self.mean) / self.std)[:, None]
