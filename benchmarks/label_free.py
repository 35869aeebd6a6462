"""What each label-free figure is worth: its rank correlation with probe accuracy over backbones of our own.

    python benchmarks/label_free.py --data-root ../shared/data

Backbones, all on Fashion-MNIST:

  small runs    trained here: nine methods x 1, 2, 4, 8 epochs x 2 seeds, each with its own recipe, on the same 6,000
                training pictures without labels; one network, resnet10 of width 32 (256 features). VICRegL is left out:
                its recipe wants another network
  untrained     the same network before training, six seeds, BatchNorm statistics from the data; and widths 16 and 64
  others        finished runs of other benchmarks (`methods.py`, `features.py`): width 64 or so, all 60,000 pictures

Every backbone is looked at alike, its h and not its z: the figures of `barlow audit` from the same 3,072 training
pictures with 6 views each of one pipeline (that of `small-grey`, whatever a run trained with, normalised as the run
does), without labels; a linear probe on all labels of 10,000 training pictures and one on 10 labels per class (mean of
5 draws), both scored on the same 5,000 pictures of the test split, their penalties chosen on training pictures alone.
Beside the figures stands what costs no look at the features at all: the number of pictures a run has seen, and, within
a method, its own loss at the end.

Intervals are of 95%, from 1,000 resamplings of backbones in two stages, methods and then the runs of each, since runs
of one method are no independent evidence about methods. Within a method runs differ in length and seed only.
Lengths, seeds, pictures and views are constants below.

Results are kept in benchmarks/runs/label_free/, so the same command goes on where it stopped, takes up finished runs
that are new, and prints the tables; `label_free.md` is what it printed, read in words.
"""

import argparse
import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr  # type: ignore[import-untyped]
from torch import nn

import barlow
from barlow.assembly import fitted, image_views_of, untrained_backbone
from barlow.auditing.observation import observe
from barlow.auditing.quantities import quantities
from barlow.auditing.subjects import Networks
from barlow.data.sources import load_source
from barlow.data.subsets import SubsetSource
from barlow.evaluation.features import extract
from barlow.evaluation.few_labels import few_label_accuracy
from barlow.evaluation.linear import fit_linear_probe
from barlow.evaluation.splits import few_label_draws, validation_split
from barlow.machine import Machine
from barlow.recipes import recipe_for
from barlow.run import open_run
from barlow.run_folder import RunFolder
from barlow.scores import LabelledParts, calibrate, labelled_parts
from barlow.theory.floors import pearson_floor
from barlow.training.journal import read_journal
from barlow.views.views import Views

DATA = "fashion-mnist"
METHODS = (
    "barlow_twins", "simclr", "swav", "simsiam", "vicreg", "wmse", "optimal_projector", "byol", "sigreg",
)  # fmt: skip
EPOCHS, SEEDS = (1, 2, 4, 8), (0, 1)
PICTURES, WIDTH = 6000, 32
UNTRAINED = ((32, range(6)), (16, range(2)), (64, range(2)))
OTHERS = ("methods/ours/*/seed-*", "fashion-mnist-default-*")

IMAGES, NUM_VIEWS, VIEWS = 3072, 6, "small-grey-flip"
EMBEDDING, REDUNDANCY_WEIGHT = 256, 0.02
"""D and lambda of the closed-form limit: those of our Barlow Twins recipe, for every backbone alike."""
TRAIN, TEST, PER_CLASS, DRAWS = 10_000, 5000, 10, 5
RESAMPLES = 1000
LAST_STEPS = 0.1
"""Share of the steps whose mean loss counts as the final one: single batches scatter."""

FIGURES = {
    "augmentation_share": -1, "mean_correlation": 1, "view_information": 1, "num_above_edge": 1,
    "pearson_limit": -1, "pearson_limit_cross_fit": -1, "lidar": 1, "rank": 1, "effective_rank": 1,
    "participation_ratio": 1, "rank_me": 1, "condition_number": -1, "alpha": 0, "distance_of_alpha_from_1": -1,
    "alignment": -1, "uniformity": -1,
}  # fmt: skip
"""Figure -> whether more of it is said to be better (1), less of it (-1) or a value in between (0)."""
BETTER = {1: "more", -1: "less", 0: "near 1"}
BESIDE = {"pictures_seen": 1, "loss": -1}
"""What stands beside the figures and needs no features."""
ALL_PICTURES = 60_000
TARGETS = {"linear": "linear probe", "few_labels": "10 labels per class"}
Record = dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """Backbones that are ranked together; `within` "method" or "epochs": only against those that share it."""

    title: str
    records: Sequence[Record]
    within: Literal["", "method", "epochs"] = ""

    @property
    def figures(self) -> list[str]:
        """Names of the figures that can be compared: losses only within a method."""
        return [*FIGURES, *BESIDE] if self.within == "method" else [*FIGURES, "pictures_seen"]


def train_small_runs(out: Path, data_root: str | None) -> None:
    """Train what is missing: every method for every length and seed, on the same pictures without labels."""
    whole = load_source(DATA, data_root=data_root)
    pictures = SubsetSource(whole, torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))[:PICTURES])
    pictures.labels = None
    for seed in SEEDS:
        for epochs in EPOCHS:
            for method in METHODS:
                folder = out / f"{method}-{epochs}-{seed}"
                if (folder / "summary.json").exists():
                    continue
                run = barlow.pretrain(
                    pictures, recipe=recipe_for(method, DATA), out=folder, epochs=epochs, seed=seed, width=WIDTH,
                    machine=Machine(quiet=True, devices="1"),
                )  # fmt: skip
                print(f"trained {folder.name}", flush=True)
                if not run.finished:
                    raise SystemExit("stopped; the same command goes on")


def measured(out: Path, parts: LabelledParts) -> list[Record]:
    """Return one record per backbone, measuring those that have none yet."""
    jobs: dict[str, Callable[[], Record]] = {}
    for width, seeds in UNTRAINED:
        jobs |= {f"untrained-{width}-{seed}": _untrained_job(width, seed, parts) for seed in seeds}
    small = [out / f"{method}-{epochs}-{seed}" for method in METHODS for epochs in EPOCHS for seed in SEEDS]
    others = [folder for pattern in OTHERS for folder in sorted(out.parent.glob(pattern))]
    for folder in small + others:
        if (folder / "summary.json").exists() and RunFolder(folder).finished():
            name = folder.name if folder in small else str(folder.relative_to(out.parent)).replace("/", "-")
            jobs[name] = _run_job(folder, parts, small=folder in small)
    records = []
    for name, job in jobs.items():
        path = out / "records" / f"{name}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            record: Record = {"name": name, **job()}
            path.with_suffix(".partial").write_text(json.dumps(record, indent=1))
            path.with_suffix(".partial").replace(path)
            print(f"measured {name}: {100 * record['linear']:.2f}", flush=True)
        records.append(json.loads(path.read_text()))
    return records


def _untrained_job(width: int, seed: int, parts: LabelledParts) -> Callable[[], Record]:
    def job() -> Record:
        recipe, facts = fitted(replace(recipe_for(None, DATA), width=width, seed=seed), parts.train, images=True)
        views = image_views_of(replace(recipe, views=VIEWS), facts)
        backbone = calibrate(untrained_backbone(recipe, facts["image_shape"][0]), parts.train, views.plain)
        about = {"method": "untrained", "epochs": 0, "seed": seed, "width": width, "small": width == WIDTH}
        return about | {"loss": None} | measure(backbone, views, parts)

    return job


def _run_job(folder: Path, parts: LabelledParts, *, small: bool) -> Callable[[], Record]:
    def job() -> Record:
        run = open_run(folder)
        recipe = run.recipe
        views = image_views_of(replace(recipe, views=VIEWS), RunFolder(folder).data())
        losses = [record["loss"] for record in read_journal(folder / "journal.jsonl") if record["event"] == "step"]
        last = losses[-max(1, round(LAST_STEPS * len(losses))) :]
        about = {"method": recipe.method, "epochs": recipe.epochs, "seed": recipe.seed, "width": recipe.width}
        return about | {"small": small, "loss": statistics.fmean(last)} | measure(run.backbone, views, parts)

    return job


def measure(backbone: nn.Module, views: Views, parts: LabelledParts) -> Record:
    """Return the label-free figures of a backbone and what labels say of it."""
    seen = observe(Networks(backbone.eval(), None), parts.train, views, num_images=IMAGES, num_views=NUM_VIEWS)
    found, spectrum = quantities(seen)
    figures = {name: found[name]["value"] for name in FIGURES if name in found}
    for name, estimate in (("pearson_limit", "plug_in"), ("pearson_limit_cross_fit", "cross_fit")):
        figures[name] = pearson_floor(spectrum[estimate], EMBEDDING, REDUNDANCY_WEIGHT)
    alpha = figures["alpha"]
    figures["distance_of_alpha_from_1"] = None if alpha is None else abs(alpha - 1)
    errors = {name: found[name]["error"] for name in figures if name in found and found[name]["error"] is not None}
    train = extract(backbone, parts.train, plain=views.plain, limit=TRAIN)
    test = extract(backbone, parts.test, plain=views.plain, limit=TEST)
    if train.labels is None or test.labels is None:
        raise ValueError(f"data: {DATA} has no labels")
    probe = fit_linear_probe(train.h, train.labels, validation_split(train.labels, fraction=0.2, most=TRAIN, seed=0))
    draws = few_label_draws(train.labels, per_class=PER_CLASS, draws=DRAWS, seed=0)
    return {
        "num_features": train.h.shape[1],
        "linear": probe.accuracy(test.h, test.labels),
        "few_labels": few_label_accuracy(train.h, train.labels, test.h, test.labels, draws).mean,
        "converged": probe.classifier.converged,
        "figures": figures,
        "errors": errors,
    }


def table_of(records: Sequence[Record], names: Sequence[str]) -> NDArray[np.float64]:
    """Return (n, figures + targets); a figure that a backbone lacks, or its loss, is not a number."""
    known = [
        {"loss": record["loss"], "pictures_seen": _pictures_seen(record), **record["figures"]} for record in records
    ]
    rows = [[figures[name] for name in names] for figures in known]
    labels = [[record[target] for target in TARGETS] for record in records]
    return np.array([[*row, *label] for row, label in zip(rows, labels, strict=True)], dtype=np.float64)


def _pictures_seen(record: Record) -> int:
    return int(record["epochs"]) * (PICTURES if record["small"] else ALL_PICTURES)


def spearman(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (figures, targets) of Spearman's rank correlation; not a number for a figure that is constant."""
    width = table.shape[1]
    found = np.full((width, width), np.nan)
    varies = np.flatnonzero((table != table[0]).any(axis=0) & np.isfinite(table).all(axis=0))
    if len(table) > 2 and len(varies) > 2:
        found[np.ix_(varies, varies)] = spearmanr(table[:, varies]).statistic
    return found[: -len(TARGETS), -len(TARGETS) :]


def correlations(methods: Sequence[Sequence[Record]], sample: Sample) -> NDArray[np.float64]:
    """Return those of all records, or the mean over groups of those within each.

    Args:
        methods: records of one method each; a method that was drawn twice is there twice.
        sample: says what to compare.
    """
    together = [record for records in methods for record in records]
    groups: Sequence[Sequence[Record]] = methods if sample.within == "method" else [together]
    if sample.within == "epochs":
        groups = [[record for record in together if record["epochs"] == epochs] for epochs in EPOCHS]
    each = np.stack([spearman(table_of(group, sample.figures)) for group in groups if len(group) > 2])
    known = np.isfinite(each).sum(axis=0)
    mean: NDArray[np.float64] = np.where(known > 0, np.nansum(each, axis=0) / np.maximum(known, 1), np.nan)
    return mean


def with_interval(sample: Sample) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (figures, targets) of correlations and (2, figures, targets) of the ends of their intervals."""
    groups: dict[str, list[Record]] = {}
    for record in sample.records:
        groups.setdefault(record["method"], []).append(record)
    methods = [method for method in groups if method != "untrained"]
    generator = np.random.default_rng(0)
    resampled = []
    for _ in range(RESAMPLES):
        drawn = [methods[place] for place in generator.integers(len(methods), size=len(methods))]
        # untrained networks are no method that might have been another one: they are always there
        chosen = [groups[method] for method in [*drawn, "untrained"] if method in groups]
        again = [[rows[place] for place in generator.integers(len(rows), size=len(rows))] for rows in chosen]
        resampled.append(correlations(again, sample))
    found = correlations(list(groups.values()), sample)
    draws = np.stack(resampled)
    draws[:, ~np.isfinite(found)] = 0.0  # constant figures have no interval, and are not shown
    return found, np.nanpercentile(draws, [2.5, 97.5], axis=0)


def samples_of(records: Sequence[Record]) -> list[Sample]:
    """Return what is ranked together."""
    small = [record for record in records if record["small"]]
    trained = [record for record in small if record["method"] != "untrained"]
    longest = [record for record in trained if record["epochs"] == max(EPOCHS)]
    everything = [record for record in records if record["method"] != "untrained"]
    return [
        Sample("small runs", trained),
        Sample("small runs and untrained", small),
        Sample("within each method", trained, within="method"),
        Sample("within each length", trained, within="epochs"),
        Sample(f"small runs of {max(EPOCHS)} epochs", longest),
        Sample("all trained, every width", everything),
        Sample("all", records),
    ]


def print_correlations(samples: Sequence[Sample]) -> None:
    """Print a table per target: one row per figure, one column per sample."""
    found = [with_interval(sample) for sample in samples]
    titles = [f"{sample.title} ({len(sample.records)})" for sample in samples]
    for place, target in enumerate(TARGETS.values()):
        print(f"\n## Spearman's correlation with the accuracy of: {target}\n")
        print(f"| figure | said to be better | {' | '.join(titles)} |\n|---|---|{'--:|' * len(samples)}")
        for row, name in enumerate([*FIGURES, *BESIDE]):
            better = BETTER[(FIGURES | BESIDE)[name]]
            cells = [
                _interval(values[row, place], ends[:, row, place]) if row < len(values) else ""
                for values, ends in found
            ]
            print(f"| {name} | {better} | {' | '.join(cells)} |")


def print_kendall(sample: Sample, others: Sequence[Sample]) -> None:
    """Print Kendall's tau-b, and what accuracy is lost by choosing one backbone with a figure."""
    shown = [sample, *others]
    print("\n## Kendall's tau-b with the linear probe, and points of it lost by taking the best backbone by a figure")
    titles = [f"tau, {one.title} | lost, {one.title}" for one in shown]
    print(f"\n| figure | {' | '.join(titles)} |\n|---|{'--:|' * (2 * len(shown))}")
    for name, sign in FIGURES.items():
        print(f"| {name} | {' | '.join(_tau_and_lost(one.records, name, sign) for one in shown)} |")
    chance = [statistics.fmean(_lost(one.records, row) for row in one.records) for one in shown]
    print(f"| (taking any) | {' | '.join(f' | {lost:.1f}' for lost in chance)} |")


def _tau_and_lost(records: Sequence[Record], name: str, sign: int) -> str:
    known = [record for record in records if record["figures"][name] is not None]
    values = [record["figures"][name] for record in known]
    if len(set(values)) < 2:
        return "constant | "
    tau = kendalltau(values, [record["linear"] for record in known]).statistic
    if sign == 0:
        return f"{tau:+.2f} | "
    chosen = max(known, key=lambda record: sign * record["figures"][name])
    return f"{tau:+.2f} | {_lost(records, chosen):.1f}"


def _lost(records: Iterable[Record], chosen: Mapping[str, Any]) -> float:
    best: float = max(record["linear"] for record in records)
    return 100 * (best - float(chosen["linear"]))


def print_groups(records: Sequence[Record], key: str, values: Sequence[Any]) -> None:
    """Print Spearman's correlation with the linear probe among the runs that share a method or a length."""
    names = [*FIGURES, *BESIDE] if key == "method" else list(FIGURES)
    found = [spearman(table_of([record for record in records if record[key] == value], names)) for value in values]
    print(
        f"\nSpearman's correlation with the linear probe within each: {key}, {len(records) // len(values)} runs each\n"
    )
    print(f"| figure | {' | '.join(map(str, values))} |\n|---|{'--:|' * len(values)}")
    for row, name in enumerate(names):
        print(f"| {name} | {' | '.join(_signed(one[row, 0]) for one in found)} |")


def print_spread(samples: Sequence[Sample]) -> None:
    """Print how far apart the backbones are, and how far apart two seeds of one recipe."""
    for target, title in TARGETS.items():
        twins: dict[tuple[Any, ...], list[float]] = {}
        for record in samples[0].records:
            twins.setdefault((record["method"], record["epochs"]), []).append(100 * record[target])
        noise = statistics.fmean(statistics.variance(ones) for ones in twins.values() if len(ones) > 1) ** 0.5
        spreads = [statistics.stdev(100 * record[target] for record in sample.records) for sample in samples]
        shown = ", ".join(f"{one.title} {spread:.2f}" for one, spread in zip(samples, spreads, strict=True))
        print(f"\nStandard deviation in points, {title}: {shown}; between seeds of one recipe and length {noise:.2f}")


def print_backbones(records: Sequence[Record]) -> None:
    """Print what the backbones are worth, one row per method and length."""
    shown = ("augmentation_share", "mean_correlation", "pearson_limit", "rank_me", "lidar", "alpha")
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        kind = "small" if record["small"] else "other"
        groups.setdefault((record["method"], kind, record["width"], record["epochs"]), []).append(record)
    print("\n## The backbones: accuracy in percent and some figures, means over seeds")
    print(f"\n| method | runs | width | epochs | seeds | linear | few labels | {' | '.join(shown)} |")
    print(f"|---|---|{'--:|' * (5 + len(shown))}")
    for (method, kind, width, epochs), rows in groups.items():
        cells = [f"{100 * statistics.fmean(row[target] for row in rows):.1f}" for target in TARGETS]
        cells += [f"{statistics.fmean(row['figures'][name] or math.nan for row in rows):.3g}" for name in shown]
        print(f"| {method} | {kind} | {width} | {epochs} | {len(rows)} | {' | '.join(cells)} |")


def _interval(value: float, ends: NDArray[np.float64]) -> str:
    return f"{_signed(value)} ({ends[0]:+.2f} to {ends[1]:+.2f})" if math.isfinite(value) else ""


def _signed(value: float) -> str:
    return f"{value:+.2f}" if math.isfinite(value) else ""


def main() -> None:
    """Train and measure what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default=None)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "runs" / "label_free")
    flags = parser.parse_args()
    train_small_runs(flags.out, flags.data_root)
    parts = labelled_parts(DATA, data_root=flags.data_root)
    if parts is None:
        raise SystemExit(f"{DATA} has no labels")
    records = measured(flags.out, parts)
    samples = samples_of(records)
    print_correlations(samples)
    small, longest, everything = samples[0], samples[4], samples[-1]
    print_kendall(small, [longest, everything])
    print_groups(small.records, "method", METHODS)
    print_groups(small.records, "epochs", EPOCHS)
    print_spread([small, longest, everything])
    print_backbones(records)


if __name__ == "__main__":
    main()
