"""Fine-tuning: the schedule and the labels of the papers, every arm tuned alike, test data choose nothing."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from barlow.data.arrays import ArraySource
from barlow.evaluation import finetune as module
from barlow.evaluation.finetune import (
    CANDIDATES,
    FinetuneNumbers,
    finetune,
    finetune_early,
    labelled_positions,
    num_epochs,
)
from barlow.images.views.located import GEOMETRY, GeometryOnly
from barlow.images.views.published import image_views
from barlow.seams import Batch, Source
from tests.evaluation.small_source import SmallSource

QUICK = FinetuneNumbers(epochs=4, batch_size=16, learning_rate=0.05, head_learning_rate=0.1)
FROZEN = replace(QUICK, learning_rate=0.0, head_learning_rate=0.0)
WILD = replace(QUICK, learning_rate=1e20, head_learning_rate=1e20)


def stripes(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pictures striped across (0) or down (1), with a random phase and noise: no pixel alone tells which."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    phase = torch.randint(2, (n, 1), generator=generator)
    line = ((torch.arange(8) + phase) % 2).float()[:, None, None, :].expand(n, 1, 8, 8)
    pictures = torch.where(labels[:, None, None, None] == 0, line, line.transpose(2, 3))
    return pictures + 0.3 * torch.randn(n, 1, 8, 8, generator=generator), labels


def source(n: int = 128, seed: int = 0) -> ArraySource:
    pictures, labels = stripes(n, seed)
    return ArraySource(pictures, labels=labels)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers)


def same(batch: Any) -> Any:
    return batch


TRAIN, TEST = source(), source(64, 1)


def test_it_learns_what_a_linear_layer_on_the_frozen_network_cannot() -> None:
    """Filters of one pixel cannot tell the stripes apart until they are trained."""
    blind = network()
    with torch.no_grad():
        for parameter in blind[0].parameters():
            kept = parameter[..., 1:2, 1:2].clone() if parameter.ndim == 4 else parameter.clone()
            parameter.zero_()
            if parameter.ndim == 4:
                parameter[..., 1:2, 1:2] = kept
    head_only = finetune(blind, TRAIN, TEST, 1.0, plain=same, candidates=[replace(QUICK, learning_rate=0.0)])
    whole = finetune(blind, TRAIN, TEST, 1.0, plain=same, candidates=[QUICK])
    assert whole.accuracy > 0.95
    assert head_only.accuracy < 0.8
    assert whole.error == pytest.approx(math.sqrt(whole.accuracy * (1 - whole.accuracy) / 64))


def test_the_network_that_was_given_stays_what_it_is() -> None:
    given = network().eval()
    before = {name: tensor.clone() for name, tensor in given.state_dict().items()}
    for parameter in given.parameters():
        parameter.requires_grad_(False)
    assert (
        finetune(given, TRAIN, TEST, 1.0, plain=same, candidates=[QUICK]).accuracy > 0.9
    )  # frozen outside, free inside
    assert all(torch.equal(tensor, before[name]) for name, tensor in given.state_dict().items())
    assert not given.training
    assert not any(parameter.requires_grad for parameter in given.parameters())


def test_batchnorm_trains_along_and_is_fixed_for_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[tuple[bool, int]] = []
    norm = nn.BatchNorm2d.forward

    def spy(self: nn.BatchNorm2d, x: Tensor) -> Tensor:
        modes.append((self.training, len(x)))
        return norm(self, x)

    monkeypatch.setattr(nn.BatchNorm2d, "forward", spy)
    finetune(network(), TRAIN, TEST, 1.0, plain=same, candidates=[replace(QUICK, epochs=1)])
    assert modes == [(False, 8), *[(True, 16)] * 8, (False, 64)]


@pytest.mark.parametrize("fraction", [0.1, 0.25, 1.0])
def test_only_the_labels_allowed_are_seen_the_same_number_of_every_class(fraction: float) -> None:
    asked: set[int] = set()

    class Spy(SmallSource):
        def batches(self, order: Sequence[int], batch_size: int) -> Iterator[Batch]:
            asked.update(order if len(order) != 8 else [])  # eight samples without labels tell the width
            return super().batches(order, batch_size)

    pictures, labels = stripes(200, 0)
    found = finetune(network(), Spy(pictures, labels), TEST, fraction, plain=same, candidates=[QUICK, FROZEN])
    assert len(asked) == found.num_labels == round(200 * fraction)
    assert labels[sorted(asked)].bincount().tolist() == [found.num_labels // 2] * 2


def test_labelled_positions_are_seeded_balanced_and_nested() -> None:
    labels = torch.cat([torch.zeros(700), torch.ones(200), torch.full((100,), 2)]).long()
    few, more = (labelled_positions(labels, fraction, seed=3) for fraction in (0.03, 0.12))
    assert labels[few].bincount().tolist() == [10, 10, 10]
    assert labels[more].bincount().tolist() == [40, 40, 40]
    assert set(few.tolist()) < set(more.tolist())
    assert torch.equal(few, labelled_positions(labels, 0.03, seed=3))
    assert not torch.equal(few, labelled_positions(labels, 0.03, seed=4))
    assert labels[labelled_positions(labels, 0.6, seed=3)].bincount().tolist() == [200, 200, 100]
    assert torch.equal(labelled_positions(labels, 1.0, seed=3), torch.arange(1000))


def test_the_rates_follow_a_cosine_by_epochs_or_drop_to_a_fifth_twice() -> None:
    cosine, dropping = FinetuneNumbers(), FinetuneNumbers(drops=(0.6, 0.8))
    assert [cosine.factor(epoch) for epoch in (0, 10, 19)] == pytest.approx(
        [1.0, 0.5, 0.5 * (1 - math.cos(math.pi / 20))]
    )
    assert [dropping.factor(epoch) for epoch in (0, 11, 12, 15, 16, 19)] == pytest.approx([1, 1, 0.2, 0.2, 0.04, 0.04])


def test_one_step_is_that_of_sgd_with_a_rate_for_each_part() -> None:
    """One batch, one epoch: w <- w - rate * gradient in train mode, recomputed here."""
    data = source(16)
    numbers = FinetuneNumbers(epochs=1, batch_size=16, learning_rate=0.3, head_learning_rate=0.7)
    fitted = module._Finetuning(network(), data, same, None, 5, None).fit(torch.arange(16), numbers, "")
    expected = network().eval()
    generator = torch.Generator().manual_seed(5)
    head = nn.Linear(8, 2)
    with torch.no_grad():
        head.weight.normal_(0, 0.01, generator=generator)
        head.bias.zero_()
    whole = nn.Sequential(expected.train(), head)
    assert data.labels is not None
    pictures = next(data.batches(range(16), 16)).samples
    torch.autograd.backward(nn.functional.cross_entropy(whole(pictures), data.labels))
    with torch.no_grad():
        for part, rate in ((expected, 0.3), (head, 0.7)):
            for parameter in part.parameters():
                assert parameter.grad is not None
                parameter.sub_(parameter.grad, alpha=rate)
    for ours, theirs in zip(fitted.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_nesterov_momentum_is_torchs() -> None:
    data = source(16)
    numbers = replace(QUICK, epochs=2)
    plain, nesterov = (
        module._Finetuning(network(), data, same, None, 5, None).fit(torch.arange(16), chosen, "")
        for chosen in (numbers, replace(numbers, nesterov=True))
    )
    assert not torch.equal(next(plain.parameters()), next(nesterov.parameters()))


def test_the_best_on_held_back_labels_is_taken_and_a_diverging_one_is_not() -> None:
    found = finetune(network(), TRAIN, TEST, 1.0, plain=same, candidates=[FROZEN, WILD, QUICK])
    assert found.numbers == QUICK
    assert found.validation[2] == max(found.validation)
    assert len(found.validation) == 3
    assert json.loads(json.dumps(found.as_record()))["numbers"]["learning_rate"] == 0.05
    with pytest.raises(ValueError, match="learning_rate: the network diverged at 1e"):
        finetune(network(), TRAIN, TEST, 1.0, plain=same, candidates=[WILD])


def test_test_data_choose_nothing() -> None:
    assert TEST.labels is not None
    upside_down = ArraySource(stripes(64, 1)[0], labels=1 - TEST.labels)
    honest, leaked = (
        finetune(network(), TRAIN, t, 0.5, plain=same, candidates=[FROZEN, QUICK]) for t in (TEST, upside_down)
    )
    assert (honest.numbers, honest.validation) == (leaked.numbers, leaked.validation)
    assert honest.accuracy == pytest.approx(1 - leaked.accuracy)


def test_the_same_call_gives_the_same_and_the_seed_matters() -> None:
    results = [finetune(network(), TRAIN, TEST, 0.2, plain=same, candidates=[QUICK, FROZEN], seed=s) for s in (0, 0, 1)]
    assert results[0] == results[1]
    assert results[0].validation != results[2].validation or results[0].accuracy != results[2].accuracy


def test_many_labels_are_chosen_on_a_balanced_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CHOSEN_ON", 40)
    labels = TRAIN.labels
    assert labels is not None
    part = module._at_most(torch.arange(128), labels, 0)
    assert labels[part].bincount().tolist() == [20, 20]
    assert torch.equal(module._at_most(part, labels, 0), part)


def test_training_samples_go_through_the_view_and_test_samples_do_not() -> None:
    class Inverting:
        def __init__(self) -> None:
            self.seen = 0

        def sample(self, batch: Any, generator: torch.Generator) -> dict[str, dict[str, Tensor]]:
            return {"sign": {"value": torch.rand(len(batch), generator=generator).sign()}}

        def apply(self, batch: Any, params: Any) -> Any:
            self.seen += len(batch)
            return batch * params["sign"]["value"][:, None, None, None]

    view = Inverting()
    finetune(network(), TRAIN, TEST, 1.0, plain=same, view=view, candidates=[replace(QUICK, epochs=2)])
    assert view.seen == 2 * 128
    finetune(network(), TRAIN, TEST, 1.0, plain=same, view=view, candidates=[replace(QUICK, augmented=False)])
    assert view.seen == 2 * 128


def test_the_supervised_view_is_the_geometry_of_the_run_without_its_colours() -> None:
    pictures = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    byol = image_views("byol", size=8, channels=3).pipelines[0]
    drawn = GeometryOnly(byol).sample(pictures, torch.Generator().manual_seed(0))
    assert set(drawn) == {"crop", "flip"}
    grey = image_views("small-grey-flip", size=16, channels=1).pipelines[0]
    view = GeometryOnly(grey)
    drawn = view.sample(pictures[:, :1], torch.Generator().manual_seed(0))
    assert set(drawn) == {"flip", "affine"} <= set(GEOMETRY)
    assert view.apply(pictures[:, :1], drawn).shape == (6, 1, 16, 16)


def test_progress_is_told_once_an_epoch() -> None:
    told: list[str] = []
    finetune(network(), TRAIN, TEST, 0.5, plain=same, candidates=[QUICK, FROZEN], progress=told.append)
    assert len(told) == num_epochs([QUICK, FROZEN]) == 12
    assert told[0] == "candidate 1 of 2, epoch 1/4"
    assert told[-1] == "50% of the labels, epoch 4/4"
    assert num_epochs([FinetuneNumbers()]) == 20
    assert len({numbers.epochs for numbers in CANDIDATES}) == 1  # as num_epochs wants them


def test_unreadable_samples_are_left_out() -> None:
    pictures, labels = stripes(64, 1)
    found = finetune(
        network(), TRAIN, SmallSource(pictures, labels, unreadable=[0, 5]), 1.0, plain=same, candidates=[QUICK]
    )
    assert found.accuracy * 62 == pytest.approx(round(found.accuracy * 62))


def test_a_last_batch_of_one_sample_is_passed_over() -> None:
    assert (
        finetune(network(), source(33), TEST, 1.0, plain=same, candidates=[replace(QUICK, epochs=1)]).num_labels == 33
    )


@pytest.mark.parametrize(
    ("fraction", "message"),
    [
        (0.0, r"finetune: got 0.0, wanted a fraction of the labels in \(0, 1\]"),
        (1.5, "finetune: got 1.5"),
        (0.01, r"finetune: 0.01 of 128 labels is 0.64 for each of 2 classes, wanted at least 2; try 0.031"),
    ],
)
def test_impossible_fractions_are_named(fraction: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        finetune(network(), TRAIN, TEST, fraction, plain=same)


def test_wrong_arguments_are_named() -> None:
    bare: Source = ArraySource(stripes(8, 0)[0])
    with pytest.raises(ValueError, match="candidates: got none"):
        finetune(network(), TRAIN, TEST, 1.0, plain=same, candidates=[])
    with pytest.raises(ValueError, match=r"train: .* lacks labels"):
        finetune(network(), bare, TEST, 1.0, plain=same)
    with pytest.raises(ValueError, match=r"test: .* lacks labels"):
        finetune(network(), TRAIN, bare, 1.0, plain=same, candidates=[FROZEN])


# --- As long as labels that were held out say.


def test_labels_that_are_not_asked_for_decide_nothing() -> None:
    """Others could be anything: the network, the rate and the number of epochs stay the same."""
    positions = torch.arange(40)
    pictures, labels = stripes(128, 0)
    turned = labels.clone()
    others = torch.ones(128, dtype=torch.bool)
    others[positions] = False
    turned[others] = 1 - turned[others]
    candidates = (QUICK, replace(QUICK, learning_rate=0.2))
    first, second = (
        finetune_early(network(), ArraySource(pictures, labels=y), positions, plain=same, candidates=candidates)
        for y in (labels, turned)
    )
    assert (first.epochs, first.numbers) == (second.epochs, second.numbers)
    for name, tensor in first.classifier.state_dict().items():
        assert torch.equal(tensor, second.classifier.state_dict()[name])


def test_the_epoch_is_the_one_that_does_best_on_the_labels_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores are told: the third epoch of the second candidate is the best, and the last fit ends there."""
    told = iter([0.5, 0.6, 0.6, 0.5, 0.5, 0.6, 0.9, 0.8])
    held: list[int] = []

    def score(classifier: Any, source: Any, positions: Sequence[int], *_: Any) -> Any:
        held.extend(positions)
        return module._HeldOut(100, round(100 * next(told)), 1.0)

    monkeypatch.setattr(module, "_score", score)
    said: list[str] = []
    second = replace(QUICK, learning_rate=0.2)
    found = finetune_early(
        network(), TRAIN, torch.arange(60), plain=same, candidates=(QUICK, second), progress=said.append
    )
    assert (found.epochs, found.numbers) == (3, second)
    assert said[-1] == "all 60 labels, epoch 3/3"
    assert set(held) < set(range(60))
    assert len(set(held)) == 12
    assert not found.classifier.training


def test_many_labels_get_as_many_steps_as_few() -> None:
    assert module._within(QUICK, 16 * 100).epochs == 4
    assert module._within(QUICK, 16 * 150).epochs == 2
    assert module._within(QUICK, 16 * 1000).epochs == 2
