"""Features on a split of the data's own: choices on validation alone, test labels out of every fit."""

import pytest
import torch
from torch import Tensor

from barlow.data.labels import UNKNOWN, Labels, as_labels
from barlow.data.parts import OwnSplit, Parts
from barlow.evaluation.features import Features
from barlow.evaluation.own_parts import SCALINGS, choose_classifier, evaluate_own_parts

N = 240
SPLIT = OwnSplit(torch.arange(0, 60), torch.arange(60, 120), torch.arange(120, N))


def features(seed: int = 0, gap: float = 2.0) -> tuple[Features, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(N) % 3
    h = torch.randn(N, 8, generator=generator) + gap * torch.nn.functional.one_hot(y, 8)
    return Features(h, None, torch.arange(N)), y


def parts(y: Tensor) -> Parts:
    return Parts("own", Labels(y, ("a", "b", "c")), [SPLIT])


def test_good_features_are_told_from_noise_by_every_protocol() -> None:
    good, y = features()
    noise = Features(torch.randn(N, 8, generator=torch.Generator().manual_seed(9)), None, good.indices)
    found = evaluate_own_parts({"good": good, "noise": noise}, parts(y), draws=3)
    rows = {row["features"]: row for row in found["rows"]}
    assert rows["good"]["linear"] > 0.75 > 0.5 > rows["noise"]["linear"]
    assert rows["good"]["knn"] > 0.7
    curve = [point["mean"] for point in rows["good"]["labels_per_class"]]
    assert [point["per_class"] for point in rows["good"]["labels_per_class"]] == [
        1,
        2,
        5,
    ]  # all have 20: the whole part
    assert curve[0] < curve[-1]
    assert rows["good"]["few_labels"]["per_class"] == 5
    assert (found["train_samples"], found["validation_samples"], found["test_samples"]) == (60, 60, 120)


def test_test_labels_decide_the_accuracy_alone() -> None:
    h, y = features()
    seen: list[Tensor] = []

    def predict(labels: Tensor, train: Tensor, validation: Tensor, seed: int) -> Tensor:
        seen.append(labels)
        return torch.zeros(N, dtype=torch.int64)

    turned = y.clone()
    turned[SPLIT.test] = (y[SPLIT.test] + 1) % 3
    one, other = (
        evaluate_own_parts({"h": h}, parts(labels), predictors={"p": predict}, draws=2) for labels in (y, turned)
    )
    assert one["rows"][0]["chosen"] == other["rows"][0]["chosen"]
    assert abs(one["rows"][0]["linear"] + other["rows"][0]["linear"]) <= 1  # what was right is wrong now
    assert one["rows"][0]["linear"] > 0.6 > 0.4 > other["rows"][0]["linear"]
    assert all((labels[SPLIT.test] == UNKNOWN).all() for labels in seen)
    assert one["rows"][1]["features"] == "p"
    assert "knn" not in one["rows"][1]


def test_scaling_and_penalty_are_chosen_together_on_the_validation_part() -> None:
    """Rows of very different lengths: their direction says the class, which only rows of length 1 show."""
    generator = torch.Generator().manual_seed(0)
    h, y = features()
    stretched = h.h * torch.exp(2.5 * torch.randn(N, 1, generator=generator))
    scaled = {name: scale(stretched) for name, scale in SCALINGS.items()}
    choice = choose_classifier(scaled, y, SPLIT.train, SPLIT.validation)
    assert choice.scaling == "rows"
    per_feature = h.h * torch.tensor([1.0, 1, 1, 300, 300, 300, 300, 300])  # noise drowns the classes in a row's length
    scaled = {name: scale(per_feature) for name, scale in SCALINGS.items()}
    assert choose_classifier(scaled, y, SPLIT.train, SPLIT.validation).scaling == "standardised"


def test_several_splits_give_their_mean_and_spread_and_bad_samples_fall_out() -> None:
    h, y = features()
    other = OwnSplit(SPLIT.validation, SPLIT.train, SPLIT.test)
    both = Parts("two splits", as_labels(y, N), [SPLIT, other])
    kept = torch.arange(N)[torch.arange(N) != 5]
    some = Features(h.h[kept], None, kept)
    found = evaluate_own_parts({"h": some}, both, draws=2)["rows"][0]
    single = [
        evaluate_own_parts({"h": some}, Parts("x", as_labels(y, N), [s]), draws=2)["rows"][0] for s in both.splits
    ]
    assert found["linear"] == sum(row["linear"] for row in single) / 2
    assert found["linear_error"] == pytest.approx(abs(single[0]["linear"] - single[1]["linear"]) / 2**0.5)
