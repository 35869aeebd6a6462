"""What benchmarks compute beside what they measure: leads over seeds; and the page shows what the script prints."""

import math
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
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


def test_two_by_two_tells_views_from_head_over_whole_seeds_alone() -> None:
    from two_by_two import cells_of, effects

    from barlow.studies.cells import Finished

    # theirs/theirs, theirs/ours, ours/theirs, ours/ours: views add 10, head 2, both 4 more
    by_seed = {0: (0.50, 0.50, 0.58, 0.62), 1: (0.40, 0.40, 0.48, 0.52), 2: (0.9,)}
    arms = [("theirs", "theirs"), ("theirs", "ours"), ("ours", "theirs"), ("ours", "ours")]
    found = [
        Finished(f"{seed}-{views}-{head}", {"views": views, "head": head, "seed": seed}, {"knn": value}, 1.0)
        for seed, values in by_seed.items()
        for (views, head), value in zip(arms, values, strict=False)
    ]
    added = {name: lead.by_seed for name, lead in effects(found, "knn").items()}
    assert added == {
        "our views": pytest.approx((10.0, 10.0)),
        "our head": pytest.approx((2.0, 2.0)),
        "together beyond both": pytest.approx((4.0, 4.0)),
    }
    assert effects(found[-1:], "knn") == {}
    flags = SimpleNamespace(data="fashion-mnist", data_root=None, images=64, width=8, labelled=0, seeds=2)
    cells = cells_of(flags)
    assert [cell.arguments["seed"] for cell in cells] == [0] * 4 + [1] * 4
    assert {(cell.arguments["views"], cell.arguments["head"]) for cell in cells[:4]} == set(arms)


def test_a_figure_that_only_follows_the_length_of_training_says_nothing_given_it() -> None:
    from label_free_backbones import FIGURES
    from label_free_ranks import partial

    generator = np.random.default_rng(0)
    records = []
    for epochs in (1, 2, 4, 8) * 30:
        worth, length, own = generator.normal(), float(epochs), generator.normal()
        figures: dict[str, float | None] = dict.fromkeys(FIGURES, 1.0)
        figures |= {"alignment": length + 0.5 * own, "lidar": length + worth, "rank_me_z": None}
        records.append({"epochs": epochs, "small": True, "loss": 0.0, "figures": figures, "linear": length + worth,
                        "few_labels": 0.0})  # fmt: skip
    found = dict(zip(FIGURES, partial(records), strict=True))
    assert abs(found["alignment"]) < 0.25
    assert found["lidar"] > 0.9
    assert math.isnan(found["rank"])
    assert math.isnan(found["rank_me_z"])


def test_what_varies_is_four_times_six_runs_a_collapse_and_a_mark_that_is_the_number() -> None:
    from label_free_backbones import MARK_BITS, MARK_ROWS, PICTURES, VARIED, stamped

    kinds = [name.split("-")[0] for name in VARIED]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "lambda": 6, "width": 6, "rate": 6, "views": 6, "collapsed": 1, "shortcut": 1,
    }  # fmt: skip
    assert 2**MARK_BITS > PICTURES
    pixels = torch.full((70, 1, 28, 28), 7, dtype=torch.uint8)
    marked = stamped(pixels)
    assert torch.equal(marked[:, :, :-MARK_ROWS], pixels[:, :, :-MARK_ROWS])
    assert marked[:, 0, -1].unique(dim=0).shape[0] == 70
