"""A modality of one's own gets every command without touching the core, and nothing that it says speaks of images."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import barlow
from barlow.cli import main
from barlow.training.machine import Machine

QUIET = Machine(quiet=True)
NUMBERS = barlow.Recipe(
    name="points", source="ours", views="jitter", backbone="line", projector="8-8", epochs=4, batch_size=32
)


class Jitter:
    """Noise on points in the plane."""

    def sample(self, batch: Tensor, generator: torch.Generator) -> barlow.Params:
        return {"noise": {"value": 0.1 * torch.randn(len(batch), 2, generator=generator)}}

    def apply(self, batch: Tensor, params: barlow.Params) -> Tensor:
        return batch + params["noise"]["value"] if "noise" in params else batch


def points(data: Any, *, split: str = "train", **_: Any) -> barlow.Source:
    random = torch.Generator().manual_seed(int(split == "test"))
    labels = torch.arange(200) % 2
    where = torch.randn(200, 2, generator=random) + 3 * labels[:, None]
    return barlow.ArraySource(where, name="points", labels=labels, describe="point {}".format)


POINTS = barlow.Modality(
    name="points",
    noun="point",
    load=points,
    splits=lambda data: ("train", "test"),
    named=("points",),
    recipe=lambda name, data: NUMBERS,
    views=lambda recipe, facts: barlow.Views((Jitter(),) * 2),
    backbone=lambda recipe, facts: nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU()),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = barlow.pretrain("points", modality=POINTS, out=tmp_path_factory.mktemp("own") / "run", machine=QUIET)
    assert run.finished
    barlow.audit(run, num_images=64, num_views=4, mlp=False, quiet=True).save(run.folder)
    return run.folder


def test_a_throw_away_modality_takes_fewer_than_sixty_lines() -> None:
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("NUMBERS"))
    end = next(place for place, line in enumerate(lines) if line.startswith("@pytest"))
    assert end - start < 60


def test_it_is_evaluated_beside_its_untrained_network_and_raw_samples(folder: Path) -> None:
    run = barlow.open_run(folder, modality=POINTS)
    score = run.evaluate()
    assert [row["features"] for row in score.evaluation["rows"]] == ["trained", "untrained", "raw samples"]
    assert score.knn > 0.9


def test_its_run_is_opened_embedded_resumed_and_exported_from_its_folder(folder: Path, tmp_path: Path) -> None:
    run = barlow.open_run(folder, modality=POINTS)
    h = run.embed("points")
    assert h.shape == (200, 16)
    run.write_features("points", tmp_path / "h.npz")
    again = barlow.resume(folder, modality=POINTS, machine=QUIET)
    assert again.finished
    torch.testing.assert_close(again.embed("points"), h)
    run.export("onnx", tmp_path / "points.onnx")
    with pytest.raises(ValueError, match="to: got 'timm', wanted one of onnx"):
        run.export("timm", tmp_path / "out")
    with pytest.raises(ValueError, match=r"modality: the run is of modality 'points'.*pass it again"):
        barlow.open_run(folder)


def test_its_audit_measures_its_own_transforms(folder: Path) -> None:
    figures = barlow.open_audit(folder).figures
    assert [effect["transform"] for effect in figures["augmentations"]] == ["noise"]
    assert 0 < figures["quantities"]["augmentation_share"]["value"] < 1


@pytest.mark.parametrize("page", ["report.html", "audit.html"])
def test_its_pages_never_say_image_or_pixel(folder: Path, page: str) -> None:
    text = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", (folder / page).read_text(), flags=re.DOTALL)
    text = re.sub(r"<[^>]*>|image_size|--image-size \d+", " ", text)
    said = re.findall(r"[^.]{0,40}\b(?:image|pixel|picture)s?\b[^.]{0,40}", text, flags=re.IGNORECASE)
    assert not said
    assert "point" in text


def typed(words: list[str]) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return ended.value.code


def test_every_command_takes_it_from_a_file(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = f"{Path(__file__)}:POINTS"
    out = str(tmp_path / "run")
    numbers = ["--epochs", "1", "--quiet", "--modality", own]
    assert typed(["pretrain", "points", "--out", out, *numbers]) == 0
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["recipe"]["name"] == "points"
    assert typed(["pretrain", "--resume", out, "--modality", own]) == 0
    assert typed(["embed", str(folder), "points", "--out", str(tmp_path / "h.npz"), "--modality", own]) == 0
    assert typed(["evaluate", str(folder), "--no-keep", "--modality", own]) == 0
    assert typed(["report", str(folder)]) == 0
    assert typed(["export", str(folder), "--to", "onnx", "--out", str(tmp_path / "x.onnx"), "--modality", own]) == 0
    capsys.readouterr()
    assert typed(["evaluate", str(folder)]) == 2
    assert "modality: the run is of modality 'points'" in capsys.readouterr().err
    assert typed(["evaluate", str(folder), "--modality", f"{tmp_path}/none.py:POINTS"]) == 2
    assert "modality: there is no file" in capsys.readouterr().err
    assert typed(["evaluate", str(folder), "--modality", f"{Path(__file__)}:NUMBERS"]) == 2
    assert "modality: got Recipe for 'NUMBERS'" in capsys.readouterr().err
