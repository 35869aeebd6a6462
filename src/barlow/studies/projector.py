"""Study: what a wider and deeper projector does to the loss, to the invariance of z, and to the backbone (P6).

Under the Pearson loss, projectors of 0 to 3 hidden layers with 32, 128 or 512 units, without BatchNorm, on the same
untrained backbone, once frozen and once trained with it:

    projector's share = (start - end with the backbone frozen) / (start - end with the backbone trained)

The output stays at D = 32: with another D the loss would be a different one, with a floor of its own, and neither
losses nor L*_P(h) could be compared. So there is one linear projector, and the width is that of the hidden layers.
Data, views, backbone, training and the choice of the rate are those of `variants.py`.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import correlation, fmean
from typing import Any

from barlow.report.study_page import Conclusion, Curve, Finding, Outcome, Plot, Table
from barlow.studies.cells import Cell, Finished, Metrics
from barlow.studies.images import load_enumerated
from barlow.studies.outcomes import ONE_SEED, held_if, over_seeds
from barlow.studies.study import Settings, Study
from barlow.studies.variants import (
    MOST_TEST,
    MOST_TRAIN,
    QUICK_RATES,
    RATES,
    Variant,
    measure_variant,
    small_projector,
)

GRID = ["linear-32", *("-".join([str(width)] * depth + ["32"]) for depth in (1, 2, 3) for width in (32, 128, 512))]
QUICK = ["linear-32", "128-32", "512-512-32"]
"""From the smallest to a large one."""
STEPS = {"quick": 300, "core": 1000, "whole": 2000}


def _cells(settings: Settings) -> list[Cell]:
    """One cell per projector and seed; each trains twice, with the backbone frozen and not."""
    form = settings.form
    training = {
        "steps": STEPS[form],
        "rates": list(QUICK_RATES if form == "quick" else RATES),
        "draws": 3 if form == "quick" else 5,
        "most_train": MOST_TRAIN,
        "most_test": MOST_TEST,
    }
    return [
        Cell(
            f"{widths}-seed{seed}",
            _measure,
            {**settings.data_arguments, "widths": widths, "seed": seed, **training},
        )
        for seed in range(settings.seeds)
        for widths in (QUICK if form == "quick" else GRID)
    ]


def _measure(
    work: Path, *, widths: str, seed: int, steps: int, rates: list[float], draws: int, **source: Any
) -> Metrics:
    images = load_enumerated(**source, seed=seed)
    frozen, trained = (
        measure_variant(
            images, Variant("pearson", widths, "none", frozen), seed=seed, steps=steps, rates=rates, draws=draws
        )
        for frozen in (True, False)
    )
    num_parameters = sum(p.numel() for p in small_projector(widths, "none", seed).parameters())
    return {
        "num_test": len(images.test.labels),
        "frozen": frozen,
        "trained": trained,
        "num_parameters": num_parameters,
    }


def _conclude(cells: Sequence[Finished]) -> Conclusion:
    found = by_projector(cells)
    findings = [larger_share(found), less_invariance(found), z_and_h(found), better_guide(found)]
    return Conclusion(findings, [_shares(found), _invariance(found), _curves(found)])


STUDY = Study(
    "Width and depth of the projector",
    "The paper says: minimising the Pearson loss enforces invariance in the backbone's output (its conclusion). The "
    "loss sees the projector's output z only; the more a projector can do by itself, the less it has to ask of the "
    "backbone.",
    _cells,
    _conclude,
)


AS_INVARIANT = 2
"""Two outputs are as invariant as each other if their shares of augmentation are within a factor of 2."""
FEWEST = 6
"""Projectors that it takes to tell one rank correlation from another; of 4 there are but 24 orders."""
CLEAR = 0.2
"""Rank correlations over so few projectors that differ by less are not told apart."""

Projectors = Mapping[str, Sequence[Mapping[str, Any]]]
"""Metrics by widths, one entry per seed, from the smallest projector to the largest."""


def by_projector(cells: Sequence[Finished]) -> Projectors:
    """Return metrics by widths, in the order of the number of parameters."""
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for cell in sorted(cells, key=lambda cell: (cell.metrics["num_parameters"], int(cell.arguments["seed"]))):
        found[cell.arguments["widths"]].append(cell.metrics)
    return dict(found)


def projector_share(metrics: Mapping[str, Any]) -> float:
    """Return (start - end frozen) / (start - end trained) of the complete Pearson losses of one seed."""
    fall = _fall(metrics["trained"], "pearson_loss")
    return _fall(metrics["frozen"], "pearson_loss") / fall if fall else math.nan


def larger_share(found: Projectors) -> Finding:
    """Judge whether the share of the largest projector is above that of the linear one."""
    (small, first), *_, (large, last) = found.items()
    shares = {name: fmean(map(projector_share, seeds)) for name, seeds in found.items()}
    grows = over_seeds(
        [projector_share(b) - projector_share(a) for a, b in zip(first, last, strict=True)], ONE_SEED["share"]
    )
    order = rank_correlation([float(place) for place in range(len(shares))], list(shares.values()))
    return Finding(
        "P6",
        "The larger the projector, the more of the loss's fall it makes alone, on an untrained backbone.",
        grows.positive,
        f"{100 * shares[small]:.0f}% with {small}, {100 * shares[large]:.0f}% with {large}; the difference is {grows}. "
        f"Rank correlation with the size over {len(shares)} projectors: {order:.2f}.",
    )


def less_invariance(found: Projectors) -> Finding:
    """Judge whether the backbone's part shrinks: L*_P(h) falls less under the largest projector."""
    falls = {name: [_fall(one["trained"], "backbone_limit") for one in seeds] for name, seeds in found.items()}
    (small, first), *_, (large, last) = falls.items()
    less = over_seeds([a - b for a, b in zip(first, last, strict=True)], ONE_SEED["backbone_limit"])
    return Finding(
        "P6",
        "The larger the projector, the less the backbone itself gains: L*_P(h) falls less.",
        less.positive,
        f"the fall is smaller by {less} with {large} than with {small}. Falls: "
        f"{', '.join(f'{name} {fmean(seeds):.2f}' for name, seeds in falls.items())}.",
    )


def z_and_h(found: Projectors) -> Finding:
    """Judge the paper's conclusion: that the loss makes the backbone's output invariant."""
    *_, largest = found.values()
    ends = [one["trained"]["end"] for one in largest]
    within = over_seeds([AS_INVARIANT * one["share_z"] - one["share_h"] for one in ends], ONE_SEED["share"])
    return Finding(
        "C14",
        "The backbone's output becomes as invariant as the projector's: its share of augmentation is less than twice "
        "that of z.",
        within.positive,
        "share of augmentation in h and in z at the end, by projector: "
        + ", ".join(
            f"{name} {_end(each, 'share_h'):.2f} and {_end(each, 'share_z'):.2f}" for name, each in found.items()
        )
        + ".",
    )


def better_guide(found: Projectors) -> Finding:
    """Judge whether L*_P(h) tells more of the accuracy than the loss does, over projectors."""
    accuracy, limit, loss = (
        [_end(seeds, key) for seeds in found.values()] for key in ("few_labels", "backbone_limit", "pearson_loss")
    )
    by_limit, by_loss = -rank_correlation(limit, accuracy), -rank_correlation(loss, accuracy)
    outcome: Outcome = "undecided"
    if len(found) >= FEWEST and abs(by_limit - by_loss) > CLEAR:
        outcome = held_if(by_limit > by_loss)
    return Finding(
        "P6",
        "Over projectors, a small L*_P(h) goes with accuracy more closely than a small loss does.",
        outcome,
        f"rank correlation with 100-label accuracy {by_limit:.2f} for L*_P(h), {by_loss:.2f} for the loss (1: a "
        f"perfect guide), over {len(found)} projectors; accuracies {min(accuracy):.3f} to "
        f"{max(accuracy):.3f}, of which one has a standard error of about "
        f"{math.sqrt(fmean(accuracy) * (1 - fmean(accuracy)) / next(iter(found.values()))[0]['num_test']):.3f}.",
    )


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Return Spearman's rank correlation; ties share their rank, and a constant has none: NaN."""
    if len(set(x)) == 1 or len(set(y)) == 1:
        return math.nan
    return correlation(_ranks(x), _ranks(y))


def _ranks(values: Sequence[float]) -> list[float]:
    return [sum(other < one for other in values) + (sum(other == one for other in values) - 1) / 2 for one in values]


def _fall(variant: Mapping[str, Any], key: str) -> float:
    return float(variant["start"][key] - variant["end"][key])


def _end(seeds: Sequence[Mapping[str, Any]], key: str) -> float:
    """Mean over seeds at the end of the training with the backbone."""
    return fmean(one["trained"]["end"][key] for one in seeds)


def _shares(found: Projectors) -> Table:
    return Table(
        "The projector's share",
        "Complete Pearson losses on test images; share: (start - frozen) / (start - trained).",
        ["", "parameters", "start", "end, frozen", "end, trained", "projector's share", "rates, frozen and trained"],
        [
            [
                name,
                seeds[0]["num_parameters"],
                fmean(one["trained"]["start"]["pearson_loss"] for one in seeds),
                fmean(one["frozen"]["end"]["pearson_loss"] for one in seeds),
                _end(seeds, "pearson_loss"),
                fmean(map(projector_share, seeds)),
                ", ".join(f"{one[state]['rate']:g}" for state in ("frozen", "trained") for one in seeds),
            ]
            for name, seeds in found.items()
        ],
    )


def _invariance(found: Projectors) -> Table:
    keys = ("share_z", "share_h", "backbone_limit", "mean_rho", "few_labels", "linear", "knn")
    start = next(iter(found.values()))[0]["trained"]["start"]
    rows: list[list[int | float | str]] = [["untrained", *(start[key] for key in keys)]]
    rows += [[name, *(_end(seeds, key) for key in keys)] for name, seeds in found.items()]
    return Table(
        "Invariance of z and of h",
        "Trained backbones, mean over seeds; shares of augmentation tr W / tr T of the projector's output and of the "
        "backbone's. The first row: one seed, with the linear projector.",
        ["", "share in z", "share in h", "L*_P(h)", "mean rho", "100 labels", "all labels", "neighbours"],
        rows,
    )


def _curves(found: Projectors) -> Plot:
    sizes = [seeds[0]["num_parameters"] for seeds in found.values()]
    return Plot(
        "Shares against the projector's size",
        "The projector's share of the loss's fall, and what is augmentation in z and in h after training.",
        "parameters of the projector",
        [
            Curve("projector's share", sizes, [fmean(map(projector_share, seeds)) for seeds in found.values()], "c1"),
            Curve("augmentation in h", sizes, [_end(seeds, "share_h") for seeds in found.values()], "c2"),
            Curve("augmentation in z", sizes, [_end(seeds, "share_z") for seeds in found.values()], "c3"),
        ],
        log_x=True,
    )
