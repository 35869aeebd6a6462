"""Bars, curves and layers keep to the time and the samples they are given, and see both pipelines."""

import time
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from barlow.audits.audit import Audit, audit
from barlow.audits.effects import transform_effects
from barlow.audits.sensitivity import LEAST_IMAGES, MAGNITUDES, STRONGEST, NumImages, bars_of, images_within
from barlow.audits.transforms import same_distribution
from barlow.data.arrays import ArraySource
from barlow.figures import Figures
from barlow.images.views.pipeline import ImagePipeline
from barlow.images.views.published import image_views
from barlow.report import audit_sections
from barlow.seams import Params, View, Views
from tests.audits.shift import Shift

COLOURS = torch.randint(0, 256, (300, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
GREY = ImagePipeline(size=12, mean=(0.5,), std=(0.25,), flip=0.5, translation=0.2, gain=0.4, noise=0.1)
NUM_TRANSFORMS = 4
CHECKS = 32 + 32 + 16  # for chance and train-mode BatchNorm


class Counted:
    """Columns' means, which all of `GREY` moves, and how many views they were taken of."""

    def __init__(self, clock: list[float] | None = None, seconds: float = 0.0) -> None:
        self.forwards = 0
        self.clock, self.seconds = clock or [0.0], seconds

    def __call__(self, view: Tensor) -> Tensor:
        self.forwards += len(view)
        self.clock[0] += self.seconds * len(view)
        return view.mean(dim=(1, 2))


def grey(n: int) -> Tensor:
    return torch.randint(0, 256, (n, 1, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("seconds", [0.1, 0.02])
def test_the_whole_audit_of_a_slow_network_keeps_to_its_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    clock = [0.0]
    network = Counted(clock, seconds)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    found = audit(network, grey(1000), views=GREY, seconds=60.0)
    assert 0.8 * 60 < clock[0] <= 60.0
    used, short = found.figures["settings"], seconds == 0.1
    assert (used["num_views"], used["num_images"] >= 64) == (2 if short else 8, True)
    assert LEAST_IMAGES <= found.figures["augmentations"][0]["num_images"] < used["num_images"]
    told = [warning for warning in found.figures["warnings"] if "seconds are short" in warning]
    assert bool(told) is short
    if short:
        assert "2 views of each sample instead of 8; strength curves: no time was left" in told[0]


def test_wide_features_keep_to_the_time_with_fewer_samples() -> None:
    """What takes the time is not this network but sums and eigenvectors; the processor's time, whatever else runs."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 1024)).eval()
    started = time.process_time()
    found = audit(network, grey(6000), views=GREY, seconds=4.0)
    assert time.process_time() - started < 1.2 * 4.0
    assert 64 <= found.figures["settings"]["num_images"] < 6000
    features = torch.randn(6000, 2, 1024, generator=torch.Generator().manual_seed(0))
    started = time.process_time()
    found = audit(features, seconds=4.0)
    assert time.process_time() - started < 1.2 * 4.0
    assert f"{found.figures['settings']['num_images']} of 6000 samples" in " ".join(found.figures["warnings"])


def test_five_seconds_are_five_seconds_or_what_the_fewest_samples_take(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    found = audit(Counted(clock, 0.005), grey(1000), views=GREY, seconds=5.0)
    assert clock[0] <= 5.0
    assert found.figures["settings"]["num_images"] >= 64


def test_a_fast_network_is_looked_at_with_no_more_images_than_asked_for() -> None:
    network = Counted()
    found = audit(network, grey(300), views=GREY, num_images=70, num_views=3)
    effects, curves = 3 + 2 * NUM_TRANSFORMS, STRONGEST * (2 + 2 * len(MAGNITUDES))
    assert network.forwards == CHECKS + 70 * (3 + 1) + 70 * (effects + curves + 2)
    assert {bar["num_images"] for bar in found.figures["augmentations"]} == {70}
    assert [bool(bar["curve"]) for bar in found.figures["augmentations"]].count(True) == STRONGEST


def test_the_views_that_are_allowed_are_shared_out_and_not_exceeded() -> None:
    def forwards(images: NumImages) -> int:
        return images.effects * (3 + 2 * 5) + images.curves * 2 * 10 + images.layers * 2

    whole = images_within(float("inf"), num_images=10_000, num_bars=[5])
    assert whole == NumImages(effects=512, curves=256, layers=512)
    for budget in (2000.0, 5000.0, 12_000.0):
        images = images_within(budget, num_images=10_000, num_bars=[5])
        assert 0.95 * budget < forwards(images) <= budget
    assert images_within(1e9, num_images=40, num_bars=[5]) == NumImages(40, 40, 40)
    least = float(LEAST_IMAGES * (2 + 13 + 20))
    assert images_within(least, num_images=10_000, num_bars=[5]) == NumImages(*[LEAST_IMAGES] * 3)
    without_curves = images_within(least - 1, num_images=10_000, num_bars=[5])
    assert (without_curves.curves, without_curves.effects >= LEAST_IMAGES) == (0, True)
    layers_only = images_within(LEAST_IMAGES * 14.0, num_images=10_000, num_bars=[5])
    assert (layers_only.effects, layers_only.curves, layers_only.layers) == (0, 0, LEAST_IMAGES * 7)
    assert images_within(1.0, num_images=10_000, num_bars=[5]) == NumImages(0, 0, 0)
    assert images_within(5000.0, num_images=10_000, num_bars=[5, 2]).effects < 300  # of 512 for both pipelines
    assert images_within(1e9, num_images=40, num_bars=[]).layers == 40


def names(views: Views) -> list[str]:
    return [bar.name for bar in bars_of(views, ArraySource(COLOURS))]


def test_pipelines_that_differ_have_bars_of_what_differs_for_each() -> None:
    official = image_views("byol", size=32, channels=3)
    both = ["blur (view a)", "blur (view b)", "solarize (view b)"]
    assert sorted(names(official)) == sorted(["crop", "flip", "jitter", "gray", *both])
    alike = image_views("byol-iid", size=32, channels=3)
    assert sorted(names(alike)) == sorted(["crop", "flip", "jitter", "gray", "blur+solarize"])
    assert names(Views((GREY, GREY))) == names(Views((GREY,)))


def test_transforms_are_alike_where_all_that_draws_them_is() -> None:
    other = ImagePipeline(size=12, mean=(0.5,), std=(0.25,), flip=0.5, translation=0.2, gain=0.1, noise=0.1)
    assert {name for name in ("flip", "affine", "contrast", "noise") if not same_distribution(name, GREY, other)} == {
        "contrast"
    }
    assert not same_distribution("unheard-of", GREY, GREY)
    assert not same_distribution("shift", Shift(0.1), Shift(0.1))


def shown(figures: Mapping[str, Any]) -> str:
    """The section of the page on augmentations."""
    return audit_sections.augmentations(Figures.from_json(figures))


def small_audit(network: Any, data: Any, views: View | Views | str) -> Audit:
    return audit(network, data, views=views, num_images=100, num_views=2)


def test_who_waits_for_effects_curves_and_layers_is_told_how_far_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    audit(lambda view: view.mean(dim=(1, 2)), grey(100), views=GREY, num_images=100, num_views=2, quiet=False)
    said = capsys.readouterr().err
    assert "audit of augmentations and layers: effects (0/4)" in said
    assert "audit of augmentations and layers (4/4)" in said


def test_solarisation_of_the_second_view_is_seen_and_said() -> None:
    found = small_audit(lambda view: view.mean(dim=(2, 3)), COLOURS, "byol")
    bars = {bar["name"]: bar for bar in found.figures["augmentations"]}
    solarize = bars["solarize (view b)"]
    assert solarize["total_effect"] > 3 * solarize["total_effect_error"] > 0
    (warning,) = (said for said in found.figures["warnings"] if "different pipelines" in said)
    for what in ("spectrum", "layers", "limit", "bars without a letter"):
        assert what in warning
    both = "The views have different pipelines"
    assert both in shown(found.figures)
    for bar in bars.values():
        bar["view"] = ""
    assert both not in shown(found.figures)


def test_of_views_that_are_no_pictures_each_pipeline_has_all_of_its_bars() -> None:
    vectors = ArraySource(torch.randn(200, 4, generator=torch.Generator().manual_seed(0)))
    found = small_audit(lambda view: view, vectors, Views((Shift(0.3), Shift(1.0))))
    bars = {bar["name"]: bar["marginal"] for bar in found.figures["augmentations"]}
    assert list(bars) == ["shift (view a)", "shift (view b)"]
    assert bars["shift (view b)"] == pytest.approx(bars["shift (view a)"] / 0.09, rel=0.5)


def test_a_crop_has_a_curve_of_the_strengths_that_it_can_have() -> None:
    cropped = ImagePipeline(size=12, mean=(0.5,), std=(0.25,), crop_scale=(0.3, 1.0), flip=0.5)
    found = small_audit(Counted(), grey(200), cropped)
    curves = {bar["name"]: [point[0] for point in bar["curve"]] for bar in found.figures["augmentations"]}
    assert curves == {"crop": [0.0, 0.25, 0.5, 1.0], "flip": []}


SCALES = {"a": 2.0, "b": 0.2, "c": 0.5}


class Own:
    """Vectors each of whose features is moved by a transform of its own."""

    def sample(self, batch: Tensor, generator: torch.Generator) -> Params:
        return {name: {"value": torch.randn(len(batch), 1, generator=generator)} for name in SCALES}

    def apply(self, batch: Tensor, params: Params) -> Tensor:
        still = torch.zeros(len(batch), 1)
        moved = [scale * params[name]["value"] if name in params else still for name, scale in SCALES.items()]
        return batch + torch.cat(moved, dim=1)


def test_the_most_invariant_directions_are_told_with_the_transform_that_they_follow() -> None:
    vectors = ArraySource(torch.randn(600, 3, generator=torch.Generator().manual_seed(0)))
    found = audit(lambda view: view, vectors, views=Own(), num_images=600, num_views=4)
    rows = found.figures["directions"]
    assert [row["transform"] for row in rows] == ["b", "c", "a"]
    for row in rows:
        share = SCALES[row["transform"]] ** 2 / (1 + SCALES[row["transform"]] ** 2)
        assert row["correlation"] == pytest.approx(1 - share, abs=0.05)
        assert abs(row["share"] - share) < 4 * row["error"] < 0.4
    assert "follows most" in shown(found.figures)
    assert "follows most" not in shown({**found.figures, "directions": []})


def test_only_the_transforms_asked_for_are_measured_and_they_are_what_they_would_be_among_all() -> None:
    source = ArraySource(grey(60))
    everything = transform_effects(Counted(), source, GREY, num_images=60)
    some = transform_effects(Counted(), source, GREY, num_images=60, only=["noise"])
    assert list(some) == ["noise"]
    assert some["noise"].total_effect == everything["noise"].total_effect > 0
