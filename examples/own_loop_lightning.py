"""Our loss and views inside PyTorch Lightning (pip install pytorch-lightning).

Its DDP makes the process group, and the loss is then that of the whole batch by itself.
"""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import barlow


class Twins(pl.LightningModule):
    def __init__(self, backbone: nn.Module, num_features: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.projector = barlow.HeadSpec("128-128").build(num_features)
        self.loss = barlow.BarlowTwinsLoss(redundancy_weight=0.02)
        self.views = barlow.image_views("small-grey", size=8, channels=1)
        self.random = torch.Generator().manual_seed(0)

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        view_a, view_b = self.views.draw(batch[0], self.random)  # whole batches, on their device
        terms = self.loss(self.projector(self.backbone(view_a)), self.projector(self.backbone(view_b)))
        self.log_dict({name: part.detach() for name, part in terms.parts.items()})
        return terms.total

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


def main(steps: int = 20) -> dict[str, Any]:
    source = barlow.load_source("digits")
    (digits,) = source.batches(range(len(source)), len(source))
    layers = [nn.Conv2d(1, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    loader = DataLoader(TensorDataset(digits.samples), batch_size=128, shuffle=True, drop_last=True)
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(max_steps=steps, accelerator="cpu", devices=1, enable_model_summary=False, **quiet)
    trainer.fit(Twins(nn.Sequential(*layers), 32), loader)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


if __name__ == "__main__":
    print(main())
