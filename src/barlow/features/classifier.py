"""A classifier on frozen features, from as few labels as there are: calibrated, and able to say that it does not know.

What it is worth is measured on labels that its fits have not seen: in five parts by turns where there are few, else on
a fifth set aside. Penalties are chosen without them, and the temperature that makes its probabilities hold is fitted to
those held-out answers.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn.functional import cross_entropy

from barlow.evaluation.knn import Whitening, nearest
from barlow.evaluation.linear import Standardiser, cross_validate, fit_linear_probe, fit_standardiser
from barlow.evaluation.logistic import fit_logistic
from barlow.evaluation.splits import folds, validation_split
from barlow.features.space import HALF, Space
from barlow.files import durable_file, read_json, write_json
from barlow.seams import Head

FEW = 1000
"""Labels up to which penalties are chosen by cross-validation, and the classifier is judged in parts by turns."""
PARTS = 5
SEED = 0
UNKNOWN = 0.01
"""Share of labelled samples whose likeness to the nearest other labelled one is below the limit of the unknown."""
TEMPERATURES = torch.logspace(-1, 1, 81, dtype=torch.float64)
"""Temperatures to choose from."""
NEVER = -1e4
"""Logit of a class without a label."""
NUMBERS, TENSORS = "classifier.json", "classifier.safetensors"


@dataclass(frozen=True)
class Classifier:
    """A linear classifier of features, with what tells how sure it is.

    Attributes:
        standardiser: of the features.
        weight: (c, d), on standardised features.
        bias: (c,).
        temperature: by which logits are divided before the softmax.
        class_names: c names.
        space: where likeness to the labelled samples is measured.
        labelled: (m, r) unit vectors of the labelled samples there.
        least_likeness: to the nearest of them, below which a sample is like none of the classes.
    """

    standardiser: Standardiser
    weight: Float[Tensor, "c d"]
    bias: Float[Tensor, " c"]
    temperature: float
    class_names: Sequence[str]
    space: Space
    labelled: Float[Tensor, "m r"]
    least_likeness: float

    def probabilities(self, h: Float[Tensor, "n d"]) -> Float64[Tensor, "n c"]:
        """Return the probability of each class, given that the sample is of one of them."""
        logits = self.standardiser(h.float()) @ self.weight.T + self.bias
        return (logits.double() / self.temperature).softmax(dim=1)

    def head(self) -> Head:
        """Return the same as one layer: standardisation and temperature are in its weights."""
        weight = self.weight / self.standardiser.spread / self.temperature
        return Head(weight, self.bias / self.temperature - weight @ self.standardiser.mean, tuple(self.class_names))

    def likeness(self, h: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Return the similarity of each sample to the labelled sample most like it, -1 to 1."""
        return nearest(self.labelled, self.space.rows(h), 1)[0][:, 0]

    def is_unknown(self, h: Float[Tensor, "n d"]) -> Tensor:
        """Return (n,) whether a sample is less like all labelled ones than 99 in 100 of those are like each other."""
        return self.likeness(h) < self.least_likeness


@dataclass(frozen=True)
class HeldOutScore:
    """How a classifier does on labels that its fits have not seen.

    Attributes:
        accuracy: share that is right.
        error: sqrt(a (1 - a) / n).
        confidence: mean probability of the predicted class, after calibration; near the accuracy if that holds.
        num_samples: n.
        recalls: of each class, the share of its samples that is recognised; NaN where there was none.
    """

    accuracy: float
    error: float
    confidence: float
    num_samples: int
    recalls: Sequence[float]

    def as_record(self) -> dict[str, Any]:
        """Return the numbers as JSON has them."""
        return {
            "accuracy": self.accuracy,
            "error": self.error,
            "confidence": self.confidence,
            "num_samples": self.num_samples,
            "recalls": [None if one != one else one for one in self.recalls],
        }


def held_out_parts(
    y: Int64[Tensor, " n"], groups: Int64[Tensor, " n"] | None = None, *, few: int = FEW
) -> list[tuple[Tensor, Tensor]]:
    """Return (n,) bool pairs: which labels to fit to, and which to score on; up to `few` labels each in its turn.

    With groups, such as speakers, those of one are on one side.
    """
    if len(y) <= few:
        fold = folds(y, num_folds=min(PARTS, max(2, int(y.bincount().max()))), seed=SEED, groups=groups)
        return [(fold != out, fold == out) for out in fold.unique().tolist()]
    split = validation_split(y, fraction=1 / PARTS, most=len(y), seed=SEED, groups=groups)
    out = torch.zeros(len(y), dtype=torch.bool)
    out[split.validation] = True
    return [(~out, out)]


@dataclass(frozen=True)
class Answers:
    """What classifiers said of labels that their fits had not seen.

    Attributes:
        logits: (m, c).
        truth: (m,) classes.
        known: (m,) whether the fit had seen that class.
    """

    logits: Float[Tensor, "m c"]
    truth: Int64[Tensor, " m"]
    known: Tensor

    def score(self) -> tuple[HeldOutScore, float]:
        """Return how good they are, and the temperature that calibrates them."""
        scores = self.logits.double()
        temperature = _temperature(scores[self.known], self.truth[self.known])  # of an unknown class nobody can be sure
        sure, told = (scores / temperature).softmax(dim=1).max(dim=1)
        right = (told == self.truth).double()
        accuracy = float(right.mean())
        recalls = [float(right[self.truth == c].mean()) for c in range(scores.shape[1])]
        error = (accuracy * (1 - accuracy) / len(right)) ** 0.5
        return HeldOutScore(accuracy, error, float(sure.mean()), len(right), tuple(recalls)), temperature


def answers(
    parts: Sequence[tuple[Tensor, Tensor]], y: Int64[Tensor, " n"], logits: Callable[[Tensor, Tensor], Tensor]
) -> Answers:
    """Ask for (fit, held) -> (m, c) logits of what is held out of every part, and put them together."""
    asked = [(logits(fit, held), y[held], torch.isin(y[held], y[fit])) for fit, held in parts]
    return Answers(*(torch.cat(found) for found in zip(*asked, strict=True)))


def judge(
    h: Float[Tensor, "n d"],
    y: Int64[Tensor, " n"],
    num_classes: int,
    groups: Int64[Tensor, " n"] | None = None,
    *,
    few: int = FEW,
) -> tuple[HeldOutScore, float]:
    """Score linear classifiers of features on held-out labels, and return the temperature that calibrates them.

    Args:
        h: (n, d) features of labelled samples.
        y: (n,) their classes, two of one of them at least.
        num_classes: c; classes are 0 to c - 1.
        groups: (n,) of samples such as the clips of a speaker: penalties and scores are of groups that were not seen.
        few: labels up to which each is held out in its turn.
    """

    def logits(fit: Tensor, held: Tensor) -> Tensor:
        linear = fit_linear(h[fit], y[fit], num_classes, None if groups is None else groups[fit])
        return linear(h[held])

    return answers(held_out_parts(y, groups, few=few), y, logits).score()


@dataclass(frozen=True)
class Linear:
    """A linear classifier of features: `linear(h)` are its (n, c) logits."""

    standardiser: Standardiser
    weight: Float[Tensor, "c d"]
    bias: Float[Tensor, " c"]

    def __call__(self, h: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """Return logits of samples."""
        return self.standardiser(h.float()) @ self.weight.T + self.bias


def fit_linear(
    h: Float[Tensor, "n d"], y: Int64[Tensor, " n"], num_classes: int, groups: Int64[Tensor, " n"] | None = None
) -> Linear:
    """Fit a classifier of all classes, its penalty chosen on labels held out; a class without a label is never told."""
    if len(y) <= FEW:
        standardiser = fit_standardiser(h)
        rows = standardiser(h)
        (fit,) = fit_logistic(rows, y, [cross_validate(rows, y, groups=groups)])
    else:
        probe = fit_linear_probe(h, y, validation_split(y, fraction=1 / PARTS, most=5000, seed=SEED, groups=groups))
        standardiser, fit = probe.standardiser, probe.classifier
    weight = torch.zeros(num_classes, h.shape[1])
    bias = torch.full((num_classes,), NEVER)
    weight[fit.classes], bias[fit.classes] = fit.weight.float(), fit.bias.float()
    return Linear(standardiser, weight, bias)


def linear_of_layer(layer: torch.nn.Linear, num_classes: int) -> Linear:
    """Return a layer that was trained with its network as a classifier of all classes."""
    weight, bias = layer.weight.detach().float().cpu(), layer.bias.detach().float().cpu()
    missing, d = num_classes - len(bias), weight.shape[1]
    weight = torch.cat([weight, torch.zeros(missing, d)])
    bias = torch.cat([bias, torch.full((missing,), NEVER)])
    return Linear(Standardiser(torch.zeros(d), torch.ones(d)), weight, bias)


def fit_classifier(
    h: Float[Tensor, "n d"],
    y: Int64[Tensor, " n"],
    class_names: Sequence[str],
    whitening: Whitening,
    temperature: float,
    groups: Int64[Tensor, " n"] | None = None,
) -> Classifier:
    """Fit a classifier to all labels.

    Args:
        h: (n, d) features of labelled samples.
        y: (n,) their classes, 0 to c - 1.
        class_names: c names.
        whitening: of the features of samples like those it will be asked about, labelled or not.
        temperature: from `judge`.
        groups: as for `judge`.
    """
    return with_unknown(fit_linear(h, y, len(class_names), groups), h, class_names, whitening, temperature)


def with_unknown(
    linear: Linear, h: Float[Tensor, "n d"], class_names: Sequence[str], whitening: Whitening, temperature: float
) -> Classifier:
    """Return a classifier that knows what is like none of its labelled samples, whose features are `h`."""
    space = Space(whitening, HALF)
    rows = space.rows(h)
    closest = nearest(rows, rows, min(2, len(rows)))[0][:, -1]
    least = float(closest.quantile(UNKNOWN))
    return Classifier(
        linear.standardiser, linear.weight, linear.bias, temperature, tuple(class_names), space, rows, least
    )


def _temperature(logits: Tensor, truth: Tensor) -> float:
    losses = torch.stack([cross_entropy(logits / t, truth) for t in TEMPERATURES])
    return float(TEMPERATURES[losses.argmin()])


def save_classifier(folder: Path, classifier: Classifier, about: Mapping[str, Any]) -> None:
    """Write a classifier to a folder as safetensors and JSON, beside what else is said about it."""
    tensors = {
        "mean": classifier.standardiser.mean,
        "spread": classifier.standardiser.spread,
        "weight": classifier.weight,
        "bias": classifier.bias,
        "labelled": classifier.labelled,
        "whitening.mean": classifier.space.whitening.mean,
        "whitening.directions": classifier.space.whitening.directions,
        "whitening.spreads": classifier.space.whitening.spreads,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with durable_file(folder / TENSORS) as file:
        file.write(save({name: tensor.contiguous() for name, tensor in tensors.items()}))
    numbers = {
        "class_names": list(classifier.class_names),
        "temperature": classifier.temperature,
        "least_likeness": classifier.least_likeness,
        "power": classifier.space.power,
    }
    write_json(folder / NUMBERS, {**numbers, **about})


def is_classifier(folder: Path) -> bool:
    """Whether a folder is one that `save_classifier` wrote."""
    return (folder / NUMBERS).is_file() and (folder / TENSORS).is_file()


def load_classifier(folder: Path) -> tuple[Classifier, dict[str, Any]]:
    """Return a classifier and what its file says about it; ValueError for a folder that holds none."""
    if not is_classifier(folder):
        raise ValueError(f"model: {str(folder)!r} is no folder of a classifier, wanted what `barlow classify` wrote")
    try:
        numbers = read_json(folder / NUMBERS)
        found = load_file(folder / TENSORS)
        space = Space(
            Whitening(*(found[f"whitening.{n}"] for n in ("mean", "directions", "spreads"))), numbers["power"]
        )
        classifier = Classifier(
            Standardiser(found["mean"], found["spread"]),
            found["weight"],
            found["bias"],
            float(numbers["temperature"]),
            tuple(map(str, numbers["class_names"])),
            space,
            found["labelled"],
            float(numbers["least_likeness"]),
        )
    except (KeyError, TypeError, OSError, json.JSONDecodeError) as error:
        raise ValueError(f"model: the classifier in {str(folder)!r} cannot be read: {error}") from error
    return classifier, dict(numbers)
