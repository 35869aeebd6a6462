"""Splits: stratified, seeded, disjoint, and made of labels alone."""

import pytest
import torch
from torch import Tensor

from barlow.evaluation.splits import few_label_draws, folds, validation_split


def unbalanced(num_samples: int = 1000) -> Tensor:
    """Classes 0, 3 and 7 with shares of 0.7, 0.2 and 0.1, sorted as a folder would give them."""
    return torch.tensor([0] * (7 * num_samples // 10) + [3] * (2 * num_samples // 10) + [7] * (num_samples // 10))


def test_every_sample_is_in_one_part_and_every_class_has_its_share() -> None:
    labels = unbalanced()
    split = validation_split(labels, fraction=0.2, most=10_000, seed=0)
    assert torch.equal(torch.cat([split.fit, split.validation]).sort().values, torch.arange(1000))
    assert labels[split.validation].bincount()[[0, 3, 7]].tolist() == [140, 40, 20]


def test_a_large_set_gives_no_more_than_asked_for() -> None:
    split = validation_split(unbalanced(10_000), fraction=0.2, most=500, seed=0)
    assert len(split.validation) == 500


def test_small_classes_keep_a_sample_to_fit_and_give_one_to_choose_on() -> None:
    labels = torch.tensor([0] * 20 + [1] * 2 + [2])
    split = validation_split(labels, fraction=0.2, most=100, seed=3)
    assert labels[split.validation].bincount(minlength=3).tolist() == [4, 1, 0]
    assert labels[split.fit].bincount(minlength=3).tolist() == [16, 1, 1]


def test_the_seed_decides_who_and_nothing_else_does() -> None:
    labels = unbalanced()
    state = torch.get_rng_state()
    first, again, other = (validation_split(labels, fraction=0.2, most=1000, seed=s) for s in (0, 0, 1))
    assert torch.equal(first.validation, again.validation)
    assert not torch.equal(first.validation, other.validation)
    assert torch.equal(torch.get_rng_state(), state)


def test_folds_spread_every_class_evenly() -> None:
    labels = unbalanced(100)
    fold = folds(labels, num_folds=5, seed=0)
    for label in (0, 3, 7):
        assert fold[labels == label].bincount(minlength=5).tolist() == [int((labels == label).sum()) // 5] * 5


def test_one_sample_per_class_does_not_put_all_of_them_into_one_fold() -> None:
    assert folds(torch.arange(10), num_folds=2, seed=0).bincount().tolist() == [5, 5]


def test_draws_are_stratified_different_and_repeatable() -> None:
    labels = unbalanced()
    draws = few_label_draws(labels, per_class=10, draws=5, seed=0)
    for draw in draws:
        assert labels[draw].bincount()[[0, 3, 7]].tolist() == [10, 10, 10]
        assert len(set(draw.tolist())) == 30
    assert len({tuple(draw.tolist()) for draw in draws}) == 5
    again = few_label_draws(labels, per_class=10, draws=2, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(draws, again, strict=False))
    assert not torch.equal(draws[0], few_label_draws(labels, per_class=10, draws=1, seed=1)[0])


def test_every_sample_of_a_class_is_drawn_equally_often() -> None:
    labels = torch.tensor([0, 1] * 10)
    drawn = torch.cat(few_label_draws(labels, per_class=3, draws=2000, seed=0)).bincount()
    assert drawn.sub(600).abs().max() < 5 * (2000 * 0.3 * 0.7) ** 0.5


def test_a_rare_class_gives_all_it_has() -> None:
    labels = torch.tensor([0] * 30 + [1] * 4)
    assert labels[few_label_draws(labels, per_class=10, draws=1, seed=0)[0]].bincount().tolist() == [10, 4]


def test_wrong_arguments_are_named() -> None:
    labels = unbalanced(100)
    with pytest.raises(ValueError, match=r"fraction: got 1\.0"):
        validation_split(labels, fraction=1.0, most=10, seed=0)
    with pytest.raises(ValueError, match="no two of the same class"):
        validation_split(torch.arange(5), fraction=0.2, most=10, seed=0)
    with pytest.raises(ValueError, match="num_folds: got 1"):
        folds(labels, num_folds=1, seed=0)
    with pytest.raises(ValueError, match="per_class: got 1"):
        few_label_draws(labels, per_class=1, draws=5, seed=0)
    with pytest.raises(ValueError, match="draws: got 0"):
        few_label_draws(labels, per_class=10, draws=0, seed=0)
