"""What can be done with a finished run: embed, evaluate, audit and export, whatever its pictures are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import barlow
from barlow.auditing.subjects import open_subject
from barlow.cli import main
from barlow.evaluation.features import Features, extract
from tests.test_pretraining import tiny, two_kinds


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
    wanted = r"data: colours has pictures with 3 channels, wanted 4 as the network was trained on"
    for use in (run.evaluate, run.embed, lambda data: run.write_features(data, tmp_path / "h.npz")):
        with pytest.raises(ValueError, match=wanted):
            use(other)
    with pytest.raises(ValueError, match=wanted):
        open_subject(run, other)


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
    used: list[torch.device] = []

    def device_of(accelerator: str) -> torch.device:
        asked.append(accelerator)
        return torch.device("cuda", 0)

    def on_the_cpu(*args: Any, device: torch.device, **options: Any) -> Features:
        used.append(device)
        return extract(*args, **options)

    monkeypatch.setattr("barlow.run.device_of", device_of)
    monkeypatch.setattr("barlow.run.extract", on_the_cpu)
    run = replace(run, backbone=Travelling().eval())
    assert run.embed(two_kinds(6, 2)[0]).shape == (6, 1)
    assert run.write_features(two_kinds(6, 2)[0], tmp_path / "h.npz", accelerator="gpu") == 6
    assert asked == ["auto", "gpu"]
    assert used == [torch.device("cuda", 0)] * 2
    assert run.backbone.journey == ["cuda:0", "cpu"] * 2


def test_networks_and_batches_of_an_evaluation_are_on_the_device_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny(file_of(tmp_path / "kinds.npz", 1), tmp_path / "run", epochs=1)
    moved: list[str] = []

    def noted(samples: Any, device: torch.device) -> Any:
        moved.append(str(device))
        return samples

    monkeypatch.setattr("barlow.run.device_of", lambda accelerator: torch.device("cuda", 0))
    monkeypatch.setattr("barlow.run.to_device", noted)
    run = replace(run, backbone=Travelling().eval())
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
