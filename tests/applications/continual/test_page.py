"""What the page says was kept, by the BatchNorm statistics that suit the way of keeping."""

from typing import Any

import pytest

from barlow.applications.continual.page import sentences
from barlow.applications.continual.results import results_of

STAGES: list[dict[str, Any]] = [
    {"loss": {"a": 10.0, "b": 30.0}, "own_statistics": {"a": 10.0}},
    {"loss": {"a": 12.0, "b": 20.0}, "own_statistics": {"a": 15.0, "b": 20.0}},
]
"""After the second stage the loss on a is 1.2 times what it was as the network is, 1.5 times with its statistics."""


@pytest.mark.parametrize(("way", "times"), [("ewc", "1.50"), ("distill", "1.50"), ("replay", "1.20")])
def test_replay_is_judged_as_it_is_for_its_statistics_are_of_old_samples_too(way: str, times: str) -> None:
    results = results_of(["a", "b"], {way: STAGES, "none": STAGES}, {}, {"loss": {"a": 40.0, "b": 40.0}})
    assert results["arms"][way]["kept"] == [1.5, 1.0]
    assert results["arms"][way]["kept_as_it_is"] == [1.2, 1.0]
    said = sentences(results)[0]
    assert f"{times} times what it was after its own stage" in said
    assert "and 1.50 times with nothing kept" in said


def test_a_network_without_batchnorm_is_judged_as_it_is() -> None:
    stages = [{"loss": one["loss"]} for one in STAGES]
    results = results_of(["a", "b"], {"ewc": stages}, {}, {"loss": {"a": 40.0, "b": 40.0}})
    assert "1.20 times what it was" in sentences(results)[0]
