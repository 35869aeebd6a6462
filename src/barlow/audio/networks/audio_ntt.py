"""AudioNTT, the network of BYOL-A (Niizumi et al. 2022, arXiv 2204.07402) that Audio Barlow Twins takes too.

    conv 3x3, BatchNorm, ReLU, max pool 2, twice; then of each time step a vector of all bands;
    per step MLP W -> H -> H; [convolutions, MLP] of every step; mean + max over time.

With 64 bands, width 64 and H = 2048 it has 6.33 M parameters and 3,072 features (Anton et al. 2023).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

POOLED = 4
"""Bands and frames become a quarter."""
DROPOUT = 0.3
"""Between the layers of the published MLP."""
PUBLISHED_HIDDEN = 2048


class AudioNTT(nn.Module):
    """(N, 1, M, T) -> (N, W M/4 + H), for any number of frames from 4 on."""

    def __init__(self, mels: int, *, width: int = 64, hidden: int = PUBLISHED_HIDDEN, dropout: float = DROPOUT) -> None:
        super().__init__()
        if mels < POOLED:
            raise ValueError(f"mels: got {mels}, wanted at least {POOLED} for AudioNTT, which halves them twice")
        steps = width * (mels // POOLED)
        self.convolutions = nn.Sequential(*_block(1, width), *_block(width, width))
        self.mlp = nn.Sequential(
            nn.Linear(steps, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.num_features = steps + hidden

    def forward(self, spectrogram: Float[Tensor, "n 1 m t"]) -> Float[Tensor, "n d"]:
        """Return features: mean plus maximum over time of what each step says."""
        maps = self.convolutions(spectrogram)
        steps = maps.permute(0, 3, 2, 1).flatten(2)
        said = torch.cat([steps, self.mlp(steps)], dim=2)
        features: Tensor = said.mean(dim=1) + said.amax(dim=1)
        return features


def _block(inputs: int, width: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
