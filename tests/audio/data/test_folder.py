"""A folder is told to be sound by its files; classes, groups and splits are told from it, and notes count the rest."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from barlow.audio.data.load import accepts, load_clips, splits
from barlow.modalities import load_samples, modality_for, modality_named
from barlow.recipes import Recipe
from tests.audio.recordings import RATE, spoken, tone, write

RECIPE = Recipe(modality_options={"mels": 16, "seconds": 0.3})


def test_recordings_are_sound_and_pictures_stay_images(tmp_path: Path) -> None:
    write(tmp_path / "sounds" / "a.flac", tone())
    (tmp_path / "sounds" / "a.txt").write_text("words")
    (tmp_path / "mixed").mkdir()
    for number in range(3):
        Image.new("L", (8, 8)).save(tmp_path / "mixed" / f"{number}.png")
    write(tmp_path / "mixed" / "a.wav", tone())
    assert accepts(tmp_path / "sounds")
    assert modality_for(tmp_path / "sounds").name == "audio"
    assert modality_for(tmp_path / "mixed").name == "images"
    assert modality_for("digits").name == "images"
    assert not accepts(tmp_path / "nothing")


def test_first_folders_are_classes(tmp_path: Path) -> None:
    for name in ("dog", "cat"):
        for number in range(3):
            write(tmp_path / name / f"{number}.wav", tone())
    source = load_clips(tmp_path, recipe=RECIPE)
    assert source.class_names == ("cat", "dog")
    assert source.labels is not None
    assert source.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_table_gives_labels_and_groups(tmp_path: Path) -> None:
    rows = ["file_name,label,speaker"]
    for number in range(4):
        write(tmp_path / "audio" / f"{number}.wav", tone())
        rows.append(f"audio/{number}.wav,{'yes' if number % 2 else 'no'},{'ann' if number < 2 else 'bob'}")
    write(tmp_path / "audio" / "unlisted.wav", tone())
    (tmp_path / "metadata.csv").write_text("\n".join([*rows, "audio/gone.wav,yes,ann"]))
    source = load_clips(tmp_path, recipe=RECIPE)
    assert source.labels is not None
    assert source.labels.tolist() == [0, 1, 0, 1, -1]
    assert source.group_names == ("", "ann", "bob")  # type: ignore[attr-defined]
    said = " ".join(source.notes)  # type: ignore[attr-defined]
    assert "1 of 5 files are not in metadata.csv" in said
    assert "1 rows of metadata.csv name files that are not there" in said


def test_names_of_files_give_labels_and_groups(tmp_path: Path) -> None:
    spoken(tmp_path, takes=2)
    source = load_samples(modality_named("audio"), tmp_path, recipe=RECIPE, labels="{label}_{group}_*")
    assert tuple(source.class_names) == ("high", "low", "mid")
    assert source.group_names == ("ann", "bob", "cem")  # type: ignore[attr-defined]


def test_train_and_test_folders_are_splits(tmp_path: Path) -> None:
    for split, number in (("train", 3), ("test", 2)):
        for place in range(number):
            write(tmp_path / split / f"{place}.wav", tone())
    assert set(splits(tmp_path)) == {"train", "test"}
    assert len(load_clips(tmp_path, recipe=RECIPE, split="test")) == 2
    with pytest.raises(ValueError, match="split: got 'val'"):
        load_clips(tmp_path, recipe=RECIPE, split="val")


def test_other_rates_and_channels_are_said_once_with_their_number(tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path / f"a{number}.wav", tone(), RATE)
    write(tmp_path / "b.wav", tone(rate=44100), 44100)
    write(tmp_path / "c.wav", np.stack([tone(), tone()], axis=1))
    source = load_clips(tmp_path, recipe=RECIPE)
    notes = source.notes  # type: ignore[attr-defined]
    assert sum("resampled" in note for note in notes) == 1
    assert any("1 of 7 recordings are resampled to 8,000 Hz (44,100 Hz: 1)" in note for note in notes)
    assert any("1 of 7 recordings have several channels" in note for note in notes)
    assert source.reading["front_end"]["sample_rate"] == RATE  # type: ignore[attr-defined]


def test_what_is_no_data_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="data: there is no"):
        load_clips(tmp_path / "nothing", recipe=RECIPE)
    with pytest.raises(ValueError, match="data: no recordings in"):
        load_clips(tmp_path, recipe=RECIPE)
    path = write(tmp_path / "a.wav", tone())
    with pytest.raises(ValueError, match="is one recording, wanted a folder"):
        load_clips(path, recipe=RECIPE)
    assert len(load_clips(path, recipe=RECIPE, min_samples=1)) == 1
    with pytest.raises(ValueError, match="sample_rate: clips in memory do not say theirs"):
        load_clips([tone(), tone()], recipe=RECIPE)


def test_without_its_packages_sound_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.wav", tone())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'pip install "barlow\[audio\]"'):
        load_clips(tmp_path, recipe=RECIPE)
