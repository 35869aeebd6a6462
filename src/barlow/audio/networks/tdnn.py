"""A time-delay network: the x-vector of Snyder et al. 2018, of any width.

    conv over time, 5 frames; 3 frames 2 apart; 3 frames 3 apart; 1; 1 to 3 W; each with ReLU and BatchNorm
    mean and deviation over time; one linear layer to the embedding

The published network is 512 wide and 1,500 before the pooling, with 512 features of its first layer after it.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

KERNELS = ((5, 1), (3, 2), (3, 3), (1, 1), (1, 1))
"""Frames of each layer, and how far they are apart (Snyder et al. 2018, table 1)."""
POOLED = 3
"""Channels before the pooling, in widths."""
FEATURES = 2
"""Features of the embedding, in widths: 128 at width 64."""
LEAST_VARIANCE = 1e-6
"""Under the root of the deviation, so that a constant has a gradient."""


class TDNN(nn.Module):
    """(N, 1, M, T) -> (N, 2 W), for any number of frames."""

    def __init__(self, mels: int, *, width: int = 64) -> None:
        super().__init__()
        widths = (mels, width, width, width, width, POOLED * width)
        layers: list[nn.Module] = []
        for (inputs, outputs), (frames, apart) in zip(pairwise(widths), KERNELS, strict=True):
            # Frames beyond the ends count as the mean of the data, so that short clips keep theirs.
            convolution = nn.Conv1d(inputs, outputs, frames, dilation=apart, padding=apart * (frames // 2))
            layers += [convolution, nn.ReLU(), nn.BatchNorm1d(outputs)]
        self.frames = nn.Sequential(*layers)
        self.embedding = nn.Linear(2 * POOLED * width, FEATURES * width)
        self.num_features = FEATURES * width

    def forward(self, spectrogram: Float[Tensor, "n 1 m t"]) -> Float[Tensor, "n d"]:
        """Return the embedding of each clip."""
        steps = self.frames(spectrogram[:, 0])
        variance = steps.var(dim=2, unbiased=False)
        features: Tensor = self.embedding(torch.cat([steps.mean(dim=2), (variance + LEAST_VARIANCE).sqrt()], dim=1))
        return features
