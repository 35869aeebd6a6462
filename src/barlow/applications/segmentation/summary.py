"""From cells to what is reported: means over seeds, and differences of arms, paired by seed."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from scipy.stats import t as student

from barlow.applications.segmentation.scores import DEFINITIONS, scored_classes
from barlow.applications.segmentation.settings import SegmentSettings
from barlow.studies.cells import Finished

CONFIDENCE = 0.95
"""Of the interval of a difference, over seeds."""
PIXELS = "pixels"
"""The pixel classifier, which learns from the same images as the networks."""
COMPARED = (("pretrained", "scratch"), ("pretrained", "frozen"), ("pretrained", PIXELS))
"""Differences that are reported."""
FIGURES = ("dice", "iou", "set_dice", "set_iou", "accuracy", "hausdorff", "hausdorff95")
DIFFERED = ("dice", "set_iou")
"""Figures whose differences are reported."""


def summary_of(cells: Sequence[Finished], settings: SegmentSettings, classes: Sequence[str]) -> dict[str, Any]:
    """Return figures by arm and number of labels, differences over seeds, bars, and definitions."""
    by_name = {cell.name: cell for cell in cells}
    counts = [str(count or "all") for count in settings.label_counts()]
    rows: list[dict[str, Any]] = []
    for arm in (*settings.arms, PIXELS):
        for count in counts:
            found = [by_name[f"{arm}-{count}-seed{seed}"] for seed in range(settings.seeds)]
            values = {name: [one.metrics[name] for one in found] for name in FIGURES}
            rows.append(
                {
                    "arm": arm,
                    "labels": count,
                    "num_labels": int(found[0].metrics.get("num_labels", 0) or 0),
                    **{name: spread(numbers) for name, numbers in values.items()},
                    "values": values,
                    "class_iou": [_mean(one) for one in zip(*(one.metrics["class_iou"] for one in found), strict=True)],
                }
            )
    known = {(row["arm"], row["labels"]): row["values"] for row in rows}
    differences = [
        {"arm": first, "minus": second, "labels": count, "figure": name}
        | difference(known[first, count][name], known[second, count][name])
        for first, second in COMPARED
        if first in settings.arms and (second in settings.arms or second == PIXELS)
        for count in counts
        for name in DIFFERED
    ]
    bars = {name: {one: found[one] for one in FIGURES} for name, found in by_name["bars"].metrics["bars"].items()}
    return {
        "classes": list(classes),
        "scored_classes": [classes[number] for number in scored_classes(len(classes))],
        "num_test": by_name["bars"].metrics["bars"][next(iter(bars))]["num_test"],
        "rows": rows,
        "differences": differences,
        "bars": bars,
        "definitions": DEFINITIONS,
        "seconds": {cell.name: cell.seconds for cell in cells},
    }


def spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Return mean, standard deviation over seeds, and the least; None where a figure is not defined."""
    known = [value for value in values if value is not None]
    if not known:
        return {"mean": None, "std": None, "least": None}
    return {"mean": fmean(known), "std": stdev(known) if len(known) > 1 else None, "least": min(known)}


def difference(first: Sequence[float | None], second: Sequence[float | None]) -> dict[str, Any]:
    """Return the mean of first - second over seeds with its interval by Student's t; without one for a single seed."""
    pairs = [a - b for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    if not pairs:
        return {"mean": None, "low": None, "high": None, "num_seeds": 0}
    mean = fmean(pairs)
    if len(pairs) == 1:
        return {"mean": mean, "low": None, "high": None, "num_seeds": 1}
    half = float(student.ppf((1 + CONFIDENCE) / 2, len(pairs) - 1)) * stdev(pairs) / math.sqrt(len(pairs))
    return {"mean": mean, "low": mean - half, "high": mean + half, "num_seeds": len(pairs)}


def in_words(record: Mapping[str, Any]) -> str:
    """Return a difference as a sentence that claims no more than its interval."""
    about = f"{record['arm']} minus {record['minus']} at {record['labels']} labels"
    mean, low, high = (record[name] for name in ("mean", "low", "high"))
    if mean is None:
        return f"{about}: not defined"
    if low is None:
        return f"{about}: {100 * mean:+.1f} points of {record['figure']}, one seed, which says little"
    said = "better" if low > 0 else "worse" if high < 0 else "not told apart"
    return f"{about}: {100 * mean:+.1f} points of {record['figure']}, 95% {100 * low:+.1f} to {100 * high:+.1f}: {said}"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
