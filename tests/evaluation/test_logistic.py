"""Logistic regression: scikit-learn's minimum, on easy, correlated, wide and separable features."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import cross_entropy

from barlow.evaluation import logistic
from barlow.evaluation.logistic import LogisticFit, fit_logistic, logistic_problem
from tests.evaluation.gaussians import bayes_accuracy_of_two_classes, gaussian_classes


def objective(weight: Tensor, bias: Tensor, h: Tensor, labels: Tensor, c: float) -> float:
    """Mean cross-entropy plus penalty, in float64, from the formula."""
    logits = h.double() @ weight.double().T + bias.double()
    return float(cross_entropy(logits, labels) + weight.double().square().sum() / (2 * c * len(h)))


def correlated(num_samples: int, num_features: int, num_classes: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Standardised features with a covariance of condition about 10^4, as features of networks have."""
    h, y = gaussian_classes(num_samples, num_features, num_classes, distance=3.0, seed=seed)
    generator = torch.Generator().manual_seed(99)
    rotation = torch.linalg.qr(torch.randn(num_features, num_features, generator=generator)).Q
    h = (h * torch.logspace(0, -2, num_features)) @ rotation.T
    return (h - h.mean(dim=0)) / h.std(dim=0), y


def scikit(h: Tensor, y: Tensor, c: float) -> LogisticRegression:
    return LogisticRegression(C=c, tol=1e-8, max_iter=20_000).fit(h.double().numpy(), y.numpy())


@pytest.mark.parametrize("c", [1e-4, 1e-2, 1.0, 100.0])
@pytest.mark.parametrize("shape", [(1200, 20, 4), (60, 200, 3)], ids=["tall", "wide"])
def test_the_minimum_and_the_predictions_are_those_of_scikit_learn(shape: tuple[int, int, int], c: float) -> None:
    h, y = correlated(*shape)
    (fit,) = fit_logistic(h, y, [c])
    wanted = scikit(h, y, c)
    lowest = objective(torch.tensor(wanted.coef_), torch.tensor(wanted.intercept_), h, y, c)
    assert fit.converged
    assert objective(fit.weight, fit.bias, h, y, c) == pytest.approx(lowest, abs=1e-7)
    assert fit.objective == pytest.approx(objective(fit.weight, fit.bias, h, y, c), abs=1e-7)
    test_h, _ = correlated(*shape, seed=1)
    agreement = (fit.predict(test_h) == torch.tensor(wanted.predict(test_h.double().numpy()))).double().mean()
    assert agreement >= 1 - 1 / len(test_h)  # a sample on the very border may fall either way


@pytest.mark.parametrize("c", [1e-3, 0.1, 10.0])
def test_many_numbers_are_fitted_in_float32_to_nearly_the_same_minimum(
    c: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    h, y = correlated(2000, 40, 5)
    (exact,) = fit_logistic(h, y, [c])
    monkeypatch.setattr(logistic, "EXACT_NUMEL", 0)
    assert logistic_problem(h, y).rows.dtype == torch.float32
    (fit,) = fit_logistic(h, y, [c])
    assert fit.converged
    assert objective(fit.weight, fit.bias, h, y, c) == pytest.approx(exact.objective, abs=1e-4)
    assert float((fit.predict(h) == exact.predict(h)).double().mean()) >= 0.998


def test_the_bias_is_free_of_the_penalty() -> None:
    y = torch.tensor([0] * 80 + [1] * 20)
    h = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    (fit,) = fit_logistic(h - h.mean(dim=0), y, [1e-8])
    assert fit.weight.abs().max() < 1e-4
    assert float(fit.bias.softmax(0)[0]) == pytest.approx(0.8, abs=1e-3)


def test_a_warm_start_ends_where_a_cold_one_does_and_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    h, y = correlated(500, 20, 4)
    evaluations: list[Tensor] = []
    loss = logistic.LogisticProblem._loss

    def counted(
        problem: logistic.LogisticProblem, coefficients: Tensor, inverse: Tensor, known: Tensor, penalty: float
    ) -> tuple[Tensor, Tensor]:
        evaluations.append(coefficients)
        return loss(problem, coefficients, inverse, known, penalty)

    monkeypatch.setattr(logistic.LogisticProblem, "_loss", counted)
    problem = logistic_problem(h, y)
    before = problem.solve(0.3)
    evaluations.clear()
    warm = problem.solve(0.5, before)
    num_warm = len(evaluations)
    cold = problem.solve(0.5)
    assert warm.objective == pytest.approx(cold.objective, abs=1e-7)
    assert num_warm < len(evaluations) - num_warm


def test_what_is_known_of_the_moments_decides_the_time_and_not_the_end() -> None:
    h, y = correlated(500, 20, 4)
    own = logistic_problem(h, y)
    for moments in (torch.eye(20, dtype=torch.float64), torch.zeros(20, 20, dtype=torch.float64), own.moments * 2):
        other = logistic_problem(h, y, moments).solve(0.5)
        assert other.converged
        assert other.objective == pytest.approx(own.solve(0.5).objective, abs=1e-7)


def test_moments_that_rounding_has_left_indefinite_are_lifted() -> None:
    h, y = correlated(500, 20, 4)
    rounded = logistic_problem(h, y).moments - 1e-3 * torch.eye(20, dtype=torch.float64)
    assert torch.linalg.eigvalsh(rounded).min() < 0
    fit = logistic_problem(h, y, rounded).solve(100.0)
    assert fit.converged
    assert fit.objective == pytest.approx(logistic_problem(h, y).solve(100.0).objective, abs=1e-7)


def test_a_path_gives_each_of_its_minima() -> None:
    h, y = correlated(300, 30, 3)
    path = fit_logistic(h, y, [0.01, 1.0, 0.1])
    assert [fit.regularisation for fit in path] == [0.01, 1.0, 0.1]
    for fit in path:
        (alone,) = fit_logistic(h, y, [fit.regularisation])
        assert fit.objective == pytest.approx(alone.objective, abs=1e-7)


def test_with_fewer_samples_than_features_the_weights_stay_in_their_span() -> None:
    h, y = correlated(20, 100, 3)
    (fit,) = fit_logistic(h, y, [1.0])
    inside = torch.linalg.qr(h.T).Q
    torch.testing.assert_close(fit.weight @ inside @ inside.T, fit.weight, atol=1e-5, rtol=1e-4)


def test_accuracy_comes_near_the_best_possible() -> None:
    train_h, train_y = gaussian_classes(5000, 10, 2, distance=2.0)
    test_h, test_y = gaussian_classes(20_000, 10, 2, distance=2.0, seed=1)
    (fit,) = fit_logistic(train_h, train_y, [1.0])
    accuracy = float((fit.predict(test_h) == test_y).double().mean())
    assert accuracy == pytest.approx(bayes_accuracy_of_two_classes(2.0), abs=0.01)


def test_separable_classes_converge_because_of_the_penalty() -> None:
    h, y = gaussian_classes(200, 50, 3, distance=30.0)
    for fit in fit_logistic(h - h.mean(dim=0), y, [1e-4, 1.0, 100.0]):
        assert fit.converged
        assert torch.equal(fit.predict(h - h.mean(dim=0)), y)


def test_classes_that_do_not_occur_are_never_predicted() -> None:
    h, y = gaussian_classes(200, 5, 3, distance=4.0)
    numbers = torch.tensor([2, 5, 11])
    (fit,) = fit_logistic(h, numbers[y], [1.0])
    assert fit.converged
    assert fit.classes.tolist() == [2, 5, 11]
    assert set(fit.predict(h).tolist()) == {2, 5, 11}


def test_constant_and_doubled_features_do_no_harm() -> None:
    h, y = gaussian_classes(300, 4, 3, distance=2.0)
    (plain,) = fit_logistic(h, y, [1.0])
    (padded,) = fit_logistic(torch.cat([h, h, torch.zeros(300, 2)], dim=1), y, [0.5])
    assert padded.converged
    assert plain.objective == pytest.approx(padded.objective, abs=1e-7)  # two columns share what one had
    assert (padded.weight[:, -2:] == 0).all()


def test_a_fit_that_was_cut_short_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    h, y = correlated(300, 30, 3)
    monkeypatch.setattr(logistic, "MAX_ITERATIONS", 3)
    (fit,) = fit_logistic(h, y, [1.0])
    assert not fit.converged
    assert fit.largest_gradient > 1e-3


def test_the_same_data_give_the_same_fit_bit_for_bit() -> None:
    h, y = correlated(300, 30, 3)
    first, again = (fit_logistic(h, y, [1.0])[0] for _ in range(2))
    assert torch.equal(first.weight, again.weight)


def test_scores_are_the_linear_ones() -> None:
    fit = LogisticFit(
        torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([0.5, 0.0]), torch.arange(2), 1.0, 0.0, 0.0, True
    )
    assert fit.logits(torch.tensor([[1.0, 3.0]])).tolist() == [[1.5, 6.0]]


def test_wrong_arguments_are_named() -> None:
    h, y = gaussian_classes(10, 3, 2, distance=1.0)
    with pytest.raises(ValueError, match="h: no samples"):
        fit_logistic(h[:0], y[:0], [1.0])
    with pytest.raises(ValueError, match="regularisations: got none"):
        fit_logistic(h, y, [])
    with pytest.raises(ValueError, match="regularisation: got -1"):
        fit_logistic(h, y, [1.0, -1.0])
