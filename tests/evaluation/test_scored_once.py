"""Equal features are scored once: what makes them equal, and that nothing else does."""

from typing import Any

import pytest
import torch
from torch import Tensor

from barlow.evaluation import arms
from barlow.evaluation.arms import evaluate_arms
from barlow.evaluation.features import Features
from barlow.evaluation.linear import LinearProbe, fit_linear_probe
from barlow.evaluation.scored_once import ScoredOnce, digest

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
    scored = ScoredOnce()

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
