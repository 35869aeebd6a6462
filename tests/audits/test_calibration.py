"""A short form of `benchmarks/calibration.py`: intervals hold the truth, or are not shown."""

import importlib.util
from pathlib import Path
from statistics import fmean
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "calibration.py"
DRAWS = 5
"""Of so few, single figures tell little: all figures of a world together have to hold."""


@pytest.fixture(scope="module")
def calibration() -> ModuleType:
    spec = importlib.util.spec_from_file_location("calibration", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("world", ["two_views", "ties_and_zeros", "zeros_heavy", "nothing_uneven", "power_law_few"])
def test_nine_tenths_of_the_intervals_hold_the_truth(world: str, calibration: ModuleType) -> None:
    found = calibration.run([world], DRAWS, None, told=lambda line: None)[world]
    shares = {name: share for name, share in found.items() if share is not None}
    assert fmean(shares.values()) >= 0.9
    for name in ("mean_correlation", "view_information", "lidar", "limit", "outputs used", "correlations"):
        assert shares[name] >= 0.6, name  # 3 of 5; at 90% fewer once in 100


def test_too_few_images_have_no_interval(calibration: ModuleType) -> None:
    found = calibration.run(["too_few"], 1, None, told=lambda line: None)["too_few"]
    for name in ("mean_correlation", "view_information", "lidar", "condition_number", "effective_rank"):
        assert found[name] is None, name


def test_draws_are_kept_and_a_second_call_makes_none(calibration: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "kept.json"
    first = calibration.run(["nothing"], 2, out, told=lambda line: None)
    written = out.read_bytes()
    assert calibration.run(["nothing"], 2, out, told=lambda line: None) == first
    assert out.read_bytes() == written
    assert "| mean correlation |" in calibration.page(first, 2)
