"""What can be done with a finished run: embed, evaluate, audit and export, whatever its pictures are."""

from pathlib import Path

import numpy as np
import pytest
import torch

import barlow
from barlow.auditing.subjects import open_subject
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
