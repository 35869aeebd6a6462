"""Verdicts on features whose B and W are known say what is true, each appearing and going away with the truth."""

from typing import Any

import pytest
import torch

from barlow.auditing import spectra as spectra_file
from barlow.auditing.accounting import limits
from barlow.auditing.spectra import Correlations, Spectra
from barlow.theory.floors import raw_floor
from tests.auditing.gaussian import figures_of, gaussian_views, named

TEN_OF_50 = gaussian_views([0.9] * 10 + [0.0] * 40, n=600, k=8)
FORTY_OF_50 = gaussian_views([0.9] * 40 + [0.0] * 10, n=600, k=8)
FIRST_30 = torch.eye(50)[:30]


def test_what_is_pure_augmentation_does_not_count_as_rank_of_an_unnormalised_loss() -> None:
    figures = figures_of(TEN_OF_50, FIRST_30, normalization="covariance")
    assert figures["quantities"]["rank"]["value"] == 50  # of T
    assert figures["spectrum"]["between_rank"] == {"value": 10, "low": 10, "high": 10}
    truth = raw_floor(30, 10, 0.02)
    assert (figures["loss"]["limit"], figures["loss"]["limit_cross_fit"]) == pytest.approx((truth, truth))
    assert truth == pytest.approx(1.154, abs=1e-3)
    verdict = named(figures, "free_loss")
    assert verdict is not None
    assert verdict.level == "note"
    assert "On those its infimum is 1.15, and 0 only if others, too weak for so many images" in verdict.sentence


def test_outputs_that_fit_into_the_rank_of_b_are_said_to_be_free_and_more_than_the_features_have_are_not() -> None:
    verdict = named(figures_of(FORTY_OF_50, FIRST_30, normalization="covariance"), "free_loss")
    assert verdict is not None
    assert (verdict.level, verdict.value, verdict.low, verdict.high) == ("warning", 40, 40, 40)
    assert named(figures_of(FORTY_OF_50, torch.randn(51, 50), normalization="covariance"), "free_loss") is None


def test_the_mean_is_one_more_direction_of_a_loss_that_is_not_centred() -> None:
    figures = figures_of(TEN_OF_50 + 1.0, FIRST_30, normalization="raw")
    assert figures["loss"]["limit"] == pytest.approx(raw_floor(30, 11, 0.02))


def test_directions_about_the_edge_leave_the_infimum_open() -> None:
    features = gaussian_views([0.9] * 20 + [0.15] * 20, n=400, k=4, seed=3)
    figures = figures_of(features, torch.eye(40)[:28], normalization="covariance")
    rank = figures["spectrum"]["between_rank"]
    assert rank["low"] < 28 <= rank["high"]
    verdict = named(figures, "free_loss")
    assert verdict is not None
    assert (verdict.level, "whether they fit, so that its infimum is 0, is open" in verdict.sentence) == ("note", True)


def of_wide_features(normalization: str = "raw", width: int = 96, **numbers: Any) -> dict[str, Any]:
    features = gaussian_views([0.9] * 48, n=300, k=4, scale=[2.0] * 16 + [1.0] * 32)
    return figures_of(features, torch.eye(48).repeat(2, 1)[:width], normalization=normalization, **numbers)


def test_directions_that_were_not_looked_at_count_as_possible_and_the_page_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert of_wide_features()["warnings"] == []
    monkeypatch.setattr(spectra_file, "MOST_FEATURES", 16)
    figures = of_wide_features("covariance")
    assert figures["quantities"]["rank"]["value"] == 48
    assert figures["spectrum"]["between_rank"] == {"value": 16, "low": 16, "high": 48}
    expected = (raw_floor(96, 48, 0.02), raw_floor(96, 16, 0.02))
    assert (figures["loss"]["limit"], figures["loss"]["limit_cross_fit"]) == pytest.approx(expected)
    (warning,) = figures["warnings"]
    assert "are of the 16 strongest directions of 48; the limit is an upper bound" in warning


def test_a_loss_below_the_limit_of_some_directions_is_not_put_down_to_hidden_layers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spectra_file, "MOST_FEATURES", 16)
    verdict = named(of_wide_features("pearson", width=48), "projector_gap")
    assert verdict is not None
    assert "a linear projector may get there too, by directions beyond the 16 of 48" in verdict.sentence


def test_images_are_asked_for_by_the_directions_that_were_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectra_file, "MOST_FEATURES", 16)
    few = figures_of(gaussian_views([0.5] * 48, n=40, k=2))
    assert "40 images for 16 directions: the spectrum is mostly chance; take 240 or more" in few["warnings"]
    verdict = named(few, "wide_bracket")
    assert verdict is not None
    assert "Audit at least 240 images" in verdict.advice
    assert not any("chance" in warning for warning in figures_of(gaussian_views([0.5] * 48, n=50, k=2))["warnings"])


def test_a_resnet_50_has_the_raw_floor_of_all_its_features() -> None:
    proven = Correlations(torch.full((512,), 0.9).double(), [torch.full((512,), 0.9).double()] * 4)
    known = Spectra(proven, proven, 0.1, 512, torch.ones(512), torch.zeros(512, 2048), 2048)
    best, worst = limits(known, width=8192, redundancy_weight=0.0051, normalization="covariance")
    assert best is not None
    assert worst is not None
    assert (round(float(best.value), 1), round(float(worst.value), 1)) == (123.4, 582.2)
