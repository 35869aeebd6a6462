"""The rival of `methods.py`: lightly's Barlow Twins on the backbone of our recipe, in its documented loop and in ours.

Its transforms, head and loss are lightly's own; the backbone, the pictures, their statistics and the probes are ours:
those of our arms.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from barlow.evaluation.scores import labelled_parts, measure, parts_with_test
from barlow.images.modality import IMAGES
from barlow.modalities import load_samples
from barlow.recipes import Recipe, recipe_for
from barlow.runs.build import build_plan, build_run_optimizer, build_views, fitted, untrained_backbone
from barlow.runs.evidence import label_free_figures
from barlow.runs.timing import Calibration, peak_memory
from barlow.seams import Batch, Method, Source, Terms, Views, check_backbone
from barlow.training.engine import build_fabric
from barlow.training.journal import Journal, read_journal
from barlow.training.machine import Machine
from barlow.training.plan import steps_per_epoch
from barlow.training.pretrain import pretrain
from barlow.training.progress import StepProgress

WORKERS, BATCH, LEARNING_RATE, HEAD = 2, 256, 0.06, 2048
"""Lightly's example for Barlow Twins; its eight loader workers are two on two cores."""
CALIBRATION_STEPS, NOT_COUNTED = 20, 5


class TwoViews(Dataset[tuple[Tensor, Tensor, int]]):
    """Pictures as PIL images under lightly's transform, as its users load them; grey ones stay grey."""

    def __init__(
        self, source: Source, side: int, mean: Sequence[float], std: Sequence[float], *, blur: bool = False
    ) -> None:
        """Keep the pictures; the transform gets the statistics of the data, as ours does.

        `blur`: with the blur of its defaults, for photographs; its example for small pictures has none.
        """
        from lightly.transforms.byol_transform import BYOLTransform, BYOLView1Transform, BYOLView2Transform

        self.channels = len(mean)
        self.pictures: list[Image.Image] = []
        for batch in source.batches(range(len(source)), 1000):
            self.pictures += [_picture(sample) for sample in batch.samples]
        normalize = {"mean": list(mean) * (3 // len(mean)), "std": list(std) * (3 // len(std))}
        without = {} if blur else {"gaussian_blur": 0.0}
        self.transform = BYOLTransform(
            view_1_transform=BYOLView1Transform(input_size=side, normalize=normalize, **without),
            view_2_transform=BYOLView2Transform(input_size=side, normalize=normalize, **without),
        )

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        """Return the two views of one picture, and which one it is."""
        views: Any = self.transform(self.pictures[index])
        return views[0][: self.channels], views[1][: self.channels], index


class LoadedPairs:
    """Lightly's loader as a Source: a sample is a pair of views that its workers made."""

    def __init__(self, pairs: TwoViews) -> None:
        """Take the pictures."""
        self.name = "lightly's views"
        self.labels: Tensor | None = None
        self.class_names: Sequence[str] = ()
        self.bad: dict[int, str] = {}
        self.pairs = pairs

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.pairs)

    def describe(self, index: int) -> str:
        """Return the number of a picture."""
        return str(index)

    def batches(self, order: Sequence[int], batch_size: int) -> Iterator[Batch]:
        """Yield pairs of views, made by two workers."""
        cut = [list(order[start : start + batch_size]) for start in range(0, len(order), batch_size)]
        for first, second, indices in DataLoader(self.pairs, batch_sampler=cut, num_workers=WORKERS):
            yield Batch([first, second], indices)


class Take:
    """A pipeline that takes one view of the pair."""

    def __init__(self, place: int) -> None:
        """Say which."""
        self.place = place

    def sample(self, batch: Any, generator: torch.Generator) -> dict[str, dict[str, Tensor]]:
        """Return nothing: the workers drew already."""
        return {}

    def apply(self, batch: Any, params: Any) -> Any:
        """Return the view."""
        return batch[self.place]


class LightlyBarlowTwins(Method):
    """Lightly's head and loss on a backbone."""

    def __init__(self, backbone: nn.Module, num_features: int) -> None:
        """Build them as its example does."""
        from lightly.loss import BarlowTwinsLoss
        from lightly.models.modules import BarlowTwinsProjectionHead

        super().__init__(backbone, BarlowTwinsProjectionHead(num_features, HEAD, HEAD))
        self.criterion = BarlowTwinsLoss()

    def forward(self, views: Sequence[Any]) -> Terms:
        """Return the loss of two views."""
        first, second = (self.projector(self.backbone(view)).float() for view in views)
        return Terms(self.criterion(first, second), {})


def its_loop(method: Method, pairs: TwoViews, recipe: Recipe, steps: int) -> list[float]:
    """Take steps in lightly's documented loop; return when each ended."""
    optimizer = torch.optim.SGD(method.parameters(), lr=LEARNING_RATE)
    loader = DataLoader(pairs, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=WORKERS)
    times: list[float] = []
    while len(times) < steps:
        for first, second, _ in loader:
            loss = method([first, second]).total
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            times.append(time.perf_counter())
            if len(times) == steps:
                break
    return times


def our_loop(method: Method, pairs: TwoViews, recipe: Recipe, steps: int) -> list[float]:
    """Take steps in our loop with the optimizer and the complete schedule of our recipe."""
    per_epoch = steps_per_epoch(len(pairs), recipe.batch_size)
    views = Views((Take(0), Take(1)))
    return our_steps(method, LoadedPairs(pairs), views, replace(recipe, epochs=steps / per_epoch))


def pairs_subset(pairs: TwoViews, most: int) -> TwoViews:
    """Return the first pictures under the same transform."""
    few = TwoViews.__new__(TwoViews)
    few.channels, few.transform, few.pictures = pairs.channels, pairs.transform, pairs.pictures[:most]
    return few


def our_steps(method: Method, source: Source, views: Views, recipe: Recipe) -> list[float]:
    """Run our loop for the epochs of a recipe and return the time of every step that is in its journal."""
    fabric = build_fabric(recipe, Machine(devices="1"))
    num_features = int(getattr(method.backbone, "num_features", 1))
    plan = build_plan(recipe, num_samples=len(source), num_features=num_features, checkpoint_minutes=60.0)
    optimizer = build_run_optimizer(recipe, method, fabric)
    method.to(memory_format=torch.channels_last)
    with tempfile.TemporaryDirectory() as name, Journal(Path(name) / "journal.jsonl") as journal:
        pretrain(
            source, views, method, optimizer, replace(plan, floor=None),
            fabric=fabric, folder=Path(name), journal=journal, progress=StepProgress(recipe.epochs, quiet=True),
        )  # fmt: skip
        return [record["time"] for record in read_journal(journal.path) if record["event"] == "step"]


LOOPS: dict[str, Callable[[Method, TwoViews, Recipe, int], list[float]]] = {
    "lightly, its loop": its_loop,
    "lightly, our optimizer": our_loop,
}


def lightly_on_our_backbone(
    data: str, data_root: str | None, seed: int, numbers: Recipe | None = None
) -> tuple[Method, TwoViews, Recipe, Views]:
    """Build the rival on the backbone, the pictures and the statistics of our recipe: the data's own, or `numbers`."""
    recipe = replace(numbers or recipe_for(None, data), seed=seed)
    source = load_samples(IMAGES, data, data_root=data_root, recipe=recipe)
    recipe, facts = fitted(IMAGES, recipe, source)
    backbone = untrained_backbone(IMAGES, recipe, facts)
    views = build_views(IMAGES, recipe, facts)
    pairs = TwoViews(source, recipe.image_size, facts["mean"], facts["std"], blur=numbers is not None)
    example = views.plain(next(source.batches([0, 1], 2)).samples)
    method = LightlyBarlowTwins(backbone, check_backbone(backbone, example)).train()
    return method, pairs, recipe, views


def rival_calibration(arm: str, data: str, data_root: str | None, numbers: Recipe | None = None) -> Calibration:
    """Measure what a step of a rival takes on this machine, loading included."""
    method, pairs, recipe, _ = lightly_on_our_backbone(data, data_root, 0, numbers)
    batch_size = BATCH if LOOPS[arm] is its_loop else recipe.batch_size
    few = pairs_subset(pairs, CALIBRATION_STEPS * batch_size)
    times = LOOPS[arm](method, few, recipe, CALIBRATION_STEPS)
    counted = [after - before for before, after in pairwise(times)][NOT_COUNTED:]
    return Calibration(
        seconds_per_step=statistics.fmean(counted),
        steps=len(counted),
        probe_seconds=0.0,
        peak_memory=peak_memory(),
        num_samples=len(pairs),
        batch_size=batch_size,
    )


def rival(
    arm: str,
    data: str,
    data_root: str | None,
    seed: int,
    steps: int,
    numbers: Recipe | None = None,
    test: str | None = None,
) -> dict[str, Any]:
    """Train and evaluate one rival, on the test data given or on those of `data`."""
    method, pairs, recipe, views = lightly_on_our_backbone(data, data_root, seed, numbers)
    started = time.perf_counter()
    taken = len(LOOPS[arm](method, pairs, recipe, steps))
    found: dict[str, Any] = {"steps": taken, "seconds": time.perf_counter() - started}
    backbone = method.backbone.eval()
    facts = {"image_shape": [pairs.channels, 0, 0]}
    if test is None:
        parts = labelled_parts(IMAGES, data, data_root=data_root, facts=facts)
    else:
        source = load_samples(IMAGES, data, data_root=data_root, recipe=recipe)
        parts = parts_with_test(IMAGES, test, source, facts=facts, data_root=data_root)
    if parts is None:
        raise ValueError(f"data: {data} has no labels")
    row = dict(measure(backbone, None, parts, plain=views.plain, bars=IMAGES.bars).row("trained"))
    rank = label_free_figures(backbone, parts.train, views)["effective_rank"]
    few = row["few_labels"]["mean"]
    return found | {"few_labels": few, "linear": row["linear"], "knn": row["knn"], "effective_rank": rank}


def _picture(sample: Tensor) -> Image.Image:
    grey = sample.shape[0] == 1
    return Image.fromarray((sample[0] if grey else sample.permute(1, 2, 0)).numpy()).convert("RGB")
