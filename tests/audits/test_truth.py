"""Verdicts on features whose B and W are known say what is true, each appearing and going away with the truth."""

from statistics import fmean
from typing import Any

import pytest
import torch
from torch import Tensor

from barlow.audits import spectra as spectra_file
from barlow.audits.audit import audit
from barlow.audits.loss import limits
from barlow.audits.observation import observation_of_features
from barlow.audits.spectra import Correlations, Spectra, spectra
from barlow.audits.verdicts.limits import limit_range
from barlow.figures import Figures, Verdict
from barlow.methods.barlow_twins import barlow_twins_loss
from barlow.theory.floors import pearson_floor, raw_floor
from barlow.theory.projectors import pearson_projector
from barlow.theory.water_filling import water_filling
from tests.audits.gaussian import figures_of, gaussian_views, named

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
    assert (figures["loss"]["limit_error"], figures["loss"]["parts"][1]["error"]) == (0.0, None)  # a count has ends
    verdict = named(figures, "free_loss")
    assert verdict is not None
    assert verdict.level == "note"
    assert "On those its infimum is 1.15, and 0 only if others, too weak for so many samples" in verdict.sentence


def test_outputs_that_fit_into_the_rank_of_b_are_said_to_be_free_and_more_than_the_features_have_are_not() -> None:
    verdict = named(figures_of(FORTY_OF_50, FIRST_30, normalization="covariance"), "free_loss")
    assert verdict is not None
    assert (verdict.level, verdict.value, verdict.low) == ("warning", 40, 40)
    assert verdict.high in (40, 41)  # two errors of ten directions without an image may reach the edge
    assert named(figures_of(FORTY_OF_50, torch.randn(51, 50), normalization="covariance"), "free_loss") is None


def test_the_mean_is_one_more_direction_of_a_loss_that_is_not_centred() -> None:
    figures = figures_of(TEN_OF_50 + 1.0, FIRST_30, normalization="raw")
    assert figures["loss"]["limit"] == pytest.approx(raw_floor(30, 11, 0.02))


def test_directions_about_the_edge_leave_the_infimum_open() -> None:
    features = gaussian_views([0.9] * 20 + torch.linspace(0.2, 0.04, 20).tolist(), n=400, k=4, seed=5)
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
    assert "are of the 16 strongest directions of 48; the best linear projector's loss is an upper bound" in warning


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
    chance = "40 samples for 16 directions: the spectrum is mostly chance, and figures that need it have no interval"
    assert f"{chance}; take 240 or more" in few["warnings"]
    verdict = named(few, "wide_bracket")
    assert verdict is not None
    assert "Audit at least 240 samples" in verdict.advice
    assert not any("chance" in warning for warning in figures_of(gaussian_views([0.5] * 48, n=50, k=2))["warnings"])


def test_a_resnet_50_has_the_raw_floor_of_all_its_features() -> None:
    proven = Correlations(torch.full((512,), 0.9).double(), [torch.full((512,), 0.9).double()] * 4)
    known = Spectra(proven, proven, 0.1, 512, torch.ones(512), torch.zeros(512, 2048), 2048)
    best, worst = limits(known, width=8192, redundancy_weight=0.0051, normalization="covariance")
    assert best is not None
    assert worst is not None
    assert (round(float(best.value), 1), round(float(worst.value), 1)) == (123.4, 582.2)


def test_the_direction_of_the_mean_is_no_rank_beyond_all_features() -> None:
    proven = Correlations(torch.full((8,), 0.9).double(), [torch.full((8,), 0.9).double()] * 4)
    for basis, free in ((torch.eye(8), 0), (torch.eye(8, 12), 1)):  # of 8 features, and of 12, four of them constant
        known = Spectra(proven, proven, 0.1, 8, torch.ones(8), basis, 8)
        best, _ = limits(known, width=16, redundancy_weight=0.02, normalization="raw")
        assert best is not None
        assert float(best.value) == pytest.approx(raw_floor(16, 8 + free, 0.02))


FALLING = (0.95 * torch.exp(-torch.arange(32) / 6.0)).tolist()


def audited(features: Tensor, **numbers: Any) -> dict[str, Any]:
    """The figures of the whole audit of precomputed features."""
    return dict(audit(features, normalization="pearson", **numbers).figures)


def assert_near(verdict: Verdict, truth: float) -> None:
    """Within four errors, of which the interval has two on either side."""
    assert verdict.low is not None
    assert verdict.high is not None
    assert abs(verdict.value - truth) <= verdict.high - verdict.low


def test_outputs_that_the_best_projector_does_not_use_are_told_with_the_true_count_in_the_interval() -> None:
    truth = water_filling(FALLING, 32, 0.005).num_active
    verdict = named(audited(gaussian_views(FALLING, n=800), redundancy_weight=0.005), "waterline")
    assert verdict is not None
    assert verdict.low is not None
    assert verdict.high is not None
    assert verdict.low <= truth <= verdict.high < 0.9 * 32
    assert verdict.level == "warning"


def test_directions_that_are_equally_invariant_are_all_used_and_nothing_is_said() -> None:
    assert water_filling([0.9] * 16, 16, 0.1).num_active == 16
    assert named(audited(gaussian_views([0.9] * 16, n=800), redundancy_weight=0.1), "waterline") is None


@pytest.mark.parametrize(("rho", "collapsed"), [([0.5, 0.0, 0.0, 0.0], True), ([0.5] * 4, False)])
def test_features_along_one_line_are_called_collapsed_and_faint_ones_that_know_the_sample_are_not(
    rho: list[float], collapsed: bool
) -> None:
    scale = [1.0, 0.1, 0.1, 0.1]
    found = audited(gaussian_views(rho, n=400, scale=scale))
    verdict = named(found, "collapse")
    assert (verdict is not None) is collapsed
    assert (named(found, "dominant_direction") is not None) is not collapsed
    if verdict is not None:
        shares = torch.tensor(scale).square() / torch.tensor(scale).square().sum()
        assert verdict.level == "warning"
        assert_near(verdict, float(torch.special.entr(shares).sum().exp()))


def test_a_loss_that_is_mostly_floor_is_told_with_the_true_share_in_the_interval() -> None:
    invariant = gaussian_views([0.999] * 64, n=600, k=2)
    verdict = named(figures_of(invariant, weight=0.05, batch_size=16), "batch_floor")
    assert verdict is not None
    assert verdict.level == "warning"
    batches = gaussian_views([0.999] * 64, n=16 * 400, k=2, seed=1).split(16)
    mean = fmean(float(barlow_twins_loss(*z.unbind(1), redundancy_weight=0.05).total) for z in batches)
    assert_near(verdict, raw_floor(64, 15, 0.05) / mean)
    assert named(figures_of(invariant, weight=0.05, batch_size=128), "batch_floor") is None


def test_the_best_linear_projector_is_near_its_limit_and_a_random_one_holds_the_loss_up() -> None:
    rho = torch.tensor(FALLING[:16]).double()
    best = pearson_projector(rho.diag(), torch.eye(16).double(), 16, 0.02)
    features = gaussian_views(rho.tolist(), n=1600)
    figures = figures_of(features, best.weight.float())
    low, value, same, high = limit_range(Figures.from_json(figures))
    assert low <= best.floor <= high
    assert low < value == same < high
    verdict = named(figures, "projector_gap")
    assert verdict is not None
    assert (verdict.level, "near its limit" in verdict.sentence) == ("note", True)
    assert_near(verdict, 1.0)
    random = torch.randn(16, 16, generator=torch.Generator().manual_seed(0))
    verdict = named(figures_of(features, random), "projector_gap")
    assert verdict is not None
    assert (verdict.level, "the projector is what holds the loss up" in verdict.sentence) == ("warning", True)


TIES = [0.5] * 16 + [0.0] * 16
ZEROS = [0.9] * 8 + [0.0] * 24


@pytest.mark.parametrize(("rho", "weight"), [(FALLING, 0.05), (TIES, 0.005), (ZEROS, 1.0)])
def test_the_range_of_the_limit_holds_the_truth_in_nearly_all_samples(rho: list[float], weight: float) -> None:
    truth = pearson_floor(rho, 16, weight)
    outside = 0
    for seed in range(12):
        seen = observation_of_features(gaussian_views(rho, n=500, seed=seed))
        best, other = limits(spectra(seen.moments), width=16, redundancy_weight=weight, normalization="pearson")
        assert best is not None
        assert best.error is not None
        assert other is None
        outside += not best.value - 2 * best.error <= truth <= best.value + 2 * best.error
    assert outside <= 2  # at 5%: 3 of 12 or more once in 50


def test_plug_in_and_cross_fit_do_not_have_the_truth_between_them_at_ties() -> None:
    truth = pearson_floor(TIES, 32, 0.005)
    assert truth == pytest.approx(8.04)
    below = 0
    for seed in range(6):
        known = spectra(observation_of_features(gaussian_views(TIES, n=500, seed=seed)).moments)
        both = [pearson_floor(rho.value, 32, 0.005) for rho in (known.plug_in, known.cross_fit)]
        below += max(both) < truth
    assert below >= 3
