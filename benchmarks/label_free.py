"""What each label-free figure is worth: its rank correlation with probe accuracy over backbones of our own.

    python benchmarks/label_free.py --data-root ../shared/data

Backbones, all on Fashion-MNIST:

  small runs    trained here: nine methods x 1, 2, 4, 8 epochs x 2 seeds, each with its own recipe, on the same 6,000
                training pictures without labels; one network, resnet10 of width 32 (256 features). VICRegL is left out:
                its recipe wants another network
  varied        24 runs of Barlow Twins of one length, 4 epochs, that vary lambda, D, the rate or the views, one at a
                time; one that collapses and one with a shortcut. They have tables of their own, and the correlations of
                all runs are given once more with the number of pictures seen held fixed
  untrained     the same network before training, six seeds, BatchNorm statistics from the data; and widths 16 and 64
  others        finished runs of other benchmarks (`methods.py`, `features.py`): width 64 or so, all 60,000 pictures

Every backbone is looked at alike, its h: the figures of `barlow audit` from the same 3,072 training
pictures with 6 views each of one pipeline (that of `small-grey`, whatever a run trained with, normalised as the run
does), without labels; a linear probe on all labels of 10,000 training pictures and one on 10 labels per class (mean of
5 draws), both scored on the same 5,000 pictures of the test split, their penalties chosen on training pictures alone.
RankMe and LiDAR are also taken of z (`rank_me_z`, `lidar_z`), since their papers do; untrained networks have none.
Beside the figures stands what costs no look at the features at all: the number of pictures a run has seen, and, within
a method, its own loss at the end.

Intervals are of 95%, from 1,000 resamplings of backbones in two stages, methods and then the runs of each, since runs
of one method are no independent evidence about methods. Within a method runs differ in length and seed only.
Lengths, seeds, pictures and views are constants of `label_free_backbones.py`, which trains and measures;
`label_free_ranks.py` correlates.

Results are kept in benchmarks/runs/label_free/, so the same command goes on where it stopped, takes up finished runs
that are new, and prints the tables; `label_free.md` is what it printed, read in words.
"""

import argparse
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from label_free_backbones import (
    DATA,
    EPOCHS,
    FIGURES,
    METHODS,
    Record,
    measured,
    train_small_runs,
    train_varied_runs,
)
from label_free_ranks import (
    BESIDE,
    TARGETS,
    Sample,
    partial,
    pictures_seen,
    samples_of,
    spearman,
    table_of,
    varied_samples,
    with_interval,
)
from numpy.typing import NDArray
from scipy.stats import kendalltau

from barlow.evaluation.scores import labelled_parts
from barlow.images.modality import IMAGES

SHOWN = ("augmentation_share", "mean_correlation", "pearson_limit", "rank_me", "lidar", "alpha")
BETTER = {1: "more", -1: "less", 0: "near 1"}


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


def print_partial(samples: Sequence[Sample]) -> None:
    """Print Spearman's correlations with the linear probe given the number of pictures seen."""
    shown = [sample for sample in samples if len({pictures_seen(record) for record in sample.records}) > 1]
    print("\n## Spearman's correlation with the linear probe, given the number of pictures seen\n")
    print(f"| figure | {' | '.join(f'{one.title} ({len(one.records)})' for one in shown)} |")
    print(f"|---|{'--:|' * len(shown)}")
    found = [partial(sample.records) for sample in shown]
    for row, name in enumerate(FIGURES):
        print(f"| {name} | {' | '.join(_signed(values[row]) for values in found)} |")


def print_varied(samples: Sequence[Sample]) -> None:
    """Print the runs that vary something else at one length: what each is worth, and how the figures rank them."""
    if not samples:
        return
    print("\n## What varies at one length: accuracy in percent and some figures\n")
    print(f"| run | linear | few labels | {' | '.join(SHOWN)} |\n|---|{'--:|' * (2 + len(SHOWN))}")
    for record in samples[-1].records:
        cells = [f"{100 * record[target]:.1f}" for target in TARGETS]
        cells += [f"{record['figures'][name] or math.nan:.3g}" for name in SHOWN]
        print(f"| {record['name'].removeprefix('varied-')} | {' | '.join(cells)} |")
    names = list(FIGURES)
    print(f"\n| figure | {' | '.join(f'{one.title} ({len(one.records)})' for one in samples)} |")
    print(f"|---|{'--:|' * len(samples)}")
    found = [spearman(table_of(sample.records, names))[:, 0] for sample in samples]
    for row, name in enumerate(names):
        print(f"| {name} | {' | '.join(_signed(values[row]) for values in found)} |")


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
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        kind = "small" if record["small"] else "other"
        groups.setdefault((record["method"], kind, record["width"], record["epochs"]), []).append(record)
    print("\n## The backbones: accuracy in percent and some figures, means over seeds")
    print(f"\n| method | runs | width | epochs | seeds | linear | few labels | {' | '.join(SHOWN)} |")
    print(f"|---|---|{'--:|' * (5 + len(SHOWN))}")
    for (method, kind, width, epochs), rows in groups.items():
        cells = [f"{100 * statistics.fmean(row[target] for row in rows):.1f}" for target in TARGETS]
        cells += [f"{statistics.fmean(row['figures'][name] or math.nan for row in rows):.3g}" for name in SHOWN]
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
    train_varied_runs(flags.out, flags.data_root)
    parts = labelled_parts(IMAGES, DATA, data_root=flags.data_root)
    if parts is None:
        raise SystemExit(f"{DATA} has no labels")
    every = measured(flags.out, parts)
    records, varied = ([one for one in every if bool(one.get("varied")) is known] for known in (False, True))
    samples = samples_of(records)
    print_correlations(samples)
    small, longest, everything = samples[0], samples[4], samples[-1]
    print_kendall(small, [longest, everything])
    print_groups(small.records, "method", METHODS)
    print_groups(small.records, "epochs", EPOCHS)
    print_partial([*samples, *varied_samples(varied)])
    print_varied(varied_samples(varied))
    print_spread([small, longest, everything])
    print_backbones(records)


if __name__ == "__main__":
    main()
