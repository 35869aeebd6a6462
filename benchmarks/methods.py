"""All methods for the same wall time, beside lightly's Barlow Twins: three seeds, one backbone, the same probes.

    python benchmarks/methods.py --data-root ../shared/data --minutes 5         needs: pip install lightly

Ours are the small recipes, through `compare_recipes`: their epochs are chosen so that pretraining takes --minutes.
Lightly's Barlow Twins (BYOL transforms without blur, as its example for small pictures; head 2048-2048; its loss) runs
twice on the backbone of our recipe, in a process of its own for each seed:

  lightly, its loop            its documented loop: batch 256, SGD with lr 0.06, two loader workers
  lightly, our optimizer       the same transforms, head and loss in our loop: batch, AdamW, warm-up and cosine of our
                               recipe, precision of the machine; to the nearest epoch, so that the schedule is complete

Time is met by calibration: before anything is trained, what a step costs each arm is measured with the machine to
itself (plan.json, rivals.json). Ours take the number of epochs that comes nearest to --minutes; lightly's take the
steps that fit into the longest time of any of ours. So a machine that is busy later changes nobody's share, and a
rounded number of epochs is to nobody's harm but ours.

Every arm is evaluated by the same functions on the test split; hyper-parameters of the probes are chosen on training
data. Results are kept in benchmarks/runs/methods/<arm>-<seed>.json and our runs beside them, so the same command goes
on where it stopped. Seeds take turns: no arm has the quiet hours for itself.
"""

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from barlow.assembly import (
    METHODS,
    build_fabric,
    build_plan,
    build_run_optimizer,
    fitted,
    image_views_of,
    untrained_backbone,
)
from barlow.calibration import Calibration, peak_memory
from barlow.compare import compare_recipes
from barlow.data.source import Batch, Source
from barlow.data.sources import load_source
from barlow.evidence import label_free_figures
from barlow.machine import Machine
from barlow.methods.method import Method
from barlow.methods.terms import Terms
from barlow.recipes import RECIPES, Recipe, recipe_for
from barlow.scores import labelled_parts, measure
from barlow.training.journal import Journal, read_journal
from barlow.training.pretrain import pretrain
from barlow.training.progress import StepProgress
from barlow.views.views import Views

WORKERS, BATCH, LEARNING_RATE, HEAD = 2, 256, 0.06, 2048
"""Lightly's example for Barlow Twins; its eight loader workers are two on two cores."""
CALIBRATION_STEPS, NOT_COUNTED = 20, 5
COLUMNS = {"few_labels": "10 labels per class", "linear": "linear, all labels", "knn": "kNN"}


class TwoViews(Dataset[tuple[Tensor, Tensor, int]]):
    """Pictures as PIL images under lightly's transform, as its users load them; grey ones stay grey."""

    def __init__(self, source: Source, side: int, mean: Sequence[float], std: Sequence[float]) -> None:
        """Keep the pictures; the transform gets the statistics of the data, as ours does."""
        from lightly.transforms.byol_transform import BYOLTransform, BYOLView1Transform, BYOLView2Transform

        self.channels = len(mean)
        self.pictures: list[Image.Image] = []
        for batch in source.batches(range(len(source)), 1000):
            self.pictures += [_picture(sample) for sample in batch.samples]
        normalize = {"mean": list(mean) * (3 // len(mean)), "std": list(std) * (3 // len(std))}
        self.transform = BYOLTransform(
            view_1_transform=BYOLView1Transform(input_size=side, gaussian_blur=0.0, normalize=normalize),
            view_2_transform=BYOLView2Transform(input_size=side, gaussian_blur=0.0, normalize=normalize),
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
    """Take steps in our loop with the optimizer and the complete schedule of our recipe, to the nearest epoch."""
    per_epoch = max(1, len(pairs) // recipe.batch_size)
    return _steps(method, pairs, replace(recipe, epochs=max(1, round(steps / per_epoch))))


def pairs_subset(pairs: TwoViews, most: int) -> TwoViews:
    """Return the first pictures under the same transform."""
    few = TwoViews.__new__(TwoViews)
    few.channels, few.transform, few.pictures = pairs.channels, pairs.transform, pairs.pictures[:most]
    return few


def _steps(method: Method, pairs: TwoViews, recipe: Recipe) -> list[float]:
    """Run our loop and return the time of every step that is in its journal."""
    fabric = build_fabric(recipe, Machine(devices="1"))
    num_features = int(getattr(method.backbone, "num_features", 1))
    plan = build_plan(recipe, num_samples=len(pairs), num_features=num_features, checkpoint_minutes=60.0)
    optimizer = build_run_optimizer(recipe, method, fabric)
    method.to(memory_format=torch.channels_last)
    with tempfile.TemporaryDirectory() as name, Journal(Path(name) / "journal.jsonl") as journal:
        pretrain(
            LoadedPairs(pairs), Views((Take(0), Take(1))), method, optimizer, replace(plan, floor=None),
            fabric=fabric, folder=Path(name), journal=journal, progress=StepProgress(recipe.epochs, quiet=True),
        )  # fmt: skip
        return [record["time"] for record in read_journal(journal.path) if record["event"] == "step"]


LOOPS: dict[str, Callable[[Method, TwoViews, Recipe, int], list[float]]] = {
    "lightly, its loop": its_loop,
    "lightly, our optimizer": our_loop,
}


def lightly_on_our_backbone(data: str, data_root: str | None, seed: int) -> tuple[Method, TwoViews, Recipe, Views]:
    """Build the rival on the backbone, the pictures and the statistics of our recipe."""
    source = load_source(data, data_root=data_root)
    recipe, facts = fitted(replace(recipe_for(None, data), seed=seed), source, images=True)
    backbone = untrained_backbone(recipe, facts["image_shape"][0])
    pairs = TwoViews(source, recipe.image_size, facts["mean"], facts["std"])
    method = LightlyBarlowTwins(backbone, backbone.num_features).train()
    return method, pairs, recipe, image_views_of(recipe, facts)


def rival_calibration(arm: str, data: str, data_root: str | None) -> dict[str, float]:
    """Measure what a step of a rival takes on this machine, loading included."""
    method, pairs, recipe, _ = lightly_on_our_backbone(data, data_root, seed=0)
    batch_size = BATCH if LOOPS[arm] is its_loop else recipe.batch_size
    few = pairs_subset(pairs, CALIBRATION_STEPS * batch_size)
    times = LOOPS[arm](method, few, recipe, CALIBRATION_STEPS)
    per_step = statistics.fmean(after - before for before, after in list(pairwise(times))[NOT_COUNTED:])
    return {"seconds_per_step": per_step, "batch_size": batch_size, "peak_memory": peak_memory()}


def rival(arm: str, data: str, data_root: str | None, seed: int, steps: int) -> dict[str, Any]:
    """Train and evaluate one rival."""
    method, pairs, recipe, views = lightly_on_our_backbone(data, data_root, seed)
    started = time.perf_counter()
    taken = len(LOOPS[arm](method, pairs, recipe, steps))
    found: dict[str, Any] = {"steps": taken, "seconds": time.perf_counter() - started}
    backbone = method.backbone.eval()
    parts = labelled_parts(data, data_root=data_root, channels=pairs.channels)
    if parts is None:
        raise ValueError(f"data: {data} has no labels")
    row = dict(measure(backbone, None, parts, plain=views.plain).row("trained"))
    rank = label_free_figures(backbone, parts.train, views)["effective_rank"]
    few = row["few_labels"]["mean"]
    return found | {"few_labels": few, "linear": row["linear"], "knn": row["knn"], "effective_rank": rank}


def _picture(sample: Tensor) -> Image.Image:
    grey = sample.shape[0] == 1
    return Image.fromarray((sample[0] if grey else sample.permute(1, 2, 0)).numpy()).convert("RGB")


def results_of_ours(flags: argparse.Namespace, methods: Sequence[str], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Train what is missing of our recipes, and return one result per row and seed."""
    found = compare_recipes(
        flags.data, methods, seeds=seeds, minutes=flags.minutes, out=flags.out / "ours", data_root=flags.data_root
    )
    if not found.finished:
        raise SystemExit("stopped; the same command goes on")
    plan = json.loads((found.folder / "plan.json").read_text())["arms"]
    results = []
    for row in found.table["rows"]:
        figures = {name: row[name]["values"] for name in (*COLUMNS, "seconds", "effective_rank") if name in row}
        for place, seed in enumerate(row["seeds"]):
            one: dict[str, Any] = {name: values[place] for name, values in figures.items()}
            one |= {name: row[name] for name in ("images", "epochs", "peak_memory") if name in row}
            if row["name"] in plan:
                cost = Calibration(**plan[row["name"]]["calibration"])
                one["planned_seconds"] = row["epochs"] * cost.steps_per_epoch * cost.seconds_per_step
            results.append({"arm": row["name"], "seed": seed, **one})
    return results


def longest_of_ours(flags: argparse.Namespace) -> float:
    """Return the seconds that the plan gives to the one of our arms with most of them, at least --minutes."""
    arms = json.loads((flags.out / "ours" / "plan.json").read_text())["arms"].values()
    costs = [(arm["epochs"], Calibration(**arm["calibration"])) for arm in arms]
    return max([60 * flags.minutes, *(epochs * one.steps_per_epoch * one.seconds_per_step for epochs, one in costs)])


def rival_plan(flags: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return what a step of each rival costs, from the file or measured now, before anything is trained."""
    path = flags.out / "rivals.json"
    if not path.exists():
        found = {arm: _apart(rival_calibration, arm, flags.data, flags.data_root) for arm in LOOPS}
        _write(path, {"minutes": flags.minutes, "data": flags.data, "arms": found})
    plan = json.loads(path.read_text())
    if (plan["minutes"], plan["data"]) != (flags.minutes, flags.data):
        raise SystemExit(f"{path} is of another time or data set; choose another --out")
    return dict(plan["arms"])


def results_of_rivals(flags: argparse.Namespace, seed: int) -> list[dict[str, Any]]:
    """Return the result of each rival, from its file or from a fresh process."""
    results = []
    for arm, cost in rival_plan(flags).items():
        path = flags.out / f"{arm.replace(', ', '-').replace(' ', '-')}-{seed}.json"
        steps = round(longest_of_ours(flags) / cost["seconds_per_step"])
        if not path.exists():
            print(f"{arm}, seed {seed}: {steps} steps", flush=True)
            found = _apart(rival, arm, flags.data, flags.data_root, seed, steps)
            images = found["steps"] * cost["batch_size"]
            planned = found["steps"] * cost["seconds_per_step"]
            about = {"arm": arm, "seed": seed, "images": images, "planned_seconds": planned}
            _write(path, {**about, "peak_memory": cost["peak_memory"], **found})
        results.append(json.loads(path.read_text()))
    return results


def _apart(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Call in a process of its own, so that nobody inherits another's threads, caches or memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".partial")
    aside.write_text(json.dumps(content, indent=1))
    aside.replace(path)


def print_table(results: Sequence[dict[str, Any]]) -> None:
    """Print mean and standard deviation over seeds, best few-label accuracy first."""
    arms: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        arms.setdefault(result["arm"], []).append(result)
    ranked = sorted(arms.items(), key=lambda arm: -statistics.fmean(one["few_labels"] for one in arm[1]))
    print(f"\n| arm | seeds | {' | '.join(COLUMNS.values())} | images | minutes planned | peak MiB | effective rank |")
    print(f"|---|--:|{'--:|' * (len(COLUMNS) + 4)}")
    for arm, ones in ranked:
        cells = [_spread([one[name] for one in ones], 100, 1) for name in COLUMNS]
        cells += [_spread([one["images"] for one in ones if "images" in one], 1, 0, spread=False)]
        cells += [
            _spread([one["planned_seconds"] for one in ones if "planned_seconds" in one], 1 / 60, 2, spread=False)
        ]
        cells += [_spread([one["peak_memory"] for one in ones if "peak_memory" in one], 2**-20, 0, spread=False)]
        cells += [_spread([one["effective_rank"] for one in ones if "effective_rank" in one], 1, 1)]
        print(f"| {arm} | {len(ones)} | {' | '.join(cells)} |")
    best = {True: 0.0, False: 0.0}
    for arm, ones in arms.items():
        if "images" in ones[0]:
            best[arm in LOOPS] = max(best[arm in LOOPS], statistics.fmean(one["few_labels"] for one in ones))
    print(
        f"\nbest of ours above the better of lightly's two: {100 * (best[False] - best[True]):.1f} points of few labels"
    )


def _spread(values: Sequence[float], factor: float, digits: int, *, spread: bool = True) -> str:
    if not values:
        return ""
    mean = f"{factor * statistics.fmean(values):,.{digits}f}"
    return f"{mean} ± {factor * statistics.stdev(values):.{digits}f}" if spread and len(values) > 1 else mean


def main() -> None:
    """Train what is missing, seed by seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="fashion-mnist")
    parser.add_argument("--data-root", default=None)
    parser.add_argument("--methods", nargs="+", default=None, help="default: all that have a recipe for the data")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--no-lightly", action="store_true", help="ours only")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "runs" / "methods")
    flags = parser.parse_args()
    made_for = recipe_for(None, flags.data)
    has_recipe = partial(_has_recipe, data=flags.data, made_for=made_for)
    methods = flags.methods or [name for name in METHODS if has_recipe(name)]
    if not flags.no_lightly:
        rival_plan(flags)
    rivals: list[dict[str, Any]] = []
    ours: list[dict[str, Any]] = []
    for seed in range(flags.seeds):
        ours = results_of_ours(flags, methods, list(range(seed + 1)))
        rivals += [] if flags.no_lightly else results_of_rivals(flags, seed)
    print_table(ours + rivals)


def _has_recipe(method: str, *, data: str, made_for: Recipe) -> bool:
    return method == made_for.method or f"{method}-{made_for.name}" in RECIPES


if __name__ == "__main__":
    main()
