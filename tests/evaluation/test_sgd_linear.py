"""The linear protocol of the papers: its schedule, its last epoch, its augmentation."""

from collections.abc import Mapping
from math import cos, pi
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from barlow.evaluation.sgd_linear import SgdNumbers, augmented_features, sgd_linear_accuracy
from barlow.seams import Params, unchanged
from tests.evaluation.gaussians import as_features, bayes_accuracy_of_two_classes, gaussian_classes
from tests.evaluation.small_source import SmallSource


class AddedNoise:
    """A view that adds noise to vectors."""

    def sample(self, batch: Any, generator: torch.Generator) -> Params:
        return {"noise": {"value": torch.randn(batch.shape, generator=generator)}}

    def apply(self, batch: Any, params: Mapping[str, Mapping[str, Tensor]]) -> Any:
        return batch + params["noise"]["value"]


def test_accuracy_comes_near_the_best_possible() -> None:
    train = as_features(*gaussian_classes(3000, 5, 2, distance=3.0))
    test = as_features(*gaussian_classes(10_000, 5, 2, distance=3.0, seed=1))
    accuracy = sgd_linear_accuracy(train, test, SgdNumbers(epochs=10))
    assert accuracy == pytest.approx(bayes_accuracy_of_two_classes(3.0), abs=0.01)


def test_it_is_the_torch_loop_written_out() -> None:
    train, test = (as_features(*gaussian_classes(300, 5, 3, distance=2.0, seed=seed)) for seed in (0, 1))
    assert train.labels is not None
    assert test.labels is not None
    numbers = SgdNumbers(epochs=4, batch_size=64, seed=7)
    generator = torch.Generator().manual_seed(7)
    layer = nn.Linear(5, 3)
    with torch.no_grad():
        layer.weight.copy_(0.01 * torch.randn(3, 5, generator=generator))
        layer.bias.zero_()
    optimizer = torch.optim.SGD(layer.parameters(), 0.3, momentum=0.9, weight_decay=1e-6)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)
    for epoch in range(4):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.15 * (1 + cos(pi * epoch / 4)))
        order = torch.randperm(300, generator=generator)
        for start in range(0, 300, 64):
            rows = order[start : start + 64]
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(layer(train.h[rows]), train.labels[rows]))
            optimizer.step()
        schedule.step()
    by_hand = float((layer(test.h).argmax(dim=1) == test.labels).double().mean())
    assert sgd_linear_accuracy(train, test, numbers) == by_hand


def test_the_last_epoch_counts_and_test_data_are_looked_at_once() -> None:
    train = as_features(*gaussian_classes(300, 5, 3, distance=2.0))
    h, y = gaussian_classes(300, 5, 3, distance=2.0, seed=1)
    right = sgd_linear_accuracy(train, as_features(h, y), SgdNumbers(epochs=3))
    wrong = sgd_linear_accuracy(train, as_features(h, (y + 1) % 3), SgdNumbers(epochs=3))
    assert right > 0.6
    assert right + wrong <= 1.0  # one set of predictions, whatever the test labels are


def test_epochs_of_augmented_features_are_fresh_and_repeatable() -> None:
    network = nn.Linear(4, 6).eval()
    h, y = gaussian_classes(50, 4, 2, distance=1.0)
    epoch = augmented_features(network, SmallSource(h, y, unreadable=[3]), AddedNoise(), batch_size=20)
    first, second, again = epoch(0), epoch(1), epoch(0)
    assert torch.equal(first.h, again.h)
    assert not torch.equal(first.h, second.h)
    assert torch.equal(first.indices, second.indices)
    assert len(first) == 49


def test_augmentation_is_seen_in_every_epoch() -> None:
    h, y = gaussian_classes(400, 4, 2, distance=3.0)
    test = as_features(*gaussian_classes(2000, 4, 2, distance=3.0, seed=1))
    epoch = augmented_features(unchanged, SmallSource(h, y), AddedNoise())
    asked: list[int] = []

    def counted(number: int) -> Any:
        asked.append(number)
        return epoch(number)

    told: list[tuple[int, int]] = []
    numbers = SgdNumbers(epochs=5)
    accuracy = sgd_linear_accuracy(counted, test, numbers, progress=lambda *state: told.append(state))
    assert asked == [0, 1, 2, 3, 4]
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    assert accuracy == pytest.approx(bayes_accuracy_of_two_classes(3.0), abs=0.03)


def test_wrong_arguments_are_named() -> None:
    good = as_features(*gaussian_classes(50, 4, 2, distance=1.0))
    bare = as_features(good.h, None)
    with pytest.raises(ValueError, match="train: its features have no labels"):
        sgd_linear_accuracy(bare, good, SgdNumbers(epochs=1))
    with pytest.raises(ValueError, match="test: its features have no labels"):
        sgd_linear_accuracy(good, bare, SgdNumbers(epochs=1))
    with pytest.raises(ValueError, match="learning_rate: the layer diverged at 1e"):
        sgd_linear_accuracy(good, good, SgdNumbers(epochs=3, learning_rate=1e38))
    with pytest.raises(ValueError, match="epochs: got 0"):
        sgd_linear_accuracy(good, good, SgdNumbers(epochs=0))
