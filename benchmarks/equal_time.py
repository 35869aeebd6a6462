"""Photographs for equal time: our defaults, what they were, and lightly, beside untrained networks and raw pixels.

    python benchmarks/equal_time.py --data-root ../shared/data --minutes 2        needs: pip install lightly

Arms, each with a complete schedule of as many steps as fit into --minutes on this machine, evaluation apart:

  ours                         what `barlow pretrain photos/ --minutes M` settles on
  pictures of before           the recipe "pictures" of version 0.1: ResNet-18, 128 pixels, projector 1024-1024
  lightly, its loop            its documented loop (BYOL transforms, head 2048-2048-2048, its loss, SGD with lr 0.06,
                               batch 256, two loader workers) on our network, at 48 and at 64 pixels
  lightly, our optimizer       the same transforms, head and loss in our loop: batch, AdamW, warm-up and cosine of ours
  untrained, timm              networks of timm as initialised, with calibrated BatchNorm
  --pretrained NAME            a network of timm with its weights, where they are on this machine

Time is met by calibration, as in `methods.py`: what a step costs each arm is measured first, the machine being quiet,
all arms by turns, and the fastest measurement counts (costs.json). So a machine that is busy later changes nobody's
share, and a measurement that was interrupted goes on. Every arm is evaluated by the same functions on the same test
pictures, which choose nothing; probes choose on training pictures. Every cell is a file, so the same command goes on
where it was stopped.
"""

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightly_rival import LOOPS, rival, rival_calibration

from barlow import pretrain
from barlow.evaluation.scores import calibrate, measure, parts_with_test
from barlow.files import read_json, write_json
from barlow.images.modality import IMAGES
from barlow.images.networks.backbones import build_backbone
from barlow.modalities import load_samples
from barlow.recipes import Recipe, recipe_for
from barlow.runs.build import build_views, fitted, untrained_backbone
from barlow.runs.timing import Calibration, calibrate_apart
from barlow.training.machine import Machine
from methods import apart

TURNS, SECONDS = 2, 6.0
LIGHTLY_SIZES = (48, 64)
UNTRAINED = ("timm:resnet18", "timm:resnet10t", "timm:mobilenetv3_small_100")
COLUMNS = {"few_labels": "10 labels per class", "linear": "linear, all labels", "knn": "kNN"}

BEFORE = Recipe(
    name="pictures of before", image_size=128, views="byol-iid", projector="1024-1024",
    options={"redundancy_weight": 0.005}, batch_size=128,
)  # fmt: skip
"""The default for photographs until the experiments of benchmarks/README.md."""


def data_of(name: str, root: Path) -> tuple[str, str | None, str | None]:
    """Return data, their root, and test data (None: the split that they have)."""
    if name == "fashion-mnist":
        return name, str(root), None
    return str(root / name / "train"), None, str(root / name / "test")


def recipe_of(data: str, root: str | None, minutes: float) -> Recipe:
    """Return what `barlow pretrain DATA --minutes M` settles on, but for the steps, which are counted here."""

    def seconds_per_sample(recipe: Recipe) -> float:
        found = calibrate_apart(replace(recipe, minutes=0), data, root, seconds=SECONDS)
        return found.seconds_per_step / found.batch_size

    made_for = replace(recipe_for(None, data), minutes=minutes)
    settled = made_for
    if IMAGES.plan is not None:
        settled = IMAGES.plan(made_for, (), load_samples(IMAGES, data, data_root=root), seconds_per_sample)
    return replace(settled, minutes=0)


def arms_of(ours: Recipe, sizes: Sequence[int]) -> dict[str, tuple[str, Recipe]]:
    """Return what trains each arm ("" for our own loop) and with which numbers."""
    arms = {"ours": ("", ours), "pictures of before": ("", BEFORE)}
    for loop in LOOPS:
        arms |= {f"{loop}, {size} px": (loop, replace(ours, image_size=size)) for size in sizes}
    return arms


def costs_of(path: Path, arms: Mapping[str, tuple[str, Recipe]], data: str, root: str | None) -> dict[str, Calibration]:
    """Return what a step of every arm costs, from the file, or measured now by turns before anything is trained."""
    kept: dict[str, Any] = read_json(path) if path.exists() else {}
    for turn in range(1, TURNS + 1):
        for name, (loop, recipe) in arms.items():
            known = kept.get(name, {})
            today = asdict(recipe)  # it may have fields that did not exist when costs were kept
            known = known if all(today.get(field) == value for field, value in known.get("recipe", {}).items()) else {}
            if known.get("turns", TURNS if known else 0) >= turn:
                continue
            print(f"some steps of {name}, turn {turn} of {TURNS}", flush=True)
            if loop:
                found = apart(rival_calibration, loop, data, root, recipe)
            else:
                found = calibrate_apart(recipe, data, root, seconds=SECONDS)
            faster = not known or found.seconds_per_step < known["cost"]["seconds_per_step"]
            cost = asdict(found) if faster else known["cost"]
            kept[name] = {"recipe": today, "cost": cost, "turns": turn}
            write_json(path, kept)
    return {name: Calibration(**kept[name]["cost"]) for name in arms}


def train_ours(
    recipe: Recipe, data: str, root: str | None, test: str | None, epochs: float, out: Path
) -> dict[str, Any]:
    """Train one of our arms and return its rows: trained, untrained, raw pixels."""
    run = pretrain(
        data, recipe=recipe, epochs=epochs, data_root=root, test=test, out=out, machine=Machine(devices="1", quiet=True)
    )
    # On all pictures, however little time the run itself had for that.
    source = load_samples(IMAGES, data, facts=run.facts, data_root=root)
    twin = calibrate(untrained_backbone(IMAGES, run.recipe, run.facts), source, run.views.plain)
    parts = parts_with_test(IMAGES, test or data, source, facts=run.facts, data_root=root)
    found = measure(run.backbone, twin, parts, plain=run.views.plain, bars=IMAGES.bars)
    rows = {row["features"]: figures(row) for row in found.evaluation["rows"]}
    return {"rows": rows, "seconds": run.summary["timing"]["pretrain_seconds"], "epochs": epochs}


def train_rival(
    loop: str, recipe: Recipe, data: str, root: str | None, test: str | None, steps: int, seed: int
) -> dict[str, Any]:
    """Train one of lightly's arms."""
    found = rival(loop, data, root, seed, steps, recipe, test)
    return {"rows": {"trained": {name: found[name] for name in COLUMNS}}, "seconds": found["seconds"], "steps": steps}


def of_library(name: str, weights: str, data: str, root: str | None, test: str | None, side: int) -> dict[str, Any]:
    """Evaluate a network of timm without training, as initialised or with its weights."""
    recipe = Recipe(image_size=side, views="byol-iid")
    source = load_samples(IMAGES, data, data_root=root, recipe=recipe)
    recipe, facts = fitted(IMAGES, recipe, source)
    torch.manual_seed(0)
    channels = facts["image_shape"][0]
    network = build_backbone(name, in_channels=channels, image_size=recipe.image_size, pretrained=weights)
    plain = build_views(IMAGES, recipe, facts).plain
    if not weights:
        calibrate(network, source, plain)
    parts = parts_with_test(IMAGES, test or data, source, facts=facts, data_root=root)
    return {"rows": {"trained": figures(measure(network, None, parts, plain=plain, bars={}).row("trained"))}}


def figures(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the three readings of one row."""
    return {"few_labels": row["few_labels"]["mean"], "linear": row["linear"], "knn": row["knn"]}


def cell(folder: Path, name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return a result from its file, or compute and keep it."""
    path = folder / f"{name.replace(', ', '-').replace(' ', '-').replace(':', '-')}.json"
    if not path.exists():
        print(f"{folder.name}: {name}", flush=True)
        write_json(path, compute())
    found: dict[str, Any] = read_json(path)
    return found


def table(results: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Return the rows, mean and standard deviation over seeds, in percent."""
    lines = [f"| arm | seeds | {' | '.join(COLUMNS.values())} |", f"|---|--:|{'--:|' * len(COLUMNS)}"]
    for name, ones in results.items():
        cells = []
        for column in COLUMNS:
            values = [100 * one[column] for one in ones]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.fmean(values):.1f}{spread}")
        lines.append(f"| {name} | {len(ones)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Train what is missing, seed by seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="clothing", help="clothing or fashion-mnist")
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arms", nargs="+", default=None, help="default: all")
    parser.add_argument("--no-lightly", action="store_true", help="ours only")
    parser.add_argument("--pretrained", default="", help="a network of timm whose weights are on this machine")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "runs" / "equal_time")
    flags = parser.parse_args()
    data, root, test = data_of(flags.data, flags.data_root)
    folder = flags.out / f"{flags.data}-{flags.minutes:g}"
    kept = folder / "ours.json"  # settled once, so that every seed trains the same recipe
    if not kept.exists():
        write_json(kept, asdict(recipe_of(data, root, flags.minutes)))
    arms = arms_of(Recipe(**read_json(kept)), () if flags.no_lightly else LIGHTLY_SIZES)
    arms = {name: arm for name, arm in arms.items() if not flags.arms or name in flags.arms}
    costs = costs_of(folder / "costs.json", arms, data, root)
    results: dict[str, list[Mapping[str, float]]] = {}
    for seed in range(flags.seeds):
        for name, (loop, recipe) in arms.items():
            steps, seeded = 60 * flags.minutes / costs[name].seconds_per_step, replace(recipe, seed=seed)
            if loop:
                train = partial(apart, train_rival, loop, seeded, data, root, test, max(1, int(steps)), seed)
            else:
                epochs, out = steps / costs[name].steps_per_epoch, folder / "runs" / f"{name.replace(' ', '-')}-{seed}"
                train = partial(apart, train_ours, seeded, data, root, test, epochs, out)
            rows = cell(folder, f"{name}, {seed}", train)["rows"]
            results.setdefault(name, []).append(rows["trained"])
            if name == "ours":
                results.setdefault("ours, untrained", []).append(rows["untrained"])
                results["raw pixels"] = [rows["raw pixels"]]
    for name, weights in [(one, "") for one in UNTRAINED] + [(flags.pretrained, "default")] * bool(flags.pretrained):
        side = 64 if flags.data == "clothing" else 28
        found = cell(folder, f"{name}{weights}", partial(apart, of_library, name, weights, data, root, test, side))
        results[f"{'pretrained' if weights else 'untrained'}, {name}"] = [found["rows"]["trained"]]
    print(table(results))


if __name__ == "__main__":
    main()
