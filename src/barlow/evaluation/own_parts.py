"""Kinds of features on a split of the data's own: fitted on one part, chosen on another, scored on the third.

Labels of the test part are looked at where accuracies are counted and nowhere else. Every kind of features chooses how
it is scaled (each feature by its spread, or each row by its length) together with the penalty, because for features
without training the scaling decides more than the probe.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import normalize

from barlow.data.labels import UNKNOWN
from barlow.data.parts import OwnSplit, Parts
from barlow.evaluation.arms import binomial_error
from barlow.evaluation.features import Features
from barlow.evaluation.knn import choose_knn, knn_accuracy
from barlow.evaluation.linear import fit_standardiser, score_held_out
from barlow.evaluation.logistic import LogisticFit, logistic_problem
from barlow.evaluation.splits import Split, few_of_each

REGULARISATIONS = tuple(2.0**power for power in range(-4, 13, 2))
"""Values of C to choose from, from the strongest penalty to the weakest."""
PER_CLASS = (1, 2, 5, 20)
"""Labels a class of the curve over labels."""
HEADLINE = 5
"""Labels a class that stand in the table as few labels."""
DRAWS = 5
"""Draws of few labels where nobody says how many."""
MOST_PREDICTED = 3
"""Splits on which what learns from labels itself is trained; features are scored on all of them."""

Predictor = Callable[[Int64[Tensor, " n"], Int64[Tensor, " f"], Int64[Tensor, " v"], int], Int64[Tensor, " n"]]
"""(labels, -1 for all that is neither fitted nor chosen on; positions to fit on; to choose on; seed) -> predictions."""


def by_features(h: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Return features standardised over all samples, with and without labels."""
    return fit_standardiser(h)(h)


def by_rows(h: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Return rows of length 1, centred, which changes no fit: its bias is free."""
    rows = normalize(h, dim=1)
    return rows - rows.mean(dim=0)


SCALINGS: Mapping[str, Callable[[Tensor], Tensor]] = {"standardised": by_features, "rows": by_rows}
"""How features may be scaled: name -> all features, scaled."""


@dataclass(frozen=True)
class Choice:
    """What was chosen on the validation part, and the classifier it led to."""

    scaling: str
    fit: LogisticFit
    validation_accuracy: float


def choose_classifier(
    scaled: Mapping[str, Float[Tensor, "n d"]], labels: Int64[Tensor, " n"], train: Tensor, validation: Tensor
) -> Choice:
    """Fit on the training part, and choose scaling and C by the cross-entropy on the validation part.

    `labels` of other samples are never looked at. A penalty weaker than one that did better is not tried further.
    """
    found: list[tuple[float, Choice]] = []
    for name, h in scaled.items():
        problem, start, last = logistic_problem(h[train], labels[train]), None, float("inf")
        for c in REGULARISATIONS:
            start = problem.solve(c, start)
            held = score_held_out(start, h[validation], labels[validation])
            found.append((held.cross_entropy, Choice(name, start, held.accuracy)))
            if held.cross_entropy > last:
                break
            last = held.cross_entropy
    return min(found, key=lambda pair: pair[0])[1]


def evaluate_own_parts(
    arms: Mapping[str, Features],
    parts: Parts,
    *,
    predictors: Mapping[str, Predictor] | None = None,
    draws: int | None = None,
    per_class: Sequence[int] = PER_CLASS,
    progress: Callable[[int, str], None] | None = None,
) -> dict[str, Any]:
    """Score each kind of features on every split of the data's own, and on few labels of the first one.

    Args:
        arms: features of all samples by name.
        parts: the splits, and the labels of all samples.
        predictors: what learns from labels itself, such as a supervised network, by name.
        draws: of few labels, from the training part of the first split, the same for every arm; None: 5.
        per_class: labels a class; numbers of which no class has more are left out.
        progress: called with (arms done, the arm at work).

    Returns:
        What `evaluate_arms` returns. Accuracies are means over the splits, errors their standard deviation over them,
        or of one split binomial; "labels_per_class" of a row holds mean, std and draws for each number of labels.
    """
    labels = parts.labels.values
    assert labels is not None
    first = parts.splits[0]
    amounts, number = _amounts(labels[first.train], per_class), draws or DRAWS
    few = {
        k: [first.train[one] for one in few_of_each(labels[first.train], per_class=k, draws=number)] for k in amounts
    }
    rows, others = [], predictors or {}
    for done, (name, features) in enumerate(arms.items()):
        if progress:
            progress(done, name)
        rows.append({"features": name, "num_features": features.h.shape[1]} | _probed(features, parts, few))
    for done, (name, predict) in enumerate(others.items(), len(arms)):
        if progress:
            progress(done, name)
        rows.append({"features": name} | _predicted(predict, parts, few))
    if progress:
        progress(len(arms) + len(others), "done")
    return {
        "classes": list(parts.labels.class_names),
        "train_samples": len(first.train),
        "validation_samples": len(first.validation),
        "test_samples": len(first.test),
        "split": parts.name,
        "rows": rows,
    }


def _amounts(labels: Tensor, per_class: Sequence[int]) -> list[int]:
    most = int(labels.bincount().max())
    return [k for k in per_class if k < most]


def _probed(features: Features, parts: Parts, few: Mapping[int, list[Tensor]]) -> dict[str, Any]:
    """Neighbours, linear probe and few labels of one kind of features."""
    place = torch.full((len(parts.labels.values),), -1)  # type: ignore[arg-type]
    place[features.indices] = torch.arange(len(features))
    splits = [_inside(split, place) for split in parts.splits]
    labels, h = parts.labels.values[features.indices], features.h  # type: ignore[index]
    scaled = {name: scale(h) for name, scale in SCALINGS.items()}
    knn, linear, chosen = [], [], []
    for split in splits:
        setting = choose_knn(*_known(h, labels, split))
        numbers: dict[str, Any] = {"num_neighbours": setting.num_neighbours, "temperature": setting.temperature}
        knn.append(knn_accuracy(h[split.train], labels[split.train], h[split.test], labels[split.test], **numbers))
        choice = choose_classifier(scaled, labels, split.train, split.validation)
        linear.append(accuracy(choice, scaled, labels, split.test))
        chosen.append(choice)
    curve: dict[int, list[float]] = {}
    for k, drawn in few.items():
        for positions in drawn:
            at = place[positions]
            choice = choose_classifier(scaled, labels, at[at >= 0], splits[0].validation)
            curve.setdefault(k, []).append(accuracy(choice, scaled, labels, splits[0].test))
    best = chosen[0]
    about = {
        "scaling": best.scaling, "regularisation": best.fit.regularisation,
        "validation_accuracy": best.validation_accuracy, "converged": all(one.fit.converged for one in chosen),
    }  # fmt: skip
    return _row(knn, linear, curve, len(splits[0].test)) | {"chosen": {"linear": about}}


def accuracy(choice: Choice, scaled: Mapping[str, Tensor], labels: Tensor, test: Tensor) -> float:
    """Return the share of test samples whose class is right: the only place where their labels are looked at."""
    return float((choice.fit.predict(scaled[choice.scaling][test]) == labels[test]).double().mean())


def _predicted(predict: Predictor, parts: Parts, few: Mapping[int, list[Tensor]]) -> dict[str, Any]:
    """The same figures of what learns from labels itself: it is given those of the two parts alone."""
    labels = parts.labels.values
    assert labels is not None

    def score(split: OwnSplit, seed: int) -> float:
        given = torch.full_like(labels, UNKNOWN)
        for part in (split.train, split.validation):
            given[part] = labels[part]
        found = predict(given, split.train, split.validation, seed)
        return float((found[split.test] == labels[split.test]).double().mean())

    linear = [score(split, seed) for seed, split in enumerate(parts.splits[:MOST_PREDICTED])]
    first = parts.splits[0]
    curve = {
        k: [score(OwnSplit(one, first.validation, first.test), seed) for seed, one in enumerate(drawn)]
        for k, drawn in few.items()
    }
    return _row([], linear, curve, len(first.test))


def _row(knn: list[float], linear: list[float], curve: Mapping[int, list[float]], num_test: int) -> dict[str, Any]:
    def error(values: list[float]) -> float:
        return stdev(values) if len(values) > 1 else binomial_error(values[0], num_test)

    row: dict[str, Any] = {"linear": fmean(linear), "linear_error": error(linear)}
    if knn:
        row = {"knn": fmean(knn), "knn_error": error(knn)} | row
    points = [
        {"per_class": k, "mean": fmean(found), "std": stdev(found) if len(found) > 1 else 0.0, "draws": len(found)}
        for k, found in curve.items()
    ]
    headline = [point for point in points if point["per_class"] == HEADLINE] or points[-1:]
    return row | {"labels_per_class": points} | ({"few_labels": headline[0]} if headline else {})


def _inside(split: OwnSplit, place: Tensor) -> OwnSplit:
    """The split as rows of features; samples that have none fall out."""
    parts = (place[part] for part in (split.train, split.validation, split.test))
    return OwnSplit(*(part[part >= 0] for part in parts))


def _known(h: Tensor, labels: Tensor, split: OwnSplit) -> tuple[Tensor, Tensor, Split]:
    """Features and labels of what may be looked at while choosing, and which of them is fitted on."""
    both, number = torch.cat([split.train, split.validation]), len(split.train)
    return h[both], labels[both], Split(torch.arange(number), torch.arange(number, len(both)))
