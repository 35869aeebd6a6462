"""What the study of the projector concludes: prediction P6 and what it rests on."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from barlow.report.study_page import Curve, Findings, Outcome, Plot, Table, Verdict
from barlow.studies.cells import Finished
from barlow.studies.predictions import ALONE_LIMIT, ALONE_SHARE
from barlow.studies.spread import positive, spread

AS_INVARIANT = 2
"""Two outputs are as invariant as each other if their shares of augmentation are within a factor of 2."""
FEWEST = 6
"""Projectors that it takes to tell one rank correlation from another; of 4 there are but 24 orders."""
CLEAR = 0.2
"""Rank correlations over so few projectors that differ by less are not told apart."""

Projectors = Mapping[str, Sequence[Mapping[str, Any]]]
"""Figures by widths, one entry per seed, from the smallest projector to the largest."""


def conclude(cells: Sequence[Finished]) -> Findings:
    """Return the verdicts of P6 with tables and curves.

    Args:
        cells: one per projector and seed.
    """
    found = by_projector(cells)
    verdicts = [larger_share(found), less_invariance(found), z_and_h(found), better_guide(found)]
    return Findings(verdicts, [_shares(found), _invariance(found), *_curves(found)])


def by_projector(cells: Sequence[Finished]) -> Projectors:
    """Return figures by widths, in the order of the number of parameters.

    Args:
        cells: of the study.
    """
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for cell in sorted(cells, key=lambda cell: (cell.figures["num_parameters"], int(cell.arguments["seed"]))):
        found[cell.arguments["widths"]].append(cell.figures)
    return dict(found)


def projector_share(figures: Mapping[str, Any]) -> float:
    """Return (start - end frozen) / (start - end trained) of the complete Pearson losses.

    Args:
        figures: of one projector and seed.
    """
    frozen, trained = figures["frozen"], figures["trained"]
    fall = float(trained["start"]["pearson_loss"] - trained["end"]["pearson_loss"])
    return float(frozen["start"]["pearson_loss"] - frozen["end"]["pearson_loss"]) / fall if fall else math.nan


def larger_share(found: Projectors) -> Verdict:
    """Judge whether the share of the largest projector is above that of the linear one.

    Args:
        found: figures by projector.
    """
    (small, first), *_, (large, last) = found.items()
    shares = {name: fmean(map(projector_share, seeds)) for name, seeds in found.items()}
    grows = spread([projector_share(b) - projector_share(a) for a, b in zip(first, last, strict=True)], ALONE_SHARE)
    order = rank_correlation([float(place) for place in range(len(shares))], list(shares.values()))
    return Verdict(
        "P6",
        "The larger the projector, the more of the loss's fall it makes alone, on an untrained backbone.",
        positive(grows),
        f"{100 * shares[small]:.0f}% with {small}, {100 * shares[large]:.0f}% with {large}; the difference is {grows}. "
        f"Rank correlation with the size over {len(shares)} projectors: {order:.2f}.",
    )


def less_invariance(found: Projectors) -> Verdict:
    """Judge whether the backbone's part shrinks: L*_P(h) falls less under the largest projector.

    Args:
        found: figures by projector.
    """
    (small, first), *_, (large, last) = found.items()
    less = spread([_gain(a) - _gain(b) for a, b in zip(first, last, strict=True)], ALONE_LIMIT)
    gains = ", ".join(f"{name} {fmean(map(_gain, seeds)):.2f}" for name, seeds in found.items())
    return Verdict(
        "P6",
        "The larger the projector, the less the backbone itself gains: L*_P(h) falls less.",
        positive(less),
        f"the fall is smaller by {less} with {large} than with {small}. Falls: {gains}.",
    )


def z_and_h(found: Projectors) -> Verdict:
    """Judge the paper's conclusion: that the loss makes the backbone's output invariant.

    Args:
        found: figures by projector.
    """
    _, seeds = list(found.items())[-1]
    ends = [one["trained"]["end"] for one in seeds]
    apart = spread([one["share_h"] - AS_INVARIANT * one["share_z"] for one in ends], ALONE_SHARE)
    outcomes: dict[Outcome, Outcome] = {"held": "failed", "failed": "held", "undecided": "undecided"}
    return Verdict(
        "C14",
        "The backbone's output becomes as invariant as the projector's: its share of augmentation is less than twice "
        "that of z.",
        outcomes[positive(apart)],
        "share of augmentation in h and in z at the end, by projector: "
        + ", ".join(
            f"{name} {fmean(one['trained']['end']['share_h'] for one in each):.2f} and "
            f"{fmean(one['trained']['end']['share_z'] for one in each):.2f}"
            for name, each in found.items()
        )
        + ".",
    )


def better_guide(found: Projectors) -> Verdict:
    """Judge whether L*_P(h) tells more of the accuracy than the loss does, over projectors.

    Args:
        found: figures by projector.
    """
    ends = [[one["trained"]["end"] for one in seeds] for seeds in found.values()]
    accuracy, limit, loss = (
        [fmean(one[key] for one in seeds) for seeds in ends] for key in ("few_labels", "backbone_limit", "pearson_loss")
    )
    by_limit, by_loss = -rank_correlation(limit, accuracy), -rank_correlation(loss, accuracy)
    outcome: Outcome = "undecided"
    if len(ends) >= FEWEST and abs(by_limit - by_loss) > CLEAR:
        outcome = "held" if by_limit > by_loss else "failed"
    return Verdict(
        "P6",
        "Over projectors, a small L*_P(h) goes with accuracy more closely than a small loss does.",
        outcome,
        f"rank correlation with 100-label accuracy {by_limit:.2f} for L*_P(h), {by_loss:.2f} for the loss (1: a "
        f"perfect guide), over {len(ends)} projectors; accuracies {min(accuracy):.3f} to "
        f"{max(accuracy):.3f}, of which one has a standard error of about "
        f"{math.sqrt(fmean(accuracy) * (1 - fmean(accuracy)) / next(iter(found.values()))[0]['num_test']):.3f}.",
    )


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Return Spearman's rank correlation; ties share their rank, and a constant has none: NaN.

    Args:
        x: values.
        y: as many.
    """
    first, second = _ranks(x), _ranks(y)
    middle = fmean(first)
    across = sum((a - middle) ** 2 for a in first) * sum((b - middle) ** 2 for b in second)
    if across == 0:
        return math.nan
    return sum((a - middle) * (b - middle) for a, b in zip(first, second, strict=True)) / math.sqrt(across)


def _ranks(values: Sequence[float]) -> list[float]:
    return [sum(other < one for other in values) + (sum(other == one for other in values) - 1) / 2 for one in values]


def _gain(figures: Mapping[str, Any]) -> float:
    trained = figures["trained"]
    return float(trained["start"]["backbone_limit"] - trained["end"]["backbone_limit"])


def _shares(found: Projectors) -> Table:
    rows: list[list[str | float]] = [
        [
            name,
            seeds[0]["num_parameters"],
            fmean(one["trained"]["start"]["pearson_loss"] for one in seeds),
            fmean(one["frozen"]["end"]["pearson_loss"] for one in seeds),
            fmean(one["trained"]["end"]["pearson_loss"] for one in seeds),
            fmean(map(projector_share, seeds)),
            ", ".join(f"{one[state]['rate']:g}" for state in ("frozen", "trained") for one in seeds),
        ]
        for name, seeds in found.items()
    ]
    head = ["", "parameters", "start", "end, frozen", "end, trained", "projector's share", "rates, frozen and trained"]
    reading = "Complete Pearson losses on test images; share: (start - frozen) / (start - trained)."
    return Table("The projector's share", reading, head, rows)


def _invariance(found: Projectors) -> Table:
    keys = ("share_z", "share_h", "backbone_limit", "mean_rho", "few_labels", "linear", "knn")
    start = next(iter(found.values()))[0]["trained"]["start"]
    rows: list[list[str | float]] = [["untrained", *(start[key] for key in keys)]]
    rows += [
        [name, *(fmean(one["trained"]["end"][key] for one in seeds) for key in keys)] for name, seeds in found.items()
    ]
    head = ["", "share in z", "share in h", "L*_P(h)", "mean rho", "100 labels", "all labels", "neighbours"]
    reading = (
        "Trained backbones, mean over seeds; shares of augmentation tr W / tr T of the projector's output and of the "
        "backbone's. The first row: one seed, with the linear projector."
    )
    return Table("Invariance of z and of h", reading, head, rows)


def _curves(found: Projectors) -> list[Plot]:
    sizes = [seeds[0]["num_parameters"] for seeds in found.values()]

    def ends(key: str) -> list[float]:
        return [fmean(one["trained"]["end"][key] for one in seeds) for seeds in found.values()]

    share = [fmean(map(projector_share, seeds)) for seeds in found.values()]
    return [
        Plot(
            "Shares against the projector's size",
            "The projector's share of the loss's fall, and what is augmentation in z and in h after training.",
            "parameters of the projector",
            [
                Curve("projector's share", sizes, share, "c1"),
                Curve("augmentation in h", sizes, ends("share_h"), "c2"),
                Curve("augmentation in z", sizes, ends("share_z"), "c3"),
            ],
            log_x=True,
        )
    ]
