"""The learning rate over a run."""

import math

import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from barlow.training.optimizers import build_optimizer
from barlow.training.plan import set_learning_rate, warmup_cosine


def published(step: int, total: int, warmup: int, final: float) -> float:
    """The Barlow Twins repository's factor after the warm-up, written as there: a blend of 1 and `final`."""
    blend = 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
    return blend + final * (1 - blend)


def test_the_warm_up_rises_linearly_per_step_and_never_stands_still() -> None:
    factors = [warmup_cosine(step, total_steps=100, warmup_steps=4, final=0.0) for step in range(4)]
    assert factors == [0.25, 0.5, 0.75, 1.0]


def test_the_warm_up_rises_from_where_it_is_told() -> None:
    factors = [warmup_cosine(step, total_steps=100, warmup_steps=4, final=0.0, start=0.2) for step in range(5)]
    assert factors == pytest.approx([0.4, 0.6, 0.8, 1.0, 1.0])
    with pytest.raises(ValueError, match=r"start: got 1\.5, wanted a fraction of the peak"):
        warmup_cosine(0, total_steps=100, warmup_steps=4, final=0.0, start=1.5)


@given(st.integers(1, 500), st.integers(0, 499), st.integers(0, 500), st.floats(0, 1))
def test_after_the_warm_up_it_is_the_published_cosine(total: int, warmup: int, step: int, final: float) -> None:
    warmup, step = min(warmup, total - 1), min(step, total)
    factor = warmup_cosine(step, total_steps=total, warmup_steps=warmup, final=final)
    if step >= warmup:
        assert factor == pytest.approx(published(step, total, warmup, final), abs=1e-12)
    assert 0 <= factor <= 1


def test_it_starts_at_the_peak_without_warm_up_and_ends_at_the_final_fraction() -> None:
    assert warmup_cosine(0, total_steps=10, warmup_steps=0, final=0.001) == 1.0
    assert warmup_cosine(10, total_steps=10, warmup_steps=0, final=0.001) == pytest.approx(0.001, rel=1e-12)
    assert warmup_cosine(5, total_steps=10, warmup_steps=0, final=0.0) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("step", "total", "warmup", "final", "message"),
    [
        (0, 0, 0, 0.0, "total_steps: got 0"),
        (0, 10, 10, 0.0, r"warmup_steps: got 10, wanted 0 to 9"),
        (11, 10, 1, 0.0, "step: got 11, wanted 0 to 10"),
        (-1, 10, 1, 0.0, "step: got -1"),
        (0, 10, 1, 1.5, r"final: got 1\.5"),
    ],
)
def test_numbers_out_of_range_are_named(step: int, total: int, warmup: int, final: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        warmup_cosine(step, total_steps=total, warmup_steps=warmup, final=final)


def test_every_group_follows_its_own_peak_however_often_it_is_set() -> None:
    network = nn.Linear(2, 2)
    optimizer = build_optimizer(
        network, name="sgd", learning_rate=0.2, bias_learning_rate=0.0048, momentum=0.9, weight_decay=0.0
    )
    for factor in (0.5, 0.1, 0.5):
        set_learning_rate(optimizer, factor)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.0024]


def test_an_optimizer_without_peaks_is_refused() -> None:
    with pytest.raises(ValueError, match="group 0 has no 'peak' learning rate"):
        set_learning_rate(torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1), 0.5)
