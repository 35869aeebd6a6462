"""Few labels: what features are worth when only a handful of samples per class has a label."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from jaxtyping import Float32, Int64
from torch import Tensor

from barlow.evaluation.logistic import fit_logistic
from barlow.evaluation.regularisation import REGULARISATIONS, Part, best, try_regularisations
from barlow.evaluation.splits import folds
from barlow.evaluation.standardise import fit_standardiser

NUM_FOLDS = 5
"""Folds of the cross-validation inside the few labels; with fewer labels per class, as many as those."""
FOLD_SEED = 0
"""Seed of the folds: the same for every draw and every kind of features."""


@dataclass(frozen=True)
class FewLabels:
    """Test accuracies of classifiers that saw few labels.

    Attributes:
        accuracies: one per draw, in [0, 1].
        regularisations: the C that each draw chose for itself.
        converged: whether every one of the fits that were scored has converged.
    """

    accuracies: tuple[float, ...]
    regularisations: tuple[float, ...]
    converged: bool

    @property
    def mean(self) -> float:
        """Mean over the draws."""
        return fmean(self.accuracies)

    @property
    def std(self) -> float:
        """Standard deviation over the draws (divided by their number less one); 0 for a single draw."""
        return stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0


def few_label_accuracy(
    train_h: Float32[Tensor, "n d"],
    train_y: Int64[Tensor, " n"],
    test_h: Float32[Tensor, "m d"],
    test_y: Int64[Tensor, " m"],
    draws: Sequence[Int64[Tensor, " _"]],
    *,
    regularisations: Sequence[float] = REGULARISATIONS,
) -> FewLabels:
    """Fit to a few labels of each class, several times, and score on the test samples.

    Each draw chooses C by cross-validation inside its own labels. Features are standardised with the mean and
    spread of all training features: samples without labels are at hand when labels are few.

    Args:
        train_h: (n, d) training features.
        train_y: (n,) their classes, of which only those in the draws are looked at.
        test_h: (m, d) test features.
        test_y: (m,) their classes.
        draws: positions of the labelled training samples, by draw; `few_label_draws` makes them from labels alone,
            so that every kind of features gets the same ones.
        regularisations: choices of C in increasing order.

    Returns:
        The accuracies.

    Raises:
        ValueError: no draw, no choice of C, or choices that are not positive and increasing.
    """
    if not draws:
        raise ValueError("draws: got none, wanted one or more sets of labelled samples")
    standardiser = fit_standardiser(train_h)
    test = standardiser(test_h)
    accuracies, chosen, converged = [], [], True
    for draw in draws:
        h, y = standardiser(train_h[draw]), train_y[draw]
        regularisation = _cross_validate(h, y, regularisations)
        (fit,) = fit_logistic(h, y, [regularisation])
        accuracies.append(float((fit.predict(test) == test_y).double().mean()))
        chosen.append(regularisation)
        converged &= fit.converged
    return FewLabels(tuple(accuracies), tuple(chosen), converged)


def _cross_validate(h: Tensor, y: Tensor, regularisations: Sequence[float]) -> float:
    """The best C by cross-validation."""
    most = int(y.bincount().max())
    fold = folds(y, num_folds=max(2, min(NUM_FOLDS, most)), seed=FOLD_SEED)
    parts = [Part(h[fold != out], y[fold != out], h[fold == out], y[fold == out]) for out in range(int(fold.max()) + 1)]
    return best(try_regularisations(parts, regularisations)).regularisation
