"""Nearest neighbours: equal to the definition, ties settled, hyper-parameters chosen on training data."""

from itertools import product

import pytest
import torch
from torch import Tensor

from barlow.evaluation import knn
from barlow.evaluation.knn import WHITENINGS, choose_knn, fit_whitening, knn_accuracy, knn_predict, nearest
from barlow.evaluation.splits import Split, validation_split
from tests.evaluation.gaussians import bayes_accuracy_of_two_classes, gaussian_classes


def by_definition(train_h: Tensor, train_y: Tensor, test_h: Tensor, k: int, temperature: float) -> list[int]:
    """Wu et al. 2018, section 3.4, one pair at a time in float64; ties go to the first sample and the first class."""
    predicted = []
    for query in test_h.double():
        cosine = [float(query @ other / (query.norm() * other.norm())) for other in train_h.double()]
        chosen = sorted(range(len(cosine)), key=lambda i: (-cosine[i], i))[:k]
        votes = [0.0] * (int(train_y.max()) + 1)
        for i in chosen:
            votes[int(train_y[i])] += float(torch.tensor(cosine[i] / temperature).double().exp())
        predicted.append(votes.index(max(votes)))
    return predicted


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (5, 0.07), (40, 0.02), (40, 10.0), (100, 0.07)])
def test_predictions_are_those_of_the_definition(k: int, temperature: float) -> None:
    train_h, train_y = gaussian_classes(100, 6, 4, distance=2.0)
    test_h, _ = gaussian_classes(50, 6, 4, distance=2.0, seed=1)
    found = knn_predict(train_h, train_y, test_h, num_neighbours=k, temperature=temperature)
    assert found.tolist() == by_definition(train_h, train_y, test_h, k, temperature)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    train_h, train_y = gaussian_classes(300, 6, 4, distance=1.0)
    test_h, _ = gaussian_classes(70, 6, 4, distance=1.0, seed=1)
    whole = knn_predict(train_h, train_y, test_h, num_neighbours=20)
    monkeypatch.setattr(knn, "CHUNK_BYTES", 4 * 300 * 7)
    assert torch.equal(knn_predict(train_h, train_y, test_h, num_neighbours=20), whole)


def test_of_equally_similar_samples_the_first_ones_are_taken() -> None:
    train_h = torch.tensor([[1.0, 0.0]] * 3 + [[0.0, 1.0]] * 60)
    similarities, positions = nearest(train_h, torch.tensor([[1.0, 0.0], [0.0, 1.0]]), 5)
    assert positions.tolist() == [[0, 1, 2, 3, 4], [3, 4, 5, 6, 7]]
    assert similarities.tolist() == [[1.0, 1.0, 1.0, 0.0, 0.0], [1.0] * 5]


def test_neighbours_come_most_similar_first() -> None:
    train_h, _ = gaussian_classes(200, 5, 2, distance=1.0)
    similarities, positions = nearest(train_h, train_h[:30], 8)
    assert positions[:, 0].tolist() == list(range(30))
    assert (similarities.diff(dim=1) <= 0).all()


def test_of_equal_votes_the_smallest_class_wins() -> None:
    train_h = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    assert knn_predict(train_h, torch.tensor([2, 0, 1]), train_h[:1], num_neighbours=3).tolist() == [0]


def test_the_length_of_features_does_not_matter() -> None:
    train_h, train_y = gaussian_classes(200, 6, 3, distance=2.0)
    test_h, _ = gaussian_classes(40, 6, 3, distance=2.0, seed=1)
    length = torch.linspace(0.1, 9.0, 200)[:, None]
    found = knn_predict(train_h * length, train_y, test_h, num_neighbours=10)
    assert torch.equal(found, knn_predict(train_h, train_y, test_h, num_neighbours=10))


def test_collapsed_features_of_length_zero_give_a_prediction_and_no_error() -> None:
    train_y = torch.tensor([1, 1, 0, 0, 0])
    assert knn_predict(torch.zeros(5, 3), train_y, torch.zeros(2, 3), num_neighbours=2).tolist() == [1, 1]


def test_low_temperatures_do_not_overflow() -> None:
    train_h, train_y = gaussian_classes(60, 4, 3, distance=2.0)
    sharp = knn_predict(train_h, train_y, train_h, num_neighbours=20, temperature=1e-4)
    assert torch.equal(sharp, train_y)  # each sample is its own nearest neighbour


def test_more_neighbours_than_samples_means_all_of_them() -> None:
    train_h, train_y = gaussian_classes(50, 4, 3, distance=2.0)
    found = knn_predict(train_h, train_y, train_h, num_neighbours=1000)
    assert torch.equal(found, knn_predict(train_h, train_y, train_h, num_neighbours=50))


def test_accuracy_comes_near_the_best_possible() -> None:
    train_h, train_y = gaussian_classes(4000, 2, 2, distance=3.0)
    test_h, test_y = gaussian_classes(4000, 2, 2, distance=3.0, seed=1)
    centre = 3.0 / 2 / 2**0.5  # the cosine sees angles: seen from the midpoint, the classes are opposite
    accuracy = knn_accuracy(train_h - centre, train_y, test_h - centre, test_y)
    assert accuracy == pytest.approx(bayes_accuracy_of_two_classes(3.0), abs=0.015)


def test_the_choice_is_the_best_on_the_validation_part() -> None:
    train_h, train_y = gaussian_classes(400, 6, 4, distance=1.5)
    split = validation_split(train_y, fraction=0.25, most=1000, seed=0)
    choices = list(product((1, 5, 20, 200), (0.02, 0.5)))
    scores = [
        knn_accuracy(
            train_h[split.fit],
            train_y[split.fit],
            train_h[split.validation],
            train_y[split.validation],
            num_neighbours=k,
            temperature=t,
        )
        for k, t in choices
    ]
    setting = choose_knn(train_h, train_y, split, num_neighbours=(1, 5, 20, 200), temperatures=(0.02, 0.5))
    assert (setting.num_neighbours, setting.temperature) == choices[scores.index(max(scores))]
    assert setting.validation_accuracy == max(scores)
    assert len(set(scores)) > 1


def test_numbers_of_neighbours_beyond_the_samples_are_left_out_of_the_choice() -> None:
    h, y = gaussian_classes(12, 3, 2, distance=4.0)
    assert choose_knn(h, y, Split(torch.arange(8), torch.arange(8, 12))).num_neighbours <= 8


def test_wrong_arguments_are_named() -> None:
    h, y = gaussian_classes(12, 3, 2, distance=4.0)
    with pytest.raises(ValueError, match="num_neighbours: got 13, wanted 1 to 12"):
        nearest(h, h, 13)
    with pytest.raises(ValueError, match="num_neighbours: got 0"):
        knn_predict(h, y, h, num_neighbours=0)
    with pytest.raises(ValueError, match="temperature: got 0"):
        knn_predict(h, y, h, temperature=0.0)
    with pytest.raises(ValueError, match=r"num_neighbours:.*more than 8 samples"):
        choose_knn(h, y, Split(torch.arange(8), torch.arange(8, 12)), num_neighbours=(50,))


def hidden_by_strong_directions(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two classes along a weak direction, beside strong ones that say nothing of them."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 2
    h = 0.1 * torch.randn(n, 8, generator=generator)
    h[:, 3:] += 10 * torch.randn(n, 5, generator=generator)
    h[:, 1] += y.float() - 0.5
    return h + 20, y


def test_whitening_finds_the_classes_that_strong_directions_hide_from_cosines() -> None:
    (train_h, train_y), (test_h, test_y) = hidden_by_strong_directions(400, 0), hidden_by_strong_directions(200, 1)
    whitening = fit_whitening(train_h)
    plain = knn_accuracy(train_h, train_y, test_h, test_y, num_neighbours=20)
    train, test = whitening(train_h, 1.0), whitening(test_h, 1.0)
    white = knn_accuracy(train, train_y, test, test_y, num_neighbours=20)
    assert plain < 0.85
    assert white > 0.95
    split = Split(torch.arange(300), torch.arange(300, 400))
    chosen = choose_knn(train_h, train_y, split, whitenings=WHITENINGS, whitening=fit_whitening(train_h[:300]))
    assert chosen.whitening > 0


def test_whitened_training_features_are_centred_and_uncorrelated_with_variance_one() -> None:
    h = torch.randn(500, 6, generator=torch.Generator().manual_seed(0)) @ torch.diag(torch.tensor([9.0, 5, 2, 1, 1, 0]))
    white = fit_whitening(h)(h, 1.0)
    assert white.shape == (500, 5)  # the sixth direction is empty
    torch.testing.assert_close(white.T @ white / 500, torch.eye(5), atol=1e-4, rtol=0)
    assert fit_whitening(h, most=3)(h, 0.5).shape == (500, 3)


def test_whitening_by_power_0_leaves_features_as_they_are_and_constant_ones_become_0() -> None:
    h = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    assert fit_whitening(h)(h, 0.0) is h
    constant = torch.ones(10, 4)
    assert torch.equal(fit_whitening(constant)(constant, 1.0), torch.zeros(10, 1))
