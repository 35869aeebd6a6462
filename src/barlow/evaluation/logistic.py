"""Multinomial logistic regression by full-batch L-BFGS: the one classifier behind the linear probe and few labels.

Written for features: in coordinates that make correlated ones cheap, in float64 where there are few numbers and in
float32 where there are many. It ends at the minimum of scikit-learn's `LogisticRegression`, as a test shows, in a
fraction of its time on tens of thousands of samples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn

EXACT_NUMEL = 4 * 10**6
"""Up to this many numbers (n times d) a fit is made in float64: with few samples and a weak penalty the loss is so
small at its minimum that float32 does not find it."""
GRADIENT_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4}
"""Largest entry of the gradient at which a fit has converged. The curvature is about 1 in the coordinates of the
fit. In float32 the loss is then within a few times 1e-4 of its minimum; its products allow no less than 1e-5."""
MAX_ITERATIONS = 500
"""Steps of L-BFGS per fit; penalties that are worth choosing need fewer than 200."""
HISTORY = 20
"""Past steps that L-BFGS keeps."""
MOMENT_ROWS, MOMENT_ROWS_PER_FEATURE = 8192, 4
"""Samples, at least and per feature, that tell the curvature well enough; of more, every second or third is taken."""
LIFT = 1e-8
"""Least share of the mean curvature that is added where rounding has left it indefinite."""


@dataclass(frozen=True)
class LogisticFit:
    """A fitted classifier, and how its optimisation ended.

    Attributes:
        weight: (k, d), one row per class.
        bias: (k,).
        classes: (k,) the labels that were seen, increasing; no other is ever predicted.
        regularisation: C, the inverse strength of the penalty.
        objective: mean cross-entropy plus penalty at the end, in nats.
        largest_gradient: largest entry of the gradient at the end, in the coordinates of the fit.
        converged: whether that is small enough, by `GRADIENT_TOLERANCE`.
    """

    weight: Float[Tensor, "k d"]
    bias: Float[Tensor, " k"]
    classes: Int64[Tensor, " k"]
    regularisation: float
    objective: float
    largest_gradient: float
    converged: bool

    def logits(self, h: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """Return the scores W h + b of every class, in nats up to a constant per sample."""
        return nn.functional.linear(h, self.weight, self.bias)

    def predict(self, h: Float[Tensor, "n d"]) -> Int64[Tensor, " n"]:
        """Return the likeliest class of every sample."""
        return self.classes[self.logits(h).argmax(dim=1)]


def fit_logistic(
    h: Float[Tensor, "n d"], labels: Int64[Tensor, " n"], regularisations: Sequence[float]
) -> list[LogisticFit]:
    """Fit one classifier per regularisation, each started where the one before it ended.

    Minimises (1/n) sum_i -log softmax(W h_i + b)[y_i] + |W|_F^2 / (2 C n) with b free, which is scikit-learn's
    `LogisticRegression(C)` up to the factor n. (Two classes share the penalty here: C is scikit-learn's 2 C.)

    Features are centred and of comparable scales, see `fit_standardiser` in `linear.py`; labels any whole numbers.
    Values of C in increasing order are fastest. A fit that did not converge says so and is the best point found.
    """
    problem = logistic_problem(h, labels)
    if not regularisations:
        raise ValueError("regularisations: got none, wanted one or more positive numbers")
    fits: list[LogisticFit] = []
    for regularisation in regularisations:
        fits.append(problem.solve(regularisation, fits[-1] if fits else None))
    return fits


@dataclass(frozen=True)
class LogisticProblem:
    """Labelled features, arranged for quick solutions at many regularisations.

    Attributes:
        rows: (n, r) the features, in coordinates that span them; float32 or float64, as is `span`.
        span: (d, r) those coordinates; None where they are the features themselves.
        targets: (n,) position of each label in `classes`.
        classes: (k,) the labels that occur, increasing.
        moments: (r, r) mean products of the features, of all samples or of enough of them: they decide how fast a fit
            is, and not where it ends.
    """

    rows: Float[Tensor, "n r"]
    span: Float[Tensor, "d r"] | None
    targets: Int64[Tensor, " n"]
    classes: Int64[Tensor, " k"]
    moments: Float64[Tensor, "r r"]

    def solve(self, regularisation: float, start: LogisticFit | None = None) -> LogisticFit:
        """Fit at one regularisation C, from an earlier fit of the same classes or from zero."""
        if not regularisation > 0:
            raise ValueError(f"regularisation: got {regularisation}, wanted a positive number")
        penalty = 1.0 / (regularisation * len(self.rows))
        scale = self._scale(penalty)
        first = torch.zeros(len(self.classes), len(scale) + 1, dtype=torch.float64)
        if start is not None:
            inside = start.weight.double() if self.span is None else start.weight.double() @ self.span.double()
            first = torch.cat([inside @ scale, start.bias.double()[:, None] * self._bias_scale()], dim=1)
        tolerance = GRADIENT_TOLERANCE[self.rows.dtype]
        inverse = torch.linalg.solve_triangular(scale, torch.eye(len(scale), dtype=scale.dtype), upper=False)
        known = nn.functional.one_hot(self.targets, len(self.classes)).to(self.rows.dtype)
        solution, objective, gradient = _minimise(lambda x: self._loss(x, inverse, known, penalty), first, tolerance)
        weight, bias = self._coefficients(solution, inverse)
        return LogisticFit(
            weight=(weight if self.span is None else weight @ self.span.double().T).float(),
            bias=bias.float(),
            classes=self.classes,
            regularisation=regularisation,
            objective=objective,
            largest_gradient=gradient,
            converged=gradient <= tolerance,
        )

    def _scale(self, penalty: float) -> Tensor:
        """The factor L (r, r) of the curvature L L^T: in the coordinates W L the curvature is about 1.

        At W = 0 the Hessian of the cross-entropy is the second moment of the features times 1/k along a class
        (times -1/k^2 across classes). L-BFGS needs tens of steps in these coordinates where it needs hundreds in
        those of correlated features.
        """
        curvature = self.moments / len(self.classes)
        size = float(curvature.diagonal().mean()) or 1.0
        added = penalty
        while True:  # sums in float32 may leave a curvature slightly below 0, which the penalty alone does not lift
            lifted = curvature.clone()
            lifted.diagonal().add_(added)
            factor: Tensor
            factor, failed = torch.linalg.cholesky_ex(lifted)
            if not failed:
                return factor
            added = max(10 * added, LIFT * size)

    def _bias_scale(self) -> float:
        """The same for the biases, whose feature is the number 1."""
        return float(len(self.classes) ** -0.5)

    def _coefficients(self, point: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
        """W (k, r) and b (k,) at a point (k, r + 1) of the search; `inverse` is that of the scale."""
        return point[:, :-1] @ inverse, point[:, -1] / self._bias_scale()

    def _loss(self, point: Tensor, inverse: Tensor, known: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
        """Loss and its gradient at a point (k, r + 1) of the search; `known` (n, k) is 1 at the label of each sample.

        Few operations: with few samples their number is what a fit costs.
        """
        weight, bias = self._coefficients(point, inverse)
        rows, dtype, n = self.rows, self.rows.dtype, len(self.rows)
        log_probabilities = torch.addmm(bias.to(dtype), rows, weight.to(dtype).T).log_softmax(dim=1)
        loss = 0.5 * penalty * weight.square().sum() - (log_probabilities * known).sum(dtype=torch.float64) / n
        residual = log_probabilities.exp_().sub_(known)
        slope = (residual.T @ rows).double().div_(n).add_(weight, alpha=penalty) @ inverse.T
        bias_slope = residual.sum(dim=0, dtype=torch.float64).div_(n * self._bias_scale())
        return loss, torch.cat([slope, bias_slope[:, None]], dim=1)


def logistic_problem(
    h: Float[Tensor, "n d"], labels: Int64[Tensor, " n"], moments: Float64[Tensor, "r r"] | None = None
) -> LogisticProblem:
    """Arrange labelled features; with fewer samples than features, in as many dimensions as there are samples.

    Nothing is lost there: the optimal W lies in the span of the samples. Features and labels as for `fit_logistic`;
    `moments` are those of an earlier problem with nearly the same features, which saves taking them again.
    """
    if len(h) == 0:
        raise ValueError("h: no samples to fit a classifier to")
    classes, targets = torch.unique(labels, return_inverse=True)
    rows, span = h.to(torch.float64 if h.numel() <= EXACT_NUMEL else torch.float32), None
    if h.shape[0] < h.shape[1]:
        span, triangle = torch.linalg.qr(rows.T)
        rows = triangle.T.contiguous()
    if moments is None or len(moments) != rows.shape[1]:
        enough = rows[:: max(1, len(rows) // max(MOMENT_ROWS, MOMENT_ROWS_PER_FEATURE * rows.shape[1]))]
        moments = (enough.T @ enough).double() / len(enough)
    return LogisticProblem(rows, span, targets, classes, moments)


def _minimise(
    loss: Callable[[Tensor], tuple[Tensor, Tensor]], start: Tensor, tolerance: float
) -> tuple[Tensor, float, float]:
    """Minimise by L-BFGS; return the point, the loss there and the largest entry of the gradient there."""

    def flat(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, gradient = loss(torch.from_numpy(point).view_as(start))
        return float(value), gradient.flatten().numpy()

    found = minimize(
        flat,
        start.flatten().numpy(),
        jac=True,
        method="L-BFGS-B",
        options={
            "maxiter": MAX_ITERATIONS,
            "maxfun": 2 * MAX_ITERATIONS,
            "maxcor": HISTORY,
            "gtol": tolerance,
            "ftol": 0,
        },
    )
    return torch.from_numpy(found.x).view_as(start), float(found.fun), float(np.abs(found.jac).max())
