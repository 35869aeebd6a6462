"""Pretrain on what is no image: three-channel time series, as a `Modality` of one's own.

The rest is the library's: loss, loop, resume, audit, export, pages.  python examples/own_modality.py runs/series
"""

import sys
from typing import Any

import torch
from torch import Tensor, nn

import barlow

CLASSES = ["slow", "medium", "fast", "very fast"]


def load(data: Any, *, split: str = "train", **_: Any) -> barlow.Source:
    """Four kinds of vibration, told apart by frequency; phase, gain and noise are nuisances."""
    num_samples, seed = (512, 1) if split == "test" else (2048, 0)
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (num_samples,), generator=random)
    phase, gain = 6.28 * torch.rand(2, num_samples, 3, 1, generator=random)
    wave = torch.sin(6.28 * (2 + labels)[:, None, None] * torch.linspace(0, 1, 64) + phase)
    series = (gain + 1) * wave + 2 * torch.randn(num_samples, 3, 64, generator=random)
    labels_by_name = [CLASSES[k] for k in labels]
    return barlow.ArraySource(series, name="sensors", labels=labels_by_name, describe="recording {}".format)


class ShiftAndGain:
    """One View: a circular shift, a gain per channel, noise. What is missing from `params` is not applied."""

    def sample(self, batch: Tensor, generator: torch.Generator) -> barlow.Params:
        shift = torch.randint(0, 64, (len(batch), 1, 1), generator=generator)
        gain = 0.5 + torch.rand(len(batch), 3, 1, generator=generator)
        noise = torch.randn(batch.shape, generator=generator)
        return {"shift": {"steps": shift}, "gain": {"factor": gain}, "noise": {"value": noise}}

    def apply(self, batch: Tensor, params: barlow.Params) -> Tensor:
        if "shift" in params:
            batch = batch.gather(2, ((torch.arange(64) + params["shift"]["steps"]) % 64).expand_as(batch))
        if "gain" in params:
            batch = batch * params["gain"]["factor"]
        return batch + params["noise"]["value"] if "noise" in params else batch


def network(recipe: barlow.Recipe, facts: Any) -> nn.Module:
    layers = [nn.Conv1d(3, 32, 15, 2, 7), nn.BatchNorm1d(32), nn.ReLU(), nn.Conv1d(32, 64, 7, 2, 3), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten())


RECIPE = barlow.Recipe(name="sensors", source="ours", views="shift-and-gain", backbone="two-convolutions",
                       projector="128-128", epochs=10, batch_size=128, learning_rate=2e-3)  # fmt: skip
SENSORS = barlow.Modality(name="sensors", noun="recording", load=load, splits=lambda data: ("train", "test"),
                          named=("sensors",), recipe=lambda name, data: RECIPE, backbone=network,
                          views=lambda recipe, facts: barlow.Views((ShiftAndGain(),) * 2))  # fmt: skip
if __name__ == "__main__":
    run = barlow.pretrain("sensors", modality=SENSORS, out=sys.argv[1])
    for row in run.summary["evaluation"]["rows"]:
        print(f"{row['features']:>11}: linear {row['linear']:.3f}, kNN {row['knn']:.3f}")
