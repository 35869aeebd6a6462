"""Whole pretraining steps per second: our loop beside lightly's documented one, on the same backbone, in one run.

    python benchmarks/pretraining.py [--steps 8] [--repeats 3]        needs: pip install lightly

Backbone: a ResNet-18 of width 16 with the small stem on 32 x 32 RGB; batch 256; projector 2048-2048-2048. Ours is the
recipe's loop as `barlow pretrain` runs it (views, journal, precision of the machine). Lightly's is the loop of its
documentation: its BYOL transforms for CIFAR, its projection head, its loss, SGD, a DataLoader with 0 and with 2
workers, of which the faster counts. Images are random: nothing here depends on what they show. Repeats alternate, each
measurement in a process of its own, so that no arm inherits another's threads or allocator; a time is the median over
the steps of a repeat but the first two, a ratio belongs to one repeat.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from barlow.data.arrays import ArraySource
from barlow.images.modality import IMAGES
from barlow.images.networks.backbones import build_backbone
from barlow.recipes import Recipe
from barlow.runs.build import build_method, build_plan, build_views, fitted
from barlow.training.engine import build_fabric
from barlow.training.journal import Journal, read_journal
from barlow.training.machine import Machine
from barlow.training.optimizers import build_optimizer
from barlow.training.pretrain import pretrain
from barlow.training.progress import StepProgress

BATCH, WIDTH, SIDE = 256, 16, 32
NOT_COUNTED = 2


def backbone() -> nn.Module:
    """Return the network that both loops train."""
    torch.manual_seed(0)
    return build_backbone("resnet18", width=WIDTH, image_size=SIDE)


def images(steps: int) -> Tensor:
    """Return random pictures, one batch per step."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (BATCH * steps, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)


def ours(steps: int) -> list[float]:
    """Return the seconds between the steps of one epoch of our loop, from its journal."""
    source = ArraySource(images(steps))
    asked = Recipe(views="cifar", width=WIDTH, batch_size=BATCH, epochs=1, optimizer="sgd", learning_rate=0.06)
    recipe, facts = fitted(IMAGES, asked, source)
    network = backbone()
    method = build_method(recipe, network, 8 * WIDTH).to(memory_format=torch.channels_last)
    optimizer = build_optimizer(method, name="sgd", learning_rate=0.06, momentum=0.9, weight_decay=0.0, fused=True)
    plan = build_plan(recipe, num_samples=len(source), num_features=8 * WIDTH, checkpoint_minutes=60.0)
    fabric = build_fabric(recipe, Machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Journal(folder / "journal.jsonl") as journal:
            progress = StepProgress(1, quiet=True)
            views = build_views(IMAGES, recipe, facts)
            pretrain(
                source, views, method, optimizer, plan, fabric=fabric, folder=folder, journal=journal, progress=progress
            )
        times = [record["time"] for record in read_journal(folder / "journal.jsonl") if record["event"] == "step"]
    return [after - before for before, after in pairwise(times)]


class Pictures(Dataset[tuple[Any, int]]):
    """The same pictures as PIL images under lightly's transform, as torchvision's CIFAR gives them."""

    def __init__(self, pictures: Tensor, transform: Any) -> None:
        """Keep the pictures and the transform."""
        self.pictures = [Image.fromarray(picture.permute(1, 2, 0).numpy()) for picture in pictures]
        self.transform = transform

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return the two views of one picture, and a label that nobody uses."""
        return self.transform(self.pictures[index]), 0


def lightly(steps: int, num_workers: int) -> list[float]:
    """Return the seconds between the steps of one epoch of lightly's documented loop."""
    from lightly.loss import BarlowTwinsLoss
    from lightly.models.modules import BarlowTwinsProjectionHead
    from lightly.transforms.byol_transform import BYOLTransform, BYOLView1Transform, BYOLView2Transform

    transform = BYOLTransform(
        view_1_transform=BYOLView1Transform(input_size=SIDE, gaussian_blur=0.0),
        view_2_transform=BYOLView2Transform(input_size=SIDE, gaussian_blur=0.0),
    )
    model = nn.Sequential(backbone(), BarlowTwinsProjectionHead(8 * WIDTH, 2048, 2048))
    criterion = BarlowTwinsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.06)
    dataset = Pictures(images(steps), transform)
    loader = DataLoader(dataset, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=num_workers)
    times = []
    for (x_0, x_1), _ in loader:
        loss = criterion(model(x_0), model(x_1))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.time())
    return [after - before for before, after in pairwise(times)]


def rate(loop: Callable[..., list[float]], *arguments: Any) -> float:
    """Return images per second at the median step of a loop, run in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        seconds = process.submit(loop, *arguments).result()
    return BATCH / statistics.median(seconds[NOT_COUNTED:])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    flags = parser.parse_args()
    print("| repeat | ours, images/s | lightly, 0 workers | lightly, 2 workers | ours / best of lightly |")
    print("|--:|--:|--:|--:|--:|")
    ratios = []
    for repeat in range(flags.repeats):
        mine, none, two = rate(ours, flags.steps), rate(lightly, flags.steps, 0), rate(lightly, flags.steps, 2)
        ratios.append(mine / max(none, two))
        print(f"| {repeat + 1} | {mine:.0f} | {none:.0f} | {two:.0f} | {ratios[-1]:.2f} |", flush=True)
    print(f"\nmedian ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), "
          f"{torch.get_num_threads()} threads")  # fmt: skip


if __name__ == "__main__":
    main()
