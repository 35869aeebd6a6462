"""The linear probe: chosen on the validation part, fitted on everything, standardised by training data."""

from statistics import fmean, stdev

import pytest
import torch
from torch import Tensor

from barlow.evaluation import linear
from barlow.evaluation.linear import (
    REGULARISATIONS,
    FewLabels,
    HeldOut,
    Part,
    best,
    few_label_accuracy,
    fit_linear_probe,
    fit_standardiser,
    score_held_out,
    try_regularisations,
)
from barlow.evaluation.logistic import LogisticFit, fit_logistic
from barlow.evaluation.splits import few_label_draws, validation_split
from tests.evaluation.gaussians import bayes_accuracy_of_two_classes, gaussian_classes


def noisy(num_samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Four classes in 60 dimensions of which 56 are noise, on different scales: the penalty matters."""
    h, y = gaussian_classes(num_samples, 60, 4, distance=2.0, seed=seed)
    return 7.0 + h * torch.logspace(0, 2, 60), y


def test_accuracy_comes_near_the_best_possible_on_features_of_any_scale() -> None:
    scale = torch.tensor([1e-3, 1.0, 1e3, 10.0])
    train_h, train_y = gaussian_classes(4000, 4, 2, distance=2.0)
    test_h, test_y = gaussian_classes(20_000, 4, 2, distance=2.0, seed=1)
    split = validation_split(train_y, fraction=0.2, most=1000, seed=0)
    probe = fit_linear_probe(train_h * scale - 5.0, train_y, split)
    accuracy = probe.accuracy(test_h * scale - 5.0, test_y)
    assert accuracy == pytest.approx(bayes_accuracy_of_two_classes(2.0), abs=0.01)
    assert probe.classifier.converged


def test_the_penalty_is_chosen_by_a_fit_to_the_fitting_part_with_its_statistics() -> None:
    h, y = noisy(300, 0)
    split = validation_split(y, fraction=0.3, most=1000, seed=0)
    probe = fit_linear_probe(h, y, split)
    standard = fit_standardiser(h[split.fit])
    part = Part(standard(h[split.fit]), y[split.fit], standard(h[split.validation]), y[split.validation])
    assert probe.validation == tuple(try_regularisations([part], REGULARISATIONS))
    assert probe.classifier.regularisation == best(probe.validation).regularisation
    assert REGULARISATIONS[0] < probe.classifier.regularisation < REGULARISATIONS[-1]


def test_the_final_fit_is_to_all_training_data_with_their_statistics() -> None:
    h, y = noisy(200, 0)
    split = validation_split(y, fraction=0.3, most=1000, seed=0)
    probe = fit_linear_probe(h, y, split)
    standard = fit_standardiser(h)
    (wanted,) = fit_logistic(standard(h), y, [probe.classifier.regularisation])
    torch.testing.assert_close(probe.classifier.weight, wanted.weight, atol=1e-4, rtol=0)  # started elsewhere
    assert probe.classifier.objective == pytest.approx(wanted.objective, abs=1e-9)
    assert torch.equal(probe.standardiser.mean, standard.mean)
    test_h = noisy(50, 1)[0]
    assert torch.equal(probe.predict(test_h), wanted.predict(standard(test_h)))


def test_no_choice_is_an_error() -> None:
    h, y = noisy(50, 0)
    with pytest.raises(ValueError, match="regularisations: got"):
        fit_linear_probe(h, y, validation_split(y, fraction=0.3, most=1000, seed=0), regularisations=())


# --- Few labels: only the drawn labels are used, each draw chooses for itself, and the spread is that of the draws.


def test_accuracy_is_near_the_best_possible_where_few_labels_suffice() -> None:
    train_h, train_y = gaussian_classes(1000, 2, 2, distance=3.0)
    test_h, test_y = gaussian_classes(5000, 2, 2, distance=3.0, seed=1)
    draws = few_label_draws(train_y, per_class=20, draws=5, seed=0)
    found = few_label_accuracy(train_h, train_y, test_h, test_y, draws)
    assert found.mean == pytest.approx(bayes_accuracy_of_two_classes(3.0), abs=0.02)
    assert found.converged
    assert len(found.accuracies) == len(found.regularisations) == 5


def test_labels_outside_the_draws_are_never_looked_at() -> None:
    train_h, train_y = gaussian_classes(300, 10, 3, distance=2.0)
    test_h, test_y = gaussian_classes(200, 10, 3, distance=2.0, seed=1)
    draws = few_label_draws(train_y, per_class=5, draws=3, seed=0)
    used = torch.zeros(300, dtype=torch.bool)
    used[torch.cat(draws)] = True
    wrong = torch.where(used, train_y, (train_y + 1) % 3)
    assert few_label_accuracy(train_h, wrong, test_h, test_y, draws) == few_label_accuracy(
        train_h, train_y, test_h, test_y, draws
    )


def test_test_labels_change_scores_but_not_choices() -> None:
    train_h, train_y = gaussian_classes(300, 10, 3, distance=2.0)
    test_h, test_y = gaussian_classes(200, 10, 3, distance=2.0, seed=1)
    draws = few_label_draws(train_y, per_class=5, draws=3, seed=0)
    found = few_label_accuracy(train_h, train_y, test_h, test_y, draws)
    other = few_label_accuracy(train_h, train_y, test_h, test_y.roll(1), draws)
    assert found.regularisations == other.regularisations
    assert found.accuracies != other.accuracies


def test_the_penalty_follows_the_data() -> None:
    # Far apart in few dimensions: any penalty will do, the weakest fits closest. Noise: the strongest.
    easy_h, easy_y = gaussian_classes(200, 3, 3, distance=12.0)
    noise_h = torch.randn(200, 100, generator=torch.Generator().manual_seed(5))
    draws = few_label_draws(easy_y, per_class=10, draws=3, seed=0)
    easy = few_label_accuracy(easy_h, easy_y, easy_h, easy_y, draws)
    noise = few_label_accuracy(noise_h, easy_y, noise_h, easy_y, draws)
    assert fmean(easy.regularisations) > 10 * fmean(noise.regularisations)


def test_mean_and_spread_are_those_of_the_draws() -> None:
    found = FewLabels((0.5, 0.6, 0.9), (1.0, 1.0, 1.0), True)
    assert found.mean == pytest.approx(fmean(found.accuracies))
    assert found.std == pytest.approx(stdev(found.accuracies))
    assert FewLabels((0.5,), (1.0,), True).std == 0.0


def test_a_class_with_a_single_sample_does_not_stop_it() -> None:
    h, y = gaussian_classes(100, 5, 3, distance=3.0)
    h, y = torch.cat([h, h[:1] + 9.0]), torch.cat([y, torch.tensor([3])])
    draws = few_label_draws(y, per_class=4, draws=2, seed=0)
    assert few_label_accuracy(h, y, h, y, draws).mean > 0.5


def test_no_draw_is_an_error() -> None:
    h, y = gaussian_classes(20, 3, 2, distance=3.0)
    with pytest.raises(ValueError, match="draws: got none"):
        few_label_accuracy(h, y, h, y, [])


# --- The choice of the penalty: by cross-entropy on samples held out, which have no part in the fits.


def noisy_part(seed: int = 0) -> Part:
    """Four classes in 60 dimensions of which 56 are noise: a weak penalty overfits."""
    h, y = gaussian_classes(300, 60, 4, distance=2.0, seed=seed)
    return Part(h[:200], y[:200], h[200:], y[200:])


def test_figures_are_those_of_fits_made_one_by_one() -> None:
    part = noisy_part()
    tried = try_regularisations([part], (1e-3, 1e-2))
    for held in tried:
        (fit,) = fit_logistic(part.fit_h, part.fit_y, [held.regularisation])
        probabilities = fit.logits(part.held_h).softmax(dim=1)[torch.arange(100), part.held_y]
        assert held.cross_entropy == pytest.approx(float(-probabilities.log().sum()), rel=1e-3)
        assert held.accuracy == float((fit.predict(part.held_h) == part.held_y).double().mean())


def test_folds_are_added_up() -> None:
    parts = [noisy_part(seed) for seed in range(3)]
    together = try_regularisations(parts, (1e-3, 1e-2))
    apart = [try_regularisations([part], (1e-3, 1e-2)) for part in parts]
    for place, held in enumerate(together):
        assert held.num_samples == 300
        assert held.num_correct == sum(one[place].num_correct for one in apart)
        assert held.cross_entropy == pytest.approx(sum(one[place].cross_entropy for one in apart))


def test_penalties_weaker_than_one_that_does_worse_are_not_tried() -> None:
    tried = try_regularisations([noisy_part()], REGULARISATIONS)
    assert [held.regularisation for held in tried] == list(REGULARISATIONS[: len(tried)])
    assert len(tried) < len(REGULARISATIONS)
    assert best(tried) is tried[-2]


def test_where_no_penalty_does_worse_all_are_tried() -> None:
    h, y = gaussian_classes(200, 4, 3, distance=20.0)
    tried = try_regularisations([Part(h[:100], y[:100], h[100:], y[100:])], REGULARISATIONS)
    assert best(tried).regularisation == REGULARISATIONS[-1]


def test_samples_held_out_have_no_part_in_the_fit_that_they_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[LogisticFit] = []

    def keep(fit: LogisticFit, h: torch.Tensor, labels: torch.Tensor) -> HeldOut:
        judged.append(fit)
        return HeldOut(fit.regularisation, 1, 1.0, 1)

    monkeypatch.setattr(linear, "score_held_out", keep)
    part = noisy_part()
    try_regularisations([part], [1.0])
    try_regularisations([Part(part.fit_h, part.fit_y, 1e6 + part.held_h, part.held_y.flip(0))], [1.0])
    assert torch.equal(judged[0].weight, judged[1].weight)


def test_the_smallest_cross_entropy_wins() -> None:
    tried = [HeldOut(0.1, 8, 3.0, 10), HeldOut(1.0, 8, 2.0, 10), HeldOut(10.0, 9, 4.0, 10), HeldOut(100.0, 8, 2.0, 10)]
    assert best(tried).regularisation == 1.0
    assert best(tried).accuracy == 0.8


def test_samples_of_unknown_classes_count_as_wrong_and_not_as_infinitely_surprising() -> None:
    h, y = gaussian_classes(200, 5, 3, distance=6.0)
    (fit,) = fit_logistic(h[y != 1], y[y != 1], [1.0])
    held, known = score_held_out(fit, h, y), score_held_out(fit, h[y != 1], y[y != 1])
    assert held.num_correct == known.num_correct
    assert held.cross_entropy == pytest.approx(known.cross_entropy)
    assert held.num_samples == 200


def test_wrong_arguments_are_named() -> None:
    for wrong in ((), (1.0, 0.1)):
        with pytest.raises(ValueError, match=r"regularisations: got .* wanted one or more in increasing order"):
            try_regularisations([noisy_part()], wrong)
    with pytest.raises(ValueError, match="regularisation: got 0"):
        try_regularisations([noisy_part()], (0.0, 1.0))


# --- Standardisation: training statistics only, and constant features do no harm.


def test_training_features_get_mean_zero_and_spread_one() -> None:
    h = 5.0 + 3.0 * gaussian_classes(20_000, 4, 2, distance=1.0)[0]
    standard = fit_standardiser(h)(h)
    torch.testing.assert_close(standard.mean(dim=0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(standard.std(dim=0, correction=0), torch.ones(4))


def test_test_features_are_measured_by_training_statistics() -> None:
    train = torch.tensor([[1.0], [3.0]])  # mean 2, spread 1
    test = torch.tensor([[10.0], [20.0]])
    torch.testing.assert_close(fit_standardiser(train)(test), torch.tensor([[8.0], [18.0]]))


def test_the_features_that_came_are_left_as_they_were() -> None:
    h = gaussian_classes(10, 3, 2, distance=1.0)[0]
    before = h.clone()
    fit_standardiser(h)(h)
    assert torch.equal(h, before)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4, -3e-8])
def test_a_constant_feature_becomes_zero(value: float) -> None:
    h = torch.full((10_000, 1), value)
    assert torch.equal(fit_standardiser(h)(h), torch.zeros(10_000, 1))


def test_a_feature_that_only_rounding_moves_is_not_blown_up() -> None:
    h = torch.full((1000, 1), 100.0)
    h[::2] = 100.00001
    assert fit_standardiser(h)(h).abs().max() < 1e-4


def test_a_large_mean_does_not_hide_the_spread() -> None:
    h = torch.tensor([[65536.0], [65537.0], [65538.0], [65539.0]])
    assert float(fit_standardiser(h).spread) == pytest.approx(1.25**0.5)


def test_no_samples_is_an_error() -> None:
    with pytest.raises(ValueError, match="train_h: no samples"):
        fit_standardiser(torch.empty(0, 3))
