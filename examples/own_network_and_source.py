"""Pretrain a network of your own on a source of your own: samples that come from anywhere, here made as asked for.

The rest is the library's: loss, loop, resume, probe, page.  python examples/own_network_and_source.py runs/own
"""

import sys
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

import barlow


class Spots:
    """A `Source`: pictures with one bright spot, whose quarter is the label. Nothing is kept but the seed."""

    name, class_names = "spots", ("top left", "top right", "bottom left", "bottom right")

    def __init__(self, number: int = 512) -> None:
        place = torch.randint(0, 16, (number, 2), generator=torch.Generator().manual_seed(0))
        self.place = place
        self.labels: Tensor | None = 2 * (place[:, 0] // 8) + place[:, 1] // 8
        self.bad: dict[int, str] = {}  # position -> reason, of samples that cannot be read

    def __len__(self) -> int:
        return len(self.place)

    def describe(self, index: int) -> str:
        return f"spot {index}"

    def batches(self, order: Sequence[int], batch_size: int) -> Iterator[barlow.Batch]:
        for chosen in torch.as_tensor(list(order)).split(batch_size):
            pictures = torch.zeros(len(chosen), 1, 16, 16)
            pictures[torch.arange(len(chosen)), 0, self.place[chosen, 0], self.place[chosen, 1]] = 4.0
            yield barlow.Batch(pictures, chosen)


class NoiseAndGain:
    """One View. What is missing from `params` is not applied."""

    def sample(self, batch: Tensor, generator: torch.Generator) -> barlow.Params:
        noise = torch.randn(batch.shape, generator=generator)
        return {
            "gain": {"factor": 0.5 + torch.rand(len(batch), 1, 1, 1, generator=generator)},
            "noise": {"value": noise},
        }

    def apply(self, batch: Tensor, params: barlow.Params) -> Tensor:
        batch = batch * params["gain"]["factor"] if "gain" in params else batch
        return batch + 0.3 * params["noise"]["value"] if "noise" in params else batch


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 16, 5, 2, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 32))


if __name__ == "__main__":
    run = barlow.pretrain(
        Spots(), views=NoiseAndGain(), backbone=network(), projector="32-32", epochs=5, out=sys.argv[1]
    )
    for row in run.summary["evaluation"]["rows"]:
        print(f"{row['features']:>11}: linear {row['linear']:.3f}, kNN {row['knn']:.3f}")
