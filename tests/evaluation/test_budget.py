"""Time decides how many samples are looked at, once: the choice is written down, the same for all, and kept to."""

import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from barlow.data.arrays import ArraySource
from barlow.evaluation import budget
from barlow.evaluation.budget import LARGE, Cost, Sizes, decide, round_down, seconds_for
from barlow.evaluation.features import Features, KeptFeatures, extract
from barlow.evaluation.scores import LabelledParts, Score, measure
from barlow.evaluation.splits import spread_over_classes
from tests.evaluation.gaussians import gaussian_classes


class Flat(torch.nn.Module):
    """The samples themselves, and how many went through."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return x


def parts(num_train: int = 4000, num_test: int = 3000) -> LabelledParts:
    (train_h, train_y), (test_h, test_y) = (
        gaussian_classes(n, 4, 3, distance=3.0, seed=n) for n in (num_train, num_test)
    )
    return LabelledParts(ArraySource(train_h, labels=train_y), ArraySource(test_h, labels=test_y))


def measured(network: torch.nn.Module | None = None, *, of: LabelledParts | None = None, **given: object) -> Score:
    bars: dict[str, Callable[[Tensor], Tensor]] = {"raw": lambda x: x}
    both = of or parts()
    return measure(network or Flat(), None, both, plain=lambda x: x, bars=bars, **given)  # type: ignore[arg-type]


def taken(labels: Tensor, seconds: float = 0.0) -> Callable[[str, list[int]], Features]:
    """Features of a source of which every sample takes so long."""

    def take(part: str, positions: list[int]) -> Features:
        time.sleep(seconds * len(positions))
        where = torch.tensor(positions)
        h = torch.randn(len(where), 3, generator=torch.Generator().manual_seed(0))
        return Features(h, labels[where], where)

    return take


def test_numbers_come_from_a_ladder() -> None:
    assert [round_down(n) for n in (1, 1.4, 9, 10, 14, 15, 19, 49_999, 50_000, 123_456, 0.2)] == [
        1, 1, 9, 10, 14, 14, 18, 45_000, 50_000, 120_000, 1,
    ]  # fmt: skip


def test_a_part_of_every_class_is_chosen_and_a_smaller_one_lies_in_a_larger_one() -> None:
    labels = torch.tensor([0] * 600 + [1] * 300 + [2] * 100)
    small, large = (spread_over_classes(labels, most=n, seed=0) for n in (100, 500))
    assert labels[small].bincount().tolist() == [60, 30, 10]
    assert set(small.tolist()) < set(large.tolist())
    assert torch.equal(small, small.sort().values)
    assert spread_over_classes(labels, most=5000, seed=0).tolist() == list(range(1000))


def test_the_cost_of_other_numbers_follows_the_sums_that_they_take() -> None:
    cost = Cost(train=1000, test=1000, width=500, extraction=0.01, knn=1.2, linear=2.0, few_labels=0.5)
    assert cost.predicted(1000, 1000) == pytest.approx(20 + 1.2 + 2 + 0.5)
    # 10,000 times (1,000 + 2,000) similarities, where it was 1,000 times (1,000 + 200).
    assert cost.predicted(10_000, 1000) == pytest.approx(110 + 30 + 20 + 0.5)
    wide = Cost(train=1000, test=1000, width=4000, extraction=0.0, knn=0.0, linear=2.0, few_labels=0.0)
    assert wide.predicted(10_000, 1000) == pytest.approx(2 * 10 * 4)  # in as many dimensions as there are samples


def test_what_takes_little_is_looked_at_whole_and_without_a_pilot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "seconds_of_probes", lambda *given: pytest.fail("a pilot"))
    train, test = torch.arange(1200) % 3, torch.arange(500) % 3
    sizes = decide({"a": taken(train)}, train, test, seconds=30.0)
    assert sizes.whole
    assert sizes.note == ""


def test_the_largest_number_that_fits_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "seconds_of_probes", lambda *given: [0.0, 10.0, 0.0])
    train, test = torch.arange(50_000) % 3, torch.arange(10_000) % 3
    sizes = decide({"a": taken(train), "b": taken(train)}, train, test, seconds=1000.0)
    # 20 s on 1,000 samples: 0.7 times 1,000 s are enough for almost 35,000.
    assert (sizes.train, sizes.test, sizes.of_train, sizes.of_test) == (30_000, 10_000, 50_000, 10_000)
    assert sizes.predicted_seconds == pytest.approx(1000, rel=0.2)
    assert "30,000 of 50,000 training samples and 10,000 of 10,000 test samples" in sizes.note
    assert Sizes(**sizes.as_record()) == sizes


def test_of_a_slow_network_no_more_is_seen_than_fits_but_never_less_than_tells_something() -> None:
    train, test = torch.arange(5000) % 3, torch.arange(5000) % 3
    slow = decide({"a": taken(train, 1e-4)}, train, test, seconds=0.2)
    assert (slow.train, slow.test) == (budget.FEWEST, budget.FEWEST)


def test_without_a_time_everything_counts_and_nothing_is_said_of_a_part() -> None:
    network = Flat()
    found = measured(network).evaluation
    assert (found["train_samples"], found["test_samples"], network.seen) == (4000, 3000, 7000)
    assert "sampling" not in found


def test_a_decision_is_told_before_it_is_carried_out_and_an_earlier_one_is_kept_to() -> None:
    both, told = parts(), list[Sizes]()
    sizes = Sizes(700, 500, 4000, 3000, 10.0, 99.0)
    found = measured(of=both, seconds=1e-3, sizes=sizes, decided=told.append).evaluation
    assert told == [sizes]
    assert (found["train_samples"], found["test_samples"]) == (700, 500)
    assert found["sampling"] == {**sizes.as_record(), "note": sizes.note}
    assert {row["linear_error"] for row in found["rows"]} == {
        (row["linear"] * (1 - row["linear"]) / 500) ** 0.5 for row in found["rows"]
    }
    assert measured(of=both, sizes=sizes).evaluation == found  # the same samples again
    other = measured(of=parts(600, 300), sizes=sizes).evaluation  # of other data it says nothing
    assert (other["train_samples"], other["test_samples"]) == (600, 300)


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^seconds: got -1\.0, wanted a positive number"):
        measured(seconds=-1.0)


def test_features_that_are_kept_are_those_computed_and_are_computed_once() -> None:
    source, network, kept = parts().train, Flat().eval(), KeptFeatures()
    first = kept.extract(network, source, plain=lambda x: x, order=range(0, 100, 2))
    whole = kept.extract(network, source, plain=lambda x: x, order=range(100))
    assert network.seen == 100
    wanted = extract(Flat().eval(), source, plain=lambda x: x, order=range(100))
    assert torch.equal(whole.h, wanted.h)
    assert torch.equal(whole.indices, wanted.indices)
    assert whole.labels is not None
    assert wanted.labels is not None
    assert torch.equal(whole.labels, wanted.labels)
    assert torch.equal(first.h, wanted.h[::2])


def test_an_evaluation_of_very_many_samples_keeps_to_a_time_where_none_was_given() -> None:
    assert seconds_for(None, LARGE) is None
    assert seconds_for(None, LARGE + 1) == 1800.0
    assert seconds_for(5.0, LARGE + 1) == 5.0
