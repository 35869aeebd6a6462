"""What can be done with a finished run: embed, evaluate, audit and export, whatever its pictures are."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import barlow
from barlow.audits.subjects import open_subject
from barlow.cli.commands import main
from barlow.images.views.published import image_views
from barlow.runs.folder import training_time
from barlow.training.journal import read_journal
from tests.runs.test_pretrain import Pooled, tiny, two_kinds


def coloured(n: int, seed: int, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The two kinds of pictures with any number of channels."""
    pictures, labels = two_kinds(n, seed)
    return pictures.repeat(1, channels, 1, 1), labels


def file_of(path: Path, channels: int) -> Path:
    (train, train_y), (test, test_y) = coloured(96, 0, channels), coloured(40, 1, channels)
    np.savez(path, train_images=train, train_labels=train_y, test_images=test, test_labels=test_y)
    return path


@pytest.mark.parametrize("channels", [2, 4])
def test_pictures_of_any_number_of_channels_go_all_the_way(channels: int, tmp_path: Path) -> None:
    data = file_of(tmp_path / "bands.npz", channels)
    run = tiny(data, tmp_path / "run", epochs=1)
    assert run.summary["evaluation"]["test_samples"] == 40
    opened = barlow.open_run(run.folder)
    assert opened.evaluate().evaluation["rows"] == run.summary["evaluation"]["rows"]
    assert opened.embed(coloured(10, 2, channels)[0]).shape == (10, 32)
    assert opened.write_features(data, tmp_path / "features.npz") == 96
    subject = open_subject(run.folder)
    assert subject.source is not None
    assert len(subject.source) == 96


def test_pictures_with_other_channels_than_those_of_the_run_are_refused(tmp_path: Path) -> None:
    run = tiny(file_of(tmp_path / "bands.npz", 4), tmp_path / "run", epochs=1)
    other = file_of(tmp_path / "colours.npz", 3)
    wanted = r"data: colours has images with 3 channels, wanted 4 as the network was trained on"
    for use in (run.evaluate, run.embed, lambda data: run.write_features(data, tmp_path / "h.npz")):
        with pytest.raises(ValueError, match=wanted):
            use(other)
    with pytest.raises(ValueError, match=wanted):
        open_subject(run, other)


def noted_moves(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return where batches are sent, one entry each from now on; none of them leaves the CPU."""
    moves: list[str] = []

    def noted(samples: Any, device: torch.device) -> Any:
        moves.append(str(device))
        return samples

    monkeypatch.setattr("barlow.seams.to_device", noted)
    return moves


class Travelling(nn.Module):
    """A network that notes where it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.journey: list[str] = []

    def to(self, device: Any) -> "Travelling":  # type: ignore[override]
        self.journey.append(str(device))
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.weight * images.flatten(2).mean(dim=2)


def test_features_are_computed_on_the_device_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tiny(file_of(tmp_path / "kinds.npz", 1), tmp_path / "run", epochs=1)
    asked: list[str] = []

    def device_of(accelerator: str) -> torch.device:
        asked.append(accelerator)
        return torch.device("cuda", 0)

    monkeypatch.setattr("barlow.runs.run.device_of", device_of)
    used = noted_moves(monkeypatch)
    run = replace(run, backbone=Travelling().eval())
    assert run.embed(two_kinds(6, 2)[0]).shape == (6, 1)
    assert run.write_features(two_kinds(6, 2)[0], tmp_path / "h.npz", accelerator="gpu") == 6
    assert asked == ["auto", "gpu"]
    assert used == ["cuda:0"] * 2
    assert run.backbone.journey == ["cuda:0", "cpu"] * 2


def test_networks_and_batches_of_an_evaluation_are_on_the_device_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny(file_of(tmp_path / "kinds.npz", 1), tmp_path / "run", epochs=1)
    monkeypatch.setattr("barlow.runs.run.device_of", lambda accelerator: torch.device("cuda", 0))
    moved = noted_moves(monkeypatch)
    run = replace(run, backbone=Travelling().eval(), recipe=replace(run.recipe, backbone="own:Travelling"))
    score = run.evaluate()
    assert run.backbone.journey == ["cuda:0", "cpu"]
    assert moved == ["cuda:0"] * 4  # training and test data, for the network and for the raw pixels
    assert len(score.evaluation["rows"]) == 2


@pytest.mark.parametrize("words", [["evaluate", "RUN"], ["embed", "RUN", "DATA"], ["audit", "RUN"]])
def test_a_device_that_is_not_there_is_refused_by_every_command(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    data = file_of(tmp_path / "kinds.npz", 1)
    given = {"RUN": str(tiny(data, tmp_path / "run", epochs=1).folder), "DATA": str(data)}
    with pytest.raises(SystemExit, match="2"):
        main([*(given.get(word, word) for word in words), "--accelerator", "cuda"])
    assert "accelerator: got 'cuda', but torch sees no GPU; wanted cpu or auto" in capsys.readouterr().err


def kept(run: barlow.Run) -> list[dict[str, Any]]:
    return [r for r in read_journal(run.folder / "journal.jsonl") if r["event"] == "evaluation" and "rows" in r]


def test_an_evaluation_is_kept_in_a_file_and_in_the_journal_unless_told_otherwise(tmp_path: Path) -> None:
    run = tiny(file_of(tmp_path / "kinds.npz", 1), tmp_path / "run", epochs=1)
    before, summary = (run.folder / "journal.jsonl").read_bytes(), run.summary
    assert run.evaluate(keep=False).kept is None
    assert not (run.folder / "evaluations").exists()
    assert (run.folder / "journal.jsonl").read_bytes() == before
    score = run.evaluate(finetune=(0.25,))
    assert score.kept == run.folder / "evaluations" / "kinds-ours-finetune-0.25.json"
    written = json.loads(score.kept.read_text())
    assert written["data"] == {"name": "kinds", "path": str(tmp_path / "kinds.npz")}
    assert written["protocol"] == "ours"
    assert written["evaluation"] == json.loads(json.dumps(score.evaluation))
    assert written["seconds"] > 0
    (record,) = kept(run)
    assert record["data"] == written["data"]
    assert record["file"] == "evaluations/kinds-ours-finetune-0.25.json"
    assert record["rows"][0]["linear"] == pytest.approx(score.linear)
    assert run.summary == summary
    assert "Evaluations that were kept" in (run.folder / "report.html").read_text()
    assert training_time(run.folder / "journal.jsonl")["pretrain_seconds"] == summary["timing"]["pretrain_seconds"]
    assert tiny(tmp_path / "kinds.npz", run.folder, epochs=1).finished


def test_an_evaluation_never_takes_the_place_of_one_of_other_data_or_another_protocol(tmp_path: Path) -> None:
    run = tiny(file_of(tmp_path / "kinds.npz", 1), tmp_path / "run", epochs=1)
    (tmp_path / "new").mkdir()
    other = tmp_path / "new" / "kinds.npz"
    np.savez(other, images=two_kinds(60, 5)[0], labels=two_kinds(60, 5)[1])
    first = run.evaluate().kept
    assert run.evaluate(other).kept == run.folder / "evaluations" / "kinds-ours-2.json"
    assert run.evaluate(sgd_linear=True).kept == run.folder / "evaluations" / "kinds-ours-sgd-linear.json"
    assert run.evaluate().kept == first
    objects = [TensorDataset(*two_kinds(60, seed)) for seed in (6, 7, 6)]
    names = [str(run.evaluate(one).kept) for one in objects]
    assert [Path(name).name for name in names] == [f"TensorDataset-ours{end}.json" for end in ("", "-2", "")]
    assert len(list((run.folder / "evaluations").iterdir())) == 5
    assert len(kept(run)) == 7


def test_a_folder_that_cannot_be_written_is_noticed_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny(file_of(tmp_path / "kinds.npz", 1), tmp_path / "run", epochs=1)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    monkeypatch.setattr("barlow.runs.run.measure", None)
    with pytest.raises(ValueError, match=r"keep: '.*run' cannot be written to, wanted keep=False"):
        run.evaluate()


def test_the_command_says_where_the_evaluation_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny(file_of(tmp_path / "kinds.npz", 1), tmp_path / "run", epochs=1).folder
    for words, said in ((["--no-keep"], False), ([], True)):
        with pytest.raises(SystemExit, match="0"):
            main(["evaluate", str(folder), *words])
        assert (f"kept: {folder / 'evaluations' / 'kinds-ours.json'}\n" in capsys.readouterr().out) is said


def test_a_run_with_views_of_its_own_is_exported_to_onnx_or_says_how(tmp_path: Path) -> None:
    views = image_views("small-grey", size=8, channels=1, mean=(0.5,), std=(0.2,))
    run = tiny(two_kinds(64, 0)[0], tmp_path / "run", views=views, backbone=Pooled(), epochs=1)
    with pytest.raises(
        ValueError, match=r"to: 'timm' cannot hold .* Pooled is a network of your own; wanted: to='onnx'"
    ):
        run.export("timm", tmp_path / "out")
    with pytest.raises(ValueError, match=r"to: got 'onxn', wanted one of timm, smp, onnx; did you mean 'onnx'"):
        run.export("onxn", tmp_path / "out")
    run.export("onnx", tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx").stat().st_size > 100
    record = json.loads((run.folder / "recipe.json").read_text())  # runs of before did not say what the network takes
    del record["data"]["input_shape"]
    (run.folder / "recipe.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=re.escape("barlow.export_onnx(run.backbone, example, path)")):
        run.export("onnx", tmp_path / "other.onnx")
