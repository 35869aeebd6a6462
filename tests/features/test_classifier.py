"""Calibrated where it can be checked: on data whose class probabilities are known."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from barlow.evaluation.knn import fit_whitening
from barlow.evaluation.linear import cross_validate
from barlow.features import classifier as module
from barlow.features.classifier import (
    Classifier,
    fit_classifier,
    judge,
    linear_of_layer,
    load_classifier,
    save_classifier,
)

NAMES = ("cat", "dog", "cow")


def drawn(number: int, seed: int, spread: float = 1.0) -> tuple[Tensor, Tensor]:
    """Three Gaussians in ten dimensions."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(number) % 3
    return 2.0 * torch.eye(10)[:3][y] + spread * torch.randn(number, 10, generator=generator), y


def fitted(number: int) -> Classifier:
    h, y = drawn(number, 0)
    return fit_classifier(h, y, NAMES, fit_whitening(h), judge(h, y, 3)[1])


@pytest.mark.parametrize("number", [60, 1500])
def test_probabilities_hold_on_samples_that_were_not_seen(number: int) -> None:
    """Of those given 60 to 80%, about 70% are right."""
    h, y = drawn(3000, 1)
    sure, told = fitted(number).probabilities(h).max(dim=1)
    right = (told == y).double()
    assert float(right.mean()) > 0.78
    middle = (sure > 0.6) & (sure < 0.8)
    assert float(right[middle].mean()) == pytest.approx(float(sure[middle].mean()), abs=0.1)
    assert float(right.mean()) == pytest.approx(float(sure.mean()), abs=0.06)


def test_the_score_is_that_of_samples_that_no_fit_has_seen() -> None:
    """On pure noise, which a fit of 40 features to 60 labels learns by heart, it is chance."""
    h, y = torch.randn(60, 40, generator=torch.Generator().manual_seed(3)), torch.arange(60) % 3
    found = judge(h, y, 3)[0]
    assert found.accuracy < 0.55
    assert found.confidence < 0.6
    assert found.num_samples == 60
    assert found.error == pytest.approx((found.accuracy * (1 - found.accuracy) / 60) ** 0.5)


def test_a_class_with_one_label_does_not_take_the_confidence_of_the_others_away() -> None:
    """Held out it is wrong whatever the temperature, so it has no say in it."""
    h, y = drawn(61, 0, spread=0.3)
    y[60] = 3
    found = judge(h, y, 4)[0]
    assert found.accuracy > 0.9
    assert found.confidence > 0.85
    assert found.recalls[3] == 0.0


def test_recalls_are_class_by_class() -> None:
    h, y = drawn(300, 0, spread=0.01)
    found = judge(h, y, 4)[0]
    assert found.recalls[:3] == (1.0, 1.0, 1.0)
    assert found.as_record()["recalls"][3] is None


def test_what_is_like_none_of_the_classes_is_unknown_and_what_is_like_them_is_not() -> None:
    h, y = drawn(300, 0, spread=0.1)
    classifier = fit_classifier(h, y, NAMES, fit_whitening(torch.cat([h, torch.randn(300, 10)])), 1.0)
    strange = 2 * torch.eye(10)[7:8] + 0.1 * torch.randn(200, 10, generator=torch.Generator().manual_seed(5))
    assert float(classifier.is_unknown(strange).float().mean()) > 0.95
    assert float(classifier.is_unknown(drawn(600, 6, spread=0.1)[0]).float().mean()) < 0.05


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    classifier, (h, _) = fitted(60), drawn(30, 2)
    save_classifier(tmp_path / "model", classifier, {"scores": {"trained": 0.5}})
    loaded, about = load_classifier(tmp_path / "model")
    assert torch.equal(loaded.probabilities(h), classifier.probabilities(h))
    assert torch.equal(loaded.is_unknown(h), classifier.is_unknown(h))
    assert tuple(loaded.class_names) == NAMES
    assert about["scores"] == {"trained": 0.5}


def test_a_folder_without_a_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model: .* is no folder of a classifier"):
        load_classifier(tmp_path)


def test_groups_are_held_out_whole_and_tell_the_penalty_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples of a speaker are nearly alike: a score, and a penalty, that see some of each are of nothing new."""
    generator = torch.Generator().manual_seed(0)
    groups = torch.arange(120) // 6  # 20 speakers of six samples, each of one class, far apart
    y = groups % 3
    h = torch.randn(20, 30, generator=generator)[groups] + 0.1 * torch.randn(120, 30, generator=generator)
    assert judge(h, y, 3)[0].accuracy == 1.0
    assert judge(h, y, 3, groups)[0].accuracy < 0.6
    seen: list[Tensor | None] = []

    def spy(rows: Tensor, labels: Tensor, *, groups: Tensor | None = None) -> float:
        seen.append(groups)
        return cross_validate(rows, labels, groups=groups)

    monkeypatch.setattr(module, "cross_validate", spy)
    judge(h, y, 3, groups)
    assert seen
    assert all(one is not None and len(one.unique()) < 20 for one in seen)  # of the speakers that are not held out


def test_one_layer_has_all_of_a_classifier() -> None:
    classifier, (h, _) = fitted(60), drawn(30, 2)
    head = classifier.head()
    assert tuple(head.class_names) == NAMES
    ours = (h @ head.weight.T + head.bias).softmax(dim=1)
    torch.testing.assert_close(ours.double(), classifier.probabilities(h), rtol=1e-4, atol=1e-5)


def test_a_layer_that_lacks_a_class_never_tells_it() -> None:
    linear = linear_of_layer(torch.nn.Linear(10, 2), 3)
    logits = linear(torch.randn(50, 10))
    assert logits.shape == (50, 3)
    assert int(logits.argmax(dim=1).max()) < 2
