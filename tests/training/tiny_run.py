"""A run of a second or two for the tests of the loop: vectors, a small network with dropout, a small loss.

As a program: python -m tests.training.tiny_run FOLDER CHECKPOINT_MINUTES [SECONDS_PER_STEP]
"""

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from barlow.data.arrays import ArraySource
from barlow.methods.barlow_twins import barlow_twins_loss
from barlow.methods.forward import TwoViews
from barlow.seams import Method, Params, Terms, Views
from barlow.training.journal import Journal
from barlow.training.optimizers import build_optimizer
from barlow.training.plan import Plan, steps_of, warmup_cosine
from barlow.training.pretrain import Probe, pretrain
from barlow.training.progress import StepProgress

NUM_SAMPLES, BATCH, EPOCHS = 70, 16, 5
STEPS = EPOCHS * (NUM_SAMPLES // BATCH)


class Noise:
    """One view: the vector plus noise."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def sample(self, batch: Tensor, generator: torch.Generator) -> Params:
        time.sleep(self.seconds)
        return {"noise": {"value": torch.randn(batch.shape, generator=generator)}}

    def apply(self, batch: Tensor, params: Params) -> Tensor:
        return batch + 0.3 * params["noise"]["value"]


def tiny_method() -> TwoViews:
    """Build the method with fixed weights; dropout makes it depend on torch's own generator."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.2))
    return TwoViews(backbone, nn.Linear(12, 8, bias=False), barlow_twins_loss)


def run_tiny(
    folder: Path,
    *,
    method: Method | None = None,
    minutes: float = 60.0,
    seconds: float = 0.0,
    batch_size: int = BATCH,
    epochs: int | float = EPOCHS,
    probes: Sequence[Probe] = (),
    journal_listener: Callable[[dict[str, Any]], None] | None = None,
    floor: float | None = 0.25,
    seconds_left: Callable[[], float] | None = None,
) -> tuple[Method, bool]:
    """Train, or go on training, in `folder`; return the method and whether the end was reached."""
    torch.set_num_threads(1)
    method = method or tiny_method()
    source = ArraySource(torch.randn(NUM_SAMPLES, 6, generator=torch.Generator().manual_seed(1)))
    total = steps_of(epochs, NUM_SAMPLES // batch_size)
    factor = partial(warmup_cosine, total_steps=total, warmup_steps=2, final=0.0)
    plan = Plan(epochs, batch_size, seed=3, factor=factor, checkpoint_minutes=minutes, floor=floor, clip_norm=5.0)
    optimizer = build_optimizer(method, name="adamw", learning_rate=1e-2, momentum=0.9, weight_decay=1e-4)
    with Journal(folder / "journal.jsonl", listener=journal_listener) as journal:
        finished = pretrain(
            source,
            Views((Noise(seconds), Noise(seconds))),
            method,
            optimizer,
            plan,
            fabric=Fabric(accelerator="cpu", devices=1),
            folder=folder,
            journal=journal,
            probes=probes,
            progress=StepProgress(epochs, quiet=True),
            seconds_left=seconds_left,
        )
    return method, finished


class Broken(Method):
    """A method whose second term becomes infinite at its third step."""

    def __init__(self) -> None:
        super().__init__(nn.Identity(), nn.Identity())
        self.weight = nn.Parameter(torch.ones(6))
        self.calls = 0

    def forward(self, views: Sequence[Tensor]) -> Terms:
        self.calls += 1
        good = (views[0] * self.weight).square().mean()
        bad = self.weight.sum() * (float("inf") if self.calls > 2 else 1.0)
        return Terms(good + bad, {"good": good, "bad": bad})


if __name__ == "__main__":
    _, done = run_tiny(Path(sys.argv[1]), minutes=float(sys.argv[2]), seconds=float(sys.argv[3]))
    sys.exit(0 if done else 3)
