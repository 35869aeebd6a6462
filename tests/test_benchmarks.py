"""What benchmarks compute beside what they measure: leads over seeds; and the page shows what the script prints."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

from barlow.audits.observation import Observation, observation_of_features
from barlow.audits.quantities import quantities

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


def results(**arms: dict[int, float]) -> list[dict[str, object]]:
    return [{"arm": arm, "seed": seed, "knn": value} for arm, by in arms.items() for seed, value in by.items()]


def test_a_lead_is_paired_by_seed_and_has_students_interval() -> None:
    from leads import lead

    found = lead(results(a={2: 0.53, 0: 0.31, 1: 0.42, 7: 0.0}, b={0: 0.30, 1: 0.40, 2: 0.50}), "a", "b", "knn")
    assert found is not None
    assert found.by_seed == pytest.approx((1.0, 2.0, 3.0))
    assert found.interval == pytest.approx((2.0 - 2.4841, 2.0 + 2.4841), abs=1e-4)  # 4.3027 / sqrt(3)
    assert str(found) == "+2.0 (-0.5 to +4.5)"


def test_one_seed_is_no_lead_and_none_is_nothing() -> None:
    from leads import lead

    found = lead(results(a={0: 0.9}, b={0: 0.1, 1: 0.2}), "a", "b", "knn")
    assert found is not None
    assert found.interval is None
    assert str(found) == "one seed"
    assert lead(results(a={0: 0.9}, b={1: 0.2}), "a", "b", "knn") is None


def test_the_page_of_methods_has_every_lead_that_the_script_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = ROOT / "benchmarks" / "methods.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--results", str(script.with_suffix(".json"))])
    runpy.run_path(str(script), run_name="__main__")
    printed = capsys.readouterr().out
    leads = [line for line in printed[printed.index("Points ahead") :].splitlines() if line]
    assert len(leads) == 3 * (3 + 10)
    page = script.with_suffix(".md").read_text(encoding="utf-8").splitlines()
    assert [line for line in leads if line not in page] == []


def test_rank_me_and_lidar_of_z_are_those_of_features_that_are_z() -> None:
    from label_free_backbones import FIGURES, embedding_figures

    generator = torch.Generator().manual_seed(0)
    image, noise = torch.randn(200, 1, 6, generator=generator), torch.randn(200, 4, 6, generator=generator)
    h_views = image + 0.5 * noise
    projector = torch.nn.Linear(6, 5).eval()
    of_h = observation_of_features(h_views)
    seen = Observation(of_h.moments, h_views[:, 0], of_h.h_a, of_h.h_b, None, None, 4, h_views)
    with torch.inference_mode():
        of_z = quantities(observation_of_features(projector(h_views)))[0]
    found = embedding_figures(projector, seen)
    for name, one in (("rank_me_z", of_z.rank_me), ("lidar_z", of_z.lidar)):
        assert one is not None
        assert one.error is not None
        value = found[name]
        assert value is not None
        assert abs(value - one.value) <= one.error < 0.05 * one.value  # an audit corrects it for the number of samples
    assert found.keys() <= FIGURES.keys()
    assert embedding_figures(None, seen) == {"rank_me_z": None, "lidar_z": None}
