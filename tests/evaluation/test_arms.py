"""Arms: every kind of features is tuned alike, on training data, and test data choose nothing."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from barlow.evaluation import arms
from barlow.evaluation.arms import ResultCache, binomial_error, digest, evaluate_arms
from barlow.evaluation.features import Features
from barlow.evaluation.linear import LinearProbe, few_label_accuracy, fit_linear_probe
from tests.evaluation.gaussians import as_features, bayes_accuracy_of_two_classes, gaussian_classes

TRAIN_H, TRAIN_Y = gaussian_classes(400, 8, 3, distance=2.5)
TEST_H, TEST_Y = gaussian_classes(300, 8, 3, distance=2.5, seed=1)


def arm(train_h: Tensor = TRAIN_H, test_h: Tensor = TEST_H, test_y: Tensor = TEST_Y) -> tuple[Features, Features]:
    return as_features(train_h, TRAIN_Y), as_features(test_h, test_y)


def chosen(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    return [row["chosen"] for row in evaluation["rows"]]


def test_the_result_is_what_the_summary_promises_and_is_json() -> None:
    found = evaluate_arms({"trained": arm(), "raw pixels": arm()}, class_names=["a", "b", "c"])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["classes"], found["train_samples"], found["test_samples"]) == (["a", "b", "c"], 400, 300)
    row = found["rows"][0]
    assert list(row) == [
        "features", "num_features", "knn", "knn_error", "linear", "linear_error", "few_labels", "chosen",
    ]  # fmt: skip
    assert [row["features"] for row in found["rows"]] == ["trained", "raw pixels"]
    assert row["num_features"] == 8
    assert (row["few_labels"]["per_class"], row["few_labels"]["draws"]) == (10, 5)
    assert row["linear_error"] == binomial_error(row["linear"], 300)
    assert row["chosen"]["linear"]["converged"] is True
    assert evaluate_arms({"one": arm()})["classes"] == ["0", "1", "2"]


def test_equal_features_get_equal_rows_and_the_same_call_the_same_result() -> None:
    found = evaluate_arms({"one": arm(), "other": arm()})
    first, second = ({k: v for k, v in row.items() if k != "features"} for row in found["rows"])
    assert first == second
    assert evaluate_arms({"one": arm(), "other": arm()}) == found


def test_accuracies_are_near_the_best_possible() -> None:
    train_h, train_y = gaussian_classes(2000, 4, 2, distance=3.0)
    test_h, test_y = gaussian_classes(2000, 4, 2, distance=3.0, seed=1)
    both = (as_features(train_h - 1.06, train_y), as_features(test_h - 1.06, test_y))  # the midpoint is the origin
    row = evaluate_arms({"one": both})["rows"][0]
    wanted = bayes_accuracy_of_two_classes(3.0)
    assert row["linear"] == pytest.approx(wanted, abs=0.02)
    assert row["few_labels"]["mean"] == pytest.approx(wanted, abs=0.05)
    assert wanted - 0.1 < row["knn"] < wanted + 0.02


def test_test_labels_choose_nothing() -> None:
    shuffled = TEST_Y[torch.randperm(len(TEST_Y), generator=torch.Generator().manual_seed(3))]
    honest, leaked = evaluate_arms({"one": arm()}), evaluate_arms({"one": arm(test_y=shuffled)})
    assert chosen(honest) == chosen(leaked)
    assert honest["rows"][0]["linear"] > leaked["rows"][0]["linear"] + 0.2


def test_test_features_choose_nothing() -> None:
    other = 100.0 * TEST_H.flip(0) - 7.0
    assert chosen(evaluate_arms({"one": arm()})) == chosen(evaluate_arms({"one": arm(test_h=other)}))


def test_one_arm_has_no_part_in_what_another_one_chooses() -> None:
    noise = torch.randn(400, 8, generator=torch.Generator().manual_seed(5))
    alone = evaluate_arms({"one": arm()})
    beside = evaluate_arms({"noise": arm(train_h=noise), "one": arm()})
    assert alone["rows"][0] == beside["rows"][1]
    assert beside["rows"][0]["chosen"] != beside["rows"][1]["chosen"]


def test_every_arm_gets_the_same_split_and_the_same_few_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    splits: list[Any] = []
    draws: list[Any] = []

    def probe(train_h: Tensor, train_y: Tensor, split: Any) -> Any:
        splits.append(split)
        return fit_linear_probe(train_h, train_y, split)

    def few(train_h: Tensor, train_y: Tensor, test_h: Tensor, test_y: Tensor, drawn: Any, **more: Any) -> Any:
        draws.append(drawn)
        return few_label_accuracy(train_h, train_y, test_h, test_y, drawn, **more)

    monkeypatch.setattr(arms, "_CACHE", ResultCache())  # other tests score the same features
    monkeypatch.setattr(arms, "fit_linear_probe", probe)
    monkeypatch.setattr(arms, "few_label_accuracy", few)
    evaluate_arms({"one": arm(), "noise": arm(train_h=torch.rand(400, 8), test_h=torch.rand(300, 8))})
    assert torch.equal(splits[0].validation, splits[1].validation)
    assert len(splits[0].validation) == pytest.approx(80, abs=2)
    assert all(torch.equal(a, b) for a, b in zip(*draws, strict=True))
    for drawn in draws[0]:
        assert TRAIN_Y[drawn].bincount().tolist() == [10, 10, 10]


def test_the_seed_moves_the_split_and_the_draws() -> None:
    first, second = (evaluate_arms({"one": arm()}, seed=seed)["rows"][0] for seed in (0, 1))
    assert first["few_labels"] != second["few_labels"]
    assert first["chosen"]["linear"]["validation_accuracy"] != second["chosen"]["linear"]["validation_accuracy"]


def test_progress_names_the_arm_at_work() -> None:
    told: list[tuple[int, str]] = []
    evaluate_arms({"one": arm(), "two": arm()}, draws=1, progress=lambda *state: told.append(state))
    assert told == [(0, "one"), (1, "two"), (2, "done")]


def test_the_binomial_error_is_the_textbook_one() -> None:
    assert binomial_error(0.9, 100) == pytest.approx(0.03)
    assert binomial_error(1.0, 100) == 0.0


def test_wrong_arguments_are_named() -> None:
    good = arm()
    with pytest.raises(ValueError, match="arms: got none"):
        evaluate_arms({})
    with pytest.raises(ValueError, match="arms: the test features of 'bare' lack labels"):
        evaluate_arms({"good": good, "bare": (good[0], as_features(TEST_H, None))})
    with pytest.raises(ValueError, match="arms: the training features of 'partly' lack labels"):
        evaluate_arms({"partly": (as_features(TRAIN_H, TRAIN_Y - 1), good[1])})
    with pytest.raises(ValueError, match="arms: the training samples of 'other' are not those of 'good'"):
        evaluate_arms({"good": good, "other": (Features(TRAIN_H, TRAIN_Y, torch.arange(400) + 1), good[1])})
    with pytest.raises(ValueError, match="arms: the test samples of 'other' are not those of 'good'"):
        evaluate_arms({"good": good, "other": (good[0], as_features(TEST_H[:9], TEST_Y[:9]))})


# --- Equal features are scored once: what makes them equal, and that nothing else does.


HERE = torch.arange(6.0).view(2, 3)


@pytest.mark.parametrize(
    ("tensors", "settings"),
    [
        ((HERE + 1e-6,), (1, 2)),
        ((HERE.view(3, 2),), (1, 2)),
        ((HERE.double(),), (1, 2)),
        ((HERE, HERE), (1, 2)),
        ((HERE,), (1, 3)),
    ],
)
def test_other_values_shapes_formats_or_settings_are_something_else(
    tensors: tuple[Tensor, ...], settings: tuple[int, ...]
) -> None:
    assert digest(HERE, settings=(1, 2)) == digest(HERE.clone(), settings=(1, 2))
    assert digest(HERE.T.contiguous().T, settings=(1, 2)) == digest(HERE, settings=(1, 2))
    assert digest(*tensors, settings=settings) != digest(HERE, settings=(1, 2))


def test_equal_things_are_computed_once() -> None:
    calls: list[int] = []
    scored = ResultCache()

    def compute() -> int:
        calls.append(1)
        return len(calls)

    assert [scored.get(compute, HERE, settings=()) for _ in range(3)] == [1, 1, 1]
    assert scored.get(compute, HERE + 1, settings=()) == 2


def test_arms_with_equal_features_have_equal_rows_but_for_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 3
    h = torch.randn(60, 4, generator=generator) + y[:, None]
    train, test = Features(h[:45], y[:45], torch.arange(45)), Features(h[45:], y[45:], torch.arange(15))
    fitted: list[int] = []

    def probe(*given: Any) -> LinearProbe:
        fitted.append(1)
        return fit_linear_probe(*given)

    monkeypatch.setattr(arms, "fit_linear_probe", probe)
    first = evaluate_arms({"a": (train, test)}, num_labels_per_class=2)["rows"][0]
    again = evaluate_arms({"b": (train, test)}, num_labels_per_class=2)["rows"][0]
    assert len(fitted) == 1
    assert first | {"features": "b"} == again
    other = Features(h[:45] * torch.tensor([1.0, 2.0, 3.0, 40.0]), y[:45], torch.arange(45))
    evaluate_arms({"c": (other, test)}, num_labels_per_class=2)
    assert len(fitted) == 2
