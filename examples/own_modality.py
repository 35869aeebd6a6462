"""Pretrain on what is no image: three-channel time series with their own Source, views and network.

The rest is the library's: loss, loop, resume, probe, evaluation, page.  python examples/own_modality.py runs/series
"""

import sys
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

import barlow


class Sensors:
    """A Source: four kinds of vibration, told apart by frequency; phase, gain and noise are nuisances."""

    def __init__(self, num_samples: int, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        self.name, self.class_names, self.bad = "sensors", ["slow", "medium", "fast", "very fast"], dict[int, str]()
        self.labels = torch.randint(0, 4, (num_samples,), generator=random)
        phase, gain = 6.28 * torch.rand(2, num_samples, 3, 1, generator=random)
        wave = torch.sin(6.28 * (2 + self.labels)[:, None, None] * torch.linspace(0, 1, 64) + phase)
        self.series = (gain + 1) * wave + 2 * torch.randn(num_samples, 3, 64, generator=random)

    def __len__(self) -> int:
        return len(self.series)

    def describe(self, index: int) -> str:
        return f"recording {index}"

    def batches(self, order: Sequence[int], batch_size: int) -> Iterator[barlow.Batch]:
        for indices in torch.as_tensor(order).split(batch_size):
            yield barlow.Batch(self.series[indices], indices)


class ShiftAndGain:
    """One View: a circular shift, a gain per channel, noise. `sample` draws, `apply` only follows."""

    def sample(self, batch: Tensor, generator: torch.Generator) -> barlow.Params:
        shift = torch.randint(0, 64, (len(batch), 1, 1), generator=generator)
        gain = 0.5 + torch.rand(len(batch), 3, 1, generator=generator)
        noise = torch.randn(batch.shape, generator=generator)
        return {"shift": {"steps": shift}, "gain": {"factor": gain}, "noise": {"value": noise}}

    def apply(self, batch: Tensor, params: barlow.Params) -> Tensor:
        index = ((torch.arange(64) + params["shift"]["steps"]) % 64).expand_as(batch)
        return batch.gather(2, index) * params["gain"]["factor"] + params["noise"]["value"]


if __name__ == "__main__":
    layers = [nn.Conv1d(3, 32, 15, 2, 7), nn.BatchNorm1d(32), nn.ReLU(), nn.Conv1d(32, 64, 7, 2, 3), nn.ReLU()]
    run = barlow.pretrain(Sensors(2048, seed=0), test=Sensors(512, seed=1), views=ShiftAndGain(),
                          backbone=nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten()), projector="128-128",
                          epochs=10, batch_size=128, learning_rate=2e-3, out=sys.argv[1])  # fmt: skip
    for row in run.summary["evaluation"]["rows"]:
        print(f"{row['features']:>10}: linear {row['linear']:.3f}, kNN {row['knn']:.3f}")
