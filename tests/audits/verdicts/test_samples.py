"""What samples and views are is said where it is so, and not where it is not: each from features, both ways."""

from typing import Any

import pytest
import torch
from torch import Tensor

import barlow
import barlow.figures
from barlow.figures import Verdict
from tests.audits.gaussian import gaussian_views

RHO = [0.9, 0.7, 0.5, 0.3]


def features(n: int = 300, **given: Any) -> Tensor:
    return gaussian_views(RHO, n=n, k=3, **given)


def said(h: Tensor, name: str) -> Verdict | None:
    return next((verdict for verdict in barlow.audit(h).verdicts if verdict.name == name), None)


def shifted(by: float) -> Tensor:
    h = features()
    h[:, 1] += by
    return h


def scaled(by: float) -> Tensor:
    h = features()
    h[:, 1] *= by
    return h


INDEX = torch.arange(3.0).view(1, 3, 1).expand(300, 3, 4) + 0.01 * features()
CONSTANT = 5.0 + 1e-7 * torch.randn(300, 3, 24, generator=torch.Generator().manual_seed(0))
DOMINANT = gaussian_views([0.99] * 24, n=500, k=4, scale=[30.0] + [1.0] * 23)
HUGE = gaussian_views([0.99] * 24, n=500, k=4, scale=[2000.0] + [1.0] * 23)
APPEARS = [
    # name, features that have it, level, part of the sentence, features that have not
    ("identical_views", features()[:, :1].expand(-1, 3, -1), "warning", "have the same features", features()),
    ("view_index", shifted(1.0), "warning", "the views have different means", shifted(0.0)),
    ("view_index", INDEX, "warning", "mostly the index of the view", features()),
    ("view_scale", scaled(2.0), "warning", "different scales", scaled(1.02)),
    ("duplicates", torch.cat([features(150), features(150)]), "warning", "50% of the samples are copies", features()),
    ("collapse", CONSTANT, "warning", "the same for every sample", DOMINANT),
    ("collapse", CONSTANT, "warning", "the same for every sample", HUGE),
    ("dominant_direction", DOMINANT, "note", "but 24 directions tell samples apart", features()),
    ("dominant_direction", HUGE, "note", "but 24 directions tell samples apart", CONSTANT),
    ("too_few_images", gaussian_views([0.5] * 40, n=100, k=4), "warning", "most of the spectrum is chance", features()),
]


@pytest.mark.parametrize(("name", "has", "level", "part", "has_not"), APPEARS)
def test_what_is_so_is_said_and_what_is_not_is_not(
    name: str, has: Tensor, level: str, part: str, has_not: Tensor
) -> None:
    found = said(has, name)
    assert found is not None
    assert (found.level, part in found.sentence) == (level, True), found.sentence
    assert found.low is None or (found.high is not None and found.low <= found.value <= found.high)
    assert said(has_not, name) is None


def test_nothing_wrong_never_stands_beside_a_spectrum_that_is_chance() -> None:
    chance = barlow.audit(gaussian_views([0.5] * 40, n=100, k=4))
    assert any("mostly chance" in warning for warning in chance.figures["warnings"])
    assert [verdict.name for verdict in chance.verdicts if verdict.name == "nothing_wrong"] == []
    enough = barlow.audit(gaussian_views([0.95] * 8, n=800, k=8))
    assert "nothing_wrong" in [verdict.name for verdict in enough.verdicts]


def test_a_constant_network_is_not_told_to_train_longer() -> None:
    found = barlow.audit(CONSTANT)
    assert [verdict.name for verdict in found.verdicts] == ["collapse"]
    assert found.figures["quantities"].get("augmentation_share", {}).get("value") is None


def test_faint_directions_that_are_no_rounding_stay_in_the_spectrum_and_others_are_told_of() -> None:
    assert len(barlow.audit(HUGE).spectrum["plug_in"]) == 24
    dead = DOMINANT.clone()
    dead[:, :, 5] *= 1e-5
    left_out = barlow.audit(dead)
    assert len(left_out.spectrum["plug_in"]) == 23
    assert any("1 of 24 directions vary by no more than rounding" in one for one in left_out.figures["warnings"])


def test_every_value_lies_in_its_own_interval() -> None:
    for h in (features(), DOMINANT, gaussian_views([0.0] * 12, n=200, k=2), gaussian_views([1.0, 0.0], n=64, k=2)):
        found = barlow.audit(h)
        for verdict in found.verdicts:
            if verdict.low is not None and verdict.high is not None:
                assert verdict.low <= verdict.value <= verdict.high, verdict.name
        for name, _, one in barlow.figures.Figures.from_json(found.figures).quantities.measured():
            assert one.low is None or (one.high is not None and one.low <= one.value <= one.high), name
