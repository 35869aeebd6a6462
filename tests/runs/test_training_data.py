"""What the page says of the training data: nothing where features cannot tell samples apart."""

from typing import Any

import pytest
import torch
from torch import Tensor

from barlow.data.arrays import ArraySource
from barlow.evaluation.features import Features
from barlow.runs.training_data import look_through
from barlow.seams import Params, Views

N = 40


class Still:
    """A view that changes nothing."""

    def sample(self, batch: Any, generator: torch.Generator) -> Params:
        return {}

    def apply(self, batch: Any, params: Params) -> Any:
        return batch


def looked_through(h: Tensor) -> dict[str, object]:
    source = ArraySource(torch.randn(N, 3), name="made")
    seen = Features(h, None, torch.arange(N), None)
    return dict(look_through(torch.nn.Identity(), source, seen, Views((Still(),), plain=lambda samples: samples), None))


def test_duplicates_outliers_and_groups_are_told() -> None:
    found = looked_through(torch.randn(N, 8, generator=torch.Generator().manual_seed(0)))
    assert {name.split("_")[0] for name in found} == {"duplicates", "outliers", "groups"}


@pytest.mark.parametrize("value", [0.0, 1.0, float("nan"), float("inf")])
def test_nothing_is_told_by_features_that_are_all_the_same_or_no_numbers(value: float) -> None:
    assert looked_through(torch.full((N, 8), value)) == {}
