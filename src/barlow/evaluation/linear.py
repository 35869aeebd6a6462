"""The linear probe: logistic regression on frozen standardised features, its penalty chosen on training data."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float32, Int64
from torch import Tensor

from barlow.evaluation.logistic import LogisticFit, fit_logistic
from barlow.evaluation.regularisation import REGULARISATIONS, Held, Part, best, try_regularisations
from barlow.evaluation.splits import Split
from barlow.evaluation.standardise import Standardiser, fit_standardiser


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe.

    Attributes:
        standardiser: taken from the training features.
        classifier: fitted to all training data; `converged` tells whether its figures are to be trusted.
        validation: figures of each C that was tried, in the order tried.
    """

    standardiser: Standardiser
    classifier: LogisticFit
    validation: tuple[Held, ...]

    def predict(self, h: Float32[Tensor, "n d"]) -> Int64[Tensor, " n"]:
        """Return the class of each sample."""
        return self.classifier.predict(self.standardiser(h))

    def accuracy(self, h: Float32[Tensor, "n d"], labels: Int64[Tensor, " n"]) -> float:
        """Return the share of samples, in [0, 1], whose class is predicted rightly."""
        return float((self.predict(h) == labels).double().mean())


def fit_linear_probe(
    train_h: Float32[Tensor, "n d"],
    train_y: Int64[Tensor, " n"],
    split: Split,
    *,
    regularisations: Sequence[float] = REGULARISATIONS,
) -> LinearProbe:
    """Choose C on the validation part of the training data, then fit to all training data.

    While choosing, mean and spread of the features are those of the fitting part.

    Args:
        train_h: (n, d) frozen training features, as the network gives them.
        train_y: (n,) their classes.
        split: fitting and validation part.
        regularisations: choices of C in increasing order.

    Returns:
        The probe.

    Raises:
        ValueError: no choice of C, or choices that are not positive and increasing.
    """
    fit_h = train_h[split.fit]
    standardiser = fit_standardiser(fit_h)
    validation = Part(
        standardiser(fit_h), train_y[split.fit], standardiser(train_h[split.validation]), train_y[split.validation]
    )
    tried = try_regularisations([validation], regularisations)
    standardiser = fit_standardiser(train_h)
    (classifier,) = fit_logistic(standardiser(train_h), train_y, [best(tried).regularisation])
    return LinearProbe(standardiser, classifier, tuple(tried))
