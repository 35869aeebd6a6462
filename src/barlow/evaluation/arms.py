"""Kinds of features side by side (trained, untrained, raw), each tuned by the same rules on training data only."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from barlow.evaluation.features import Features
from barlow.evaluation.knn import WHITENINGS, choose_knn, fit_whitening, knn_accuracy
from barlow.evaluation.linear import best, few_label_accuracy, fit_linear_probe
from barlow.evaluation.splits import Split, few_label_draws, validation_split

VALIDATION_SHARE = 0.2
"""Share of the training data on which hyper-parameters are chosen."""

MOST_VALIDATION = 5000
"""Samples that are enough for that: an accuracy of 0.9 is then known to 0.004."""

Result = TypeVar("Result")

_Row = tuple[dict[str, Any], dict[str, Any]]
"""What goes into the row, and what goes into its "chosen"."""


def evaluate_arms(
    arms: Mapping[str, tuple[Features, Features]],
    *,
    class_names: Sequence[str] = (),
    num_labels_per_class: int = 10,
    draws: int = 5,
    seed: int = 0,
    progress: Callable[[int, str], None] | None = None,
) -> dict[str, Any]:
    """Score each kind of features by nearest neighbours, a linear probe, and few labels.

    The validation part of the training data and the few-label draws depend on labels and seed alone, and are the same
    for every arm; so are the values that each hyper-parameter is chosen from. Test data choose nothing. `arms` are
    (training features, test features) by name, of the same samples; `progress` is called with (arms done, the arm at
    work).

    Returns what `summary.json` holds under "evaluation": "classes", "train_samples", "test_samples" and "rows", one row
    per arm with accuracies in [0, 1] ("knn", "linear", "few_labels"), the binomial standard errors of the first two
    ("knn_error", "linear_error"), and the hyper-parameters that the arm chose ("chosen"). ValueError: no arm, one
    without labels or with other samples than the first, or training data of which no two samples are of one class.
    """
    train_y, test_y = _common_labels(arms)
    groups = next(iter(arms.values()))[0].groups
    split = validation_split(train_y, fraction=VALIDATION_SHARE, most=MOST_VALIDATION, seed=seed, groups=groups)
    tensors = () if groups is None else (groups,)
    few = few_label_draws(train_y, per_class=num_labels_per_class, draws=draws, seed=seed)
    rows = []
    for done, (name, (train, test)) in enumerate(arms.items()):
        if progress:
            progress(done, name)
        probe_all = partial(_probes, train.h, train_y, test.h, test_y, split, few, num_labels_per_class, groups)
        scores, chosen = zip(
            *_CACHE.get(
                probe_all, train.h, train_y, test.h, test_y, *tensors, settings=(num_labels_per_class, draws, seed)
            ),
            strict=True,
        )
        row = {"features": name, "num_features": train.h.shape[1]}
        rows.append(row | scores[0] | scores[1] | scores[2] | {"chosen": chosen[0] | chosen[1] | chosen[2]})
    if progress:
        progress(len(arms), "done")
    num_classes = int(torch.cat([train_y, test_y]).max()) + 1
    return {
        "classes": list(class_names) or [str(label) for label in range(num_classes)],
        "train_samples": len(train_y),
        "test_samples": len(test_y),
        "rows": rows,
    }


def _probes(
    train_h: Tensor,
    train_y: Tensor,
    test_h: Tensor,
    test_y: Tensor,
    split: Split,
    few: Sequence[Tensor],
    per_class: int,
    groups: Tensor | None,
) -> list[_Row]:
    """Return neighbours, linear probe and few labels of one kind of features."""
    return [
        _knn(train_h, train_y, test_h, test_y, split),
        _linear(train_h, train_y, test_h, test_y, split),
        _few_labels(train_h, train_y, test_h, test_y, few, per_class, groups),
    ]


def seconds_of_probes(train: Features, test: Features, *, per_class: int = 10, draws: int = 5) -> list[float]:
    """Return how long neighbours, linear probe and few labels take on one kind of features, and drop the results."""
    train_y, test_y = _labels(train, "training features"), _labels(test, "test features")
    split = validation_split(train_y, fraction=VALIDATION_SHARE, most=MOST_VALIDATION, seed=0, groups=train.groups)
    few = few_label_draws(train_y, per_class=per_class, draws=1, seed=0)
    same = (train.h, train_y, test.h, test_y)
    times = []
    for times_as_often, probe in (
        (1, partial(_knn, *same, split)),
        (1, partial(_linear, *same, split)),
        (draws, partial(_few_labels, *same, few, per_class, train.groups)),
    ):
        started = time.perf_counter()
        probe()
        times.append(times_as_often * (time.perf_counter() - started))
    return times


def binomial_error(accuracy: float, num_samples: int) -> float:
    """Return sqrt(a (1 - a) / n), the standard error of an accuracy a measured on n samples."""
    return float((accuracy * (1.0 - accuracy) / num_samples) ** 0.5)


def _knn(train_h: Tensor, train_y: Tensor, test_h: Tensor, test_y: Tensor, split: Split) -> _Row:
    whitening = fit_whitening(train_h[split.fit])
    setting = choose_knn(train_h, train_y, split, whitenings=WHITENINGS, whitening=whitening)
    train_h, test_h = (whitening(h, setting.whitening) for h in (train_h, test_h))
    accuracy = knn_accuracy(
        train_h, train_y, test_h, test_y, num_neighbours=setting.num_neighbours, temperature=setting.temperature
    )
    return {"knn": accuracy, "knn_error": binomial_error(accuracy, len(test_y))}, {"knn": asdict(setting)}


def _linear(train_h: Tensor, train_y: Tensor, test_h: Tensor, test_y: Tensor, split: Split) -> _Row:
    probe = fit_linear_probe(train_h, train_y, split)
    accuracy = probe.accuracy(test_h, test_y)
    chosen = {
        "regularisation": probe.classifier.regularisation,
        "validation_accuracy": best(probe.validation).accuracy,
        "converged": probe.classifier.converged,
    }
    return {"linear": accuracy, "linear_error": binomial_error(accuracy, len(test_y))}, {"linear": chosen}


def _few_labels(
    train_h: Tensor,
    train_y: Tensor,
    test_h: Tensor,
    test_y: Tensor,
    draws: Sequence[Tensor],
    per_class: int,
    groups: Tensor | None = None,
) -> _Row:
    found = few_label_accuracy(train_h, train_y, test_h, test_y, draws, groups=groups)
    figures = {"mean": found.mean, "std": found.std, "per_class": per_class, "draws": len(draws)}
    chosen = {"regularisations": list(found.regularisations), "converged": found.converged}
    return {"few_labels": figures}, {"few_labels": chosen}


def _common_labels(arms: Mapping[str, tuple[Features, Features]]) -> tuple[Tensor, Tensor]:
    """Training and test labels, once it is sure that every arm has the same samples."""
    if not arms:
        raise ValueError("arms: got none, wanted one or more kinds of features")
    first = next(iter(arms))
    train_y, test_y = (_labels(features, f"{part} features of {first!r}") for part, features in _parts(arms[first]))
    for name, both in arms.items():
        for (part, features), (_, wanted), y in zip(_parts(both), _parts(arms[first]), (train_y, test_y), strict=True):
            same_labels = torch.equal(_labels(features, f"{part} features of {name!r}"), y)
            if not (same_labels and torch.equal(features.indices, wanted.indices)):
                raise ValueError(f"arms: the {part} samples of {name!r} are not those of {first!r}")
    return train_y, test_y


def _parts(both: tuple[Features, Features]) -> list[tuple[str, Features]]:
    return list(zip(("training", "test"), both, strict=True))


def _labels(features: Features, whose: str) -> Tensor:
    if features.labels is None or len(features) == 0 or int(features.labels.min()) < 0:
        raise ValueError(f"arms: the {whose} lack labels, wanted a class from 0 for every sample")
    return features.labels


class ResultCache:
    """Results by the content of what they were computed from, for as long as the process lives.

    Runs that are compared share raw samples and the untrained network. A linear probe on 60,000 samples takes a minute
    or so; a digest of its features takes a second.
    """

    def __init__(self) -> None:
        """Begin without results."""
        self._results: dict[str, Any] = {}

    def get(self, compute: Callable[[], Result], *tensors: Tensor, settings: tuple[int, ...]) -> Result:
        """Return the result for these tensors (on the CPU) and settings: all that goes into `compute`."""
        key = digest(*tensors, settings=settings)
        if key not in self._results:
            self._results[key] = compute()
        result: Result = self._results[key]
        return result


def digest(*tensors: Tensor, settings: tuple[int, ...]) -> str:
    """Return a name that only equal tensors (values, shapes, number formats) with equal settings share."""
    mixed = hashlib.blake2b(repr(settings).encode())
    for tensor in tensors:
        mixed.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        mixed.update(tensor.contiguous().numpy().data)
    return mixed.hexdigest()


_CACHE = ResultCache()
