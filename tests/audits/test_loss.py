"""Losses of a sample: unbiased, with the error that they have, and what a batch adds at any N."""

import math
from statistics import fmean, stdev
from typing import Any

import pytest
import torch
from torch import Tensor

from barlow.audits import estimated_losses as losses_file
from barlow.audits.estimated_losses import complete_loss, sampling_bias
from barlow.audits.loss import floor_curves, loss_taken_apart, with_waterline
from barlow.audits.observation import observation_of_features
from barlow.audits.spectra import spectra
from barlow.methods.barlow_twins import Normalization
from barlow.theory.floors import raw_floor
from barlow.theory.water_filling import water_filling
from tests.audits.gaussian import figures_of, gaussian_views

WIDE = torch.linspace(0.95, 0.2, 128).tolist()
WEIGHT = 0.05


def known_bias(rho: Tensor, num_samples: int) -> float:
    """docs/claims.md, C16, for uncorrelated Gaussian features."""
    diagonal = (1 - rho**2) ** 2 + rho * (1 - rho) * (1 - rho**2)
    return WEIGHT * len(rho) * (len(rho) - 1) / (num_samples - 1) + float(diagonal.sum()) / num_samples


@pytest.mark.parametrize("batch_size", [64, 256, 512, 1024, 4096])
def test_what_a_batch_adds_is_known_for_batches_larger_than_the_sample_as_well(batch_size: int) -> None:
    loss = figures_of(gaussian_views(WIDE, n=512, k=2), weight=WEIGHT, batch_size=batch_size)["loss"]
    bias = loss["parts"][-1]
    truth = known_bias(torch.tensor(WIDE), batch_size)
    assert bias["value"] == pytest.approx(truth, rel=0.05)
    assert abs(bias["value"] - truth) < 2 * bias["error"]
    assert loss["batch_measured_at"] == min(batch_size, 256)
    assert loss["batch"] == pytest.approx(sum(part["value"] for part in loss["parts"]))


def test_a_whitened_batch_of_more_than_half_of_the_images_is_left_out() -> None:
    z_a, z_b = gaussian_views([0.8] * 8, n=200, k=2).unbind(1)
    kind: Normalization = "whiten"
    assert sampling_bias(z_a, z_b, 1.0, batch_size=101, redundancy_weight=WEIGHT, normalization=kind) is None
    assert sampling_bias(z_a, z_b, 1.0, batch_size=100, redundancy_weight=WEIGHT, normalization=kind) is not None


def test_errors_of_both_losses_are_what_independent_images_scatter_by() -> None:
    rho = [0.9, 0.7, 0.5, 0.3]
    same: Any = {"redundancy_weight": WEIGHT, "normalization": "pearson"}
    known = spectra(observation_of_features(gaussian_views(rho, n=300)).moments)
    found = []
    for seed in range(24):
        z_a, z_b = gaussian_views(rho, n=300, k=2, seed=seed).unbind(1)
        complete = complete_loss(z_a, z_b, **same)
        loss = loss_taken_apart(z_a, z_b, known, batch_size=64, complete=complete, start=None, **same)
        found.append(loss.to_json())
    for name in ("complete", "batch"):
        values, errors = [loss[name] for loss in found], [loss[f"{name}_error"] for loss in found]
        assert 0.6 < fmean(errors) / stdev(values) < 1.7, name  # the scatter of 24 is right to 15%
    truth = float(((1 - torch.tensor(rho)) ** 2).sum())
    complete_losses = [loss["complete"] for loss in found]
    assert abs(fmean(complete_losses) - truth) < 4 * stdev(complete_losses) / math.sqrt(24)


def test_parts_of_the_same_images_have_a_smaller_error_than_of_independent_ones() -> None:
    loss = figures_of(gaussian_views([0.9] * 4 + [0.4] * 4, n=600, k=4), weight=1.0)["loss"]
    errors = {part["name"]: part["error"] for part in loss["parts"]}
    assert errors["floor"] is None
    assert errors["backbone limit"] == loss["limit_error"] > 0
    assert 0 < errors["projector gap"] < math.hypot(loss["complete_error"], loss["limit_error"])


def test_the_error_of_a_fall_is_that_of_the_same_images_before_and_after() -> None:
    features = gaussian_views([0.9] * 4, n=400, k=2)
    noisy = features + 0.5 * torch.randn(features.shape, generator=torch.Generator().manual_seed(1))
    same: Any = {"redundancy_weight": WEIGHT, "normalization": "pearson"}
    complete, start = (complete_loss(*z.unbind(1), **same) for z in (features, noisy))
    fall = (start - complete) / start
    apart = float(complete.standard_error / start.value)
    assert 0 < float(fall.standard_error) < math.hypot(apart, apart)


def test_replicates_that_would_take_too_long_leave_the_error_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses_file, "MOST_WORK", 1.0)
    loss = figures_of(gaussian_views([0.9] * 4, n=200, k=2))["loss"]
    assert loss["complete"] is not None
    assert (loss["complete_error"], loss["batch_error"], loss["parts"][2]["error"]) == (None, None, None)
    assert loss["limit_error"] is not None


def test_the_waterline_has_a_range_that_holds_both_estimates_and_the_truth_and_the_raw_floor_from_the_rank_of_b() -> (
    None
):
    seen = observation_of_features(gaussian_views([0.9] * 6 + [0.3] * 6 + [0.0] * 12, n=400, k=4))
    known = spectra(seen.moments)
    found = with_waterline(known.spectrum(), known, width=16, redundancy_weight=0.02).to_json()
    for end, rho in (("", known.plug_in.value), ("_cross_fit", known.cross_fit.value)):
        expected = water_filling(rho, 16, 0.02)
        assert found[f"num_active{end}"] == expected.num_active
        assert found[f"waterline{end}"] == pytest.approx(expected.waterline)
        for name in ("num_active", "waterline"):  # what jumps has a range and no error
            assert found[f"{name}{end}_error"] is None
            known_range = found[f"{name}_range"]
            assert known_range["low"] <= found[f"{name}{end}"] <= known_range["high"]
    truth = water_filling([0.9] * 6 + [0.3] * 6 + [0.0] * 12, 16, 0.02)
    assert found["num_active_range"]["low"] <= truth.num_active <= found["num_active_range"]["high"]
    assert found["waterline_range"]["low"] <= truth.waterline <= found["waterline_range"]["high"]
    *_, rank = known.between_rank
    assert rank < known.rank == 24
    floors = floor_curves(known, width=64, redundancy_weight=0.02, batch_size=8)
    (floor,) = (floor for floor in floors.width if floor.x == 64)
    assert floor.raw == pytest.approx(raw_floor(64, rank, 0.02))


def test_features_without_variance_pay_d_and_break_nothing() -> None:
    figures = figures_of(torch.ones(40, 2, 3), normalization="covariance")
    assert figures["loss"]["limit"] == figures["loss"]["limit_cross_fit"] == 3.0
    assert figures["spectrum"]["between_rank"] == {"value": 0, "low": 0, "high": 0}
    assert figures_of(torch.ones(40, 2, 3))["loss"]["limit"] == 3.0
