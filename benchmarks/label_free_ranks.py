"""Rank correlations of label-free figures with the accuracy of probes, and their intervals: for `label_free.py`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from label_free_backbones import EPOCHS, FIGURES, PICTURES, Record
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr

RESAMPLES = 1000
BESIDE = {"pictures_seen": 1, "loss": -1}
"""What stands beside the figures and needs no features."""
ALL_PICTURES = 60_000
TARGETS = {"linear": "linear probe", "few_labels": "10 labels per class"}


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


def table_of(records: Sequence[Record], names: Sequence[str]) -> NDArray[np.float64]:
    """Return (n, figures + targets); a figure that a backbone lacks, or its loss, is not a number."""
    known = [
        {"loss": record["loss"], "pictures_seen": pictures_seen(record), **record["figures"]} for record in records
    ]
    rows = [[figures[name] for name in names] for figures in known]
    labels = [[record[target] for target in TARGETS] for record in records]
    return np.array([[*row, *label] for row, label in zip(rows, labels, strict=True)], dtype=np.float64)


def pictures_seen(record: Record) -> int:
    """Return how many pictures a run has seen, each as often as it came; 0 for an untrained network."""
    return int(record["epochs"]) * (PICTURES if record["small"] else ALL_PICTURES)


def spearman(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (figures, targets) of Spearman's rank correlation; not a number for a figure that is constant."""
    width = table.shape[1]
    found = np.full((width, width), np.nan)
    varies = np.flatnonzero((table != table[0]).any(axis=0) & np.isfinite(table).all(axis=0))
    if len(table) > 2 and len(varies) > 2:
        found[np.ix_(varies, varies)] = spearmanr(table[:, varies]).statistic
    return found[: -len(TARGETS), -len(TARGETS) :]


def partial(records: Sequence[Record]) -> NDArray[np.float64]:
    """Return (figures,) of Spearman's correlation with the linear probe, given the number of pictures seen.

    Of ranks x, y and z: (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2) (1 - r_yz^2)). Not a number where a figure is constant,
    or ranks the runs as the pictures do.
    """
    table = table_of(records, [*FIGURES, "pictures_seen"])
    complete = np.where(np.isfinite(table).all(axis=0), table, 0.0)  # a figure that some lack becomes a constant
    ranks = np.apply_along_axis(rankdata, 0, complete)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = np.corrcoef(ranks, rowvar=False)
        seen, probe = len(FIGURES), len(FIGURES) + 1
        beside = np.sqrt((1 - r[: len(FIGURES), seen] ** 2) * (1 - r[probe, seen] ** 2))
        found: NDArray[np.float64] = (r[: len(FIGURES), probe] - r[: len(FIGURES), seen] * r[probe, seen]) / beside
    return found


def varied_samples(varied: Sequence[Record]) -> list[Sample]:
    """Return the runs that vary one thing each, all of them, and with the collapsed one and the shortcut."""
    kinds = ("lambda", "width", "rate", "views")
    found = [Sample(kind, [one for one in varied if one["varied"] == kind]) for kind in kinds]
    tame = [one for sample in found for one in sample.records]
    found += [Sample("all four", tame), Sample("with the collapsed and the shortcut", varied)]
    return [sample for sample in found if len(sample.records) > 2]


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
