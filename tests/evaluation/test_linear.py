"""The linear probe: chosen on the validation part, fitted on everything, standardised by training data."""

import pytest
import torch
from torch import Tensor

from barlow.evaluation.linear import fit_linear_probe
from barlow.evaluation.logistic import fit_logistic
from barlow.evaluation.regularisation import REGULARISATIONS, Part, best, try_regularisations
from barlow.evaluation.splits import validation_split
from barlow.evaluation.standardise import fit_standardiser
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
    assert torch.equal(probe.classifier.weight, wanted.weight)
    assert torch.equal(probe.standardiser.mean, standard.mean)
    test_h = noisy(50, 1)[0]
    assert torch.equal(probe.predict(test_h), wanted.predict(standard(test_h)))


def test_no_choice_is_an_error() -> None:
    h, y = noisy(50, 0)
    with pytest.raises(ValueError, match="regularisations: got"):
        fit_linear_probe(h, y, validation_split(y, fraction=0.3, most=1000, seed=0), regularisations=())
