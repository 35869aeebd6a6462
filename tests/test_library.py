"""The page and the examples for loops of one's own: docs/library.md runs as it stands, and so does every example."""

import importlib.util
import json
import re
import runpy
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import barlow
from barlow.evaluation.arms import evaluate_arms
from tests.images.data.making import write_folder

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SMALL: dict[str, Any] = {"projector": "8-8", "batch_size": 8, "precision": "32-true", "epochs": 1}


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "library.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.filterwarnings("ignore")
def test_the_page_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="the extra [onnx] is not installed")
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "photos", 32, size=(32, 32))
    pretrain, machine = barlow.pretrain, barlow.Machine(quiet=True)
    run = pretrain("photos/", backbone="timm:test_resnet", stem="imagenet", out="runs/photos", machine=machine, **SMALL)
    run.export("timm", "photos-timm")
    run.export("onnx", "photos.onnx")

    def small(*data: Any, **numbers: Any) -> barlow.Run:
        own = {} if "backbone" in numbers else {"backbone": "resnet10", "width": 4}
        return pretrain(*data, **{**numbers, **SMALL, **own, "machine": machine})

    monkeypatch.setattr(barlow, "pretrain", small)
    (size,) = {run.recipe.image_size}
    names: dict[str, Any] = {"pictures": torch.randn(2, 3, size, size)}
    for block in blocks():
        exec(compile(block, "docs/library.md", "exec"), names)
        if "h = network(pictures)" in block:
            torch.testing.assert_close(names["h"], run.backbone.eval()(names["pictures"]))
    expected = run.backbone(names["pictures"]).detach()
    torch.testing.assert_close(torch.from_numpy(names["h_onnx"]), expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(names["network"].eval()(names["pictures"]).detach(), expected)
    assert len(names["losses"]) == 4


def test_an_example_is_short() -> None:
    parts = [path for path in EXAMPLES.glob("*.py") if path.name != "seven_pictures.py"]  # which is a page's, no part
    lengths = {path.name: len(path.read_text().splitlines()) for path in parts}
    assert len(lengths) >= 6
    assert {name: length for name, length in lengths.items() if not 30 <= length <= 72} == {}


def test_a_plain_loop_learns_with_our_loss_and_views(capsys: pytest.CaptureFixture[str]) -> None:
    loop = runpy.run_path(str(EXAMPLES / "own_loop.py"))
    assert loop["main"]() < 60
    first, second = re.findall(r"epoch \d: ([\d.]+) \(on_diagonal", capsys.readouterr().out)
    assert float(second) < float(first)


@pytest.mark.dist
def test_the_same_loop_runs_on_two_processes() -> None:
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(EXAMPLES / "own_loop.py")]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r"epoch 1: [\d.]+ \(on_diagonal", done.stdout)


@pytest.mark.filterwarnings("ignore")
def test_lightning_trains_with_our_loss_and_views() -> None:
    if importlib.util.find_spec("pytorch_lightning") is None:
        pytest.skip("pytorch-lightning is not installed")
    found = runpy.run_path(str(EXAMPLES / "own_loop_lightning.py"))["main"](steps=4)
    assert set(found) == {"on_diagonal", "off_diagonal"}


def test_a_network_and_a_source_of_ones_own_are_pretrained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("barlow.evaluation.scores.evaluate_arms", partial(evaluate_arms, draws=1))
    monkeypatch.setattr(sys, "argv", ["own", str(tmp_path / "run")])
    runpy.run_path(str(EXAMPLES / "own_network_and_source.py"), run_name="__main__")
    rows = json.loads((tmp_path / "run" / "summary.json").read_text())["evaluation"]["rows"]
    assert rows[0]["linear"] > 0.5
    assert f"trained: linear {rows[0]['linear']:.3f}" in capsys.readouterr().out


def test_a_search_reads_what_is_finished_and_does_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = runpy.run_path(str(EXAMPLES / "search.py"))
    search["GRID"][2:] = []
    data = torch.randint(0, 255, (32, 1, 8, 8), dtype=torch.uint8)
    tiny = {**SMALL, "recipe": "digits", "width": 4}
    found = search["grid"](data, tmp_path, **tiny)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "learning_rate=0.001-redundancy_weight=0.005", "learning_rate=0.001-redundancy_weight=0.02"
    ]  # fmt: skip
    monkeypatch.setattr("barlow.runs.pretrain.train", None)  # nothing is trained again
    assert search["grid"](data, tmp_path, **tiny) == found


@pytest.mark.filterwarnings("ignore")
def test_a_study_of_optuna_goes_on_where_it_was_cut_short(tmp_path: Path) -> None:
    optuna: Any = pytest.importorskip("optuna", reason="optuna is not installed")
    search = runpy.run_path(str(EXAMPLES / "search.py"))
    data = torch.randint(0, 255, (32, 1, 8, 8), dtype=torch.uint8)
    tiny = {**SMALL, "recipe": "digits", "width": 4}
    search["with_optuna"](data, tmp_path, 1, **tiny)
    cut = optuna.load_study(study_name="barlow", storage=f"sqlite:///{tmp_path}/optuna.db").ask()
    cut.suggest_float("learning_rate", 3e-4, 1e-2, log=True)
    study = search["with_optuna"](data, tmp_path, 2, **tiny)
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "FAIL", "COMPLETE"]
    assert study.trials[2].params["learning_rate"] == cut.params["learning_rate"]
