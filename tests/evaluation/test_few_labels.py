"""Few labels: only the drawn labels are used, each draw chooses for itself, and the spread is that of the draws."""

from statistics import fmean, stdev

import pytest
import torch

from barlow.evaluation.few_labels import FewLabels, few_label_accuracy
from barlow.evaluation.splits import few_label_draws
from tests.evaluation.gaussians import bayes_accuracy_of_two_classes, gaussian_classes


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
