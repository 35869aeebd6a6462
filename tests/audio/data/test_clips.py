"""Clips in memory and clips read by seeking are the same samples; long files are cut, short ones stand in silence."""

from pathlib import Path

import numpy as np
import pytest
import torch

from barlow.audio.data.clips import cut_files, part_start, placed
from barlow.audio.data.decode import Header
from barlow.audio.data.load import load_clips
from barlow.recipes import Recipe
from tests.audio.recordings import RATE, tone, write

RECIPE = Recipe(modality_options={"mels": 16, "seconds": 0.5, "longest": 2.0})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sounds")
    for number, seconds in enumerate((0.2, 0.5, 1.3, 5.0)):
        sound = np.linspace(-0.5, 0.5, round(seconds * RATE)).astype(np.float32)  # each sample tells its place
        write(root / f"{number}.wav", sound, subtype="FLOAT")
    return root


def test_files_longer_than_a_clip_are_cut_into_equal_parts() -> None:
    clips = cut_files([Header(16000, 8000, 1, 1.0), Header(40001, 8000, 1, 1.0), None], longest=2.0)
    assert clips.files.tolist() == [0, 1, 1, 1, 2]
    assert clips.first.tolist() == [0, 0, 13333, 26667, 0]
    assert (clips.first + clips.frames).tolist() == [16000, 13333, 26667, 40001, 0]
    assert clips.cut.tolist() == [False, True, True, True, False]


def test_memory_and_disk_give_the_same_samples(folder: Path) -> None:
    inside, outside = (load_clips(folder, recipe=RECIPE, memory_budget=budget, num_workers=0) for budget in (2**30, 0))
    assert type(inside) is not type(outside)
    assert len(inside) == len(outside) == 6
    for one, other in (
        (inside.batches(range(6), 4), outside.batches(range(6), 4)),
        (inside.seeded_batches(range(6), 4, 3), outside.seeded_batches(range(6), 4, 3)),  # type: ignore[attr-defined]
    ):
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a.samples, b.samples)
            assert torch.equal(a.indices, b.indices)
    assert [inside.describe(k) for k in range(6)] == [outside.describe(k) for k in range(6)]


def test_training_takes_any_part_and_evaluation_the_middle(folder: Path) -> None:
    source = load_clips(folder, recipe=RECIPE)
    middle = next(source.batches([2], 1)).samples[0]
    assert middle[2000] == pytest.approx(0.0, abs=1e-3)
    starts = {
        float(next(source.seeded_batches([2], 1, seed)).samples[0, 0])  # type: ignore[attr-defined]
        for seed in range(20)
    }
    assert len(starts) == 20
    assert min(starts) < -0.4
    assert max(starts) > -0.1
    again = [next(source.seeded_batches(order, 8, 5)) for order in ([2], [0, 2, 1])]  # type: ignore[attr-defined]
    assert torch.equal(again[0].samples[0], again[1].samples[1])  # the seed and the position alone


def test_short_clips_stand_in_the_middle_of_silence() -> None:
    assert placed(torch.ones(3), 6).tolist() == [0, 1, 1, 1, 0, 0]
    assert part_start(10, 4, None) == 3
    assert [part_start(10, 4, share) for share in (0.0, 0.5, 0.999)] == [0, 3, 6]
    assert part_start(3, 4, 0.7) == 0


def test_parts_of_a_file_are_named_by_their_seconds_and_are_one_group(folder: Path) -> None:
    source = load_clips(folder, recipe=RECIPE)
    assert source.describe(4).endswith("3.wav#t=1.67,3.33")
    groups = source.groups.tolist()  # type: ignore[attr-defined]
    assert groups == [0, 1, 2, 3, 3, 3]


def test_what_is_odd_is_counted_apart_and_what_is_broken_is_bad(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / f"good{number}.wav", tone())
    write(tmp_path / "silent.wav", np.zeros(RATE, dtype=np.float32))
    write(tmp_path / "short.wav", tone(seconds=0.01))
    (tmp_path / "broken.wav").write_bytes(b"RIFF nonsense")
    source = load_clips(tmp_path, recipe=RECIPE)
    assert {source.describe(k).rpartition("/")[2] for k in source.bad} == {"broken.wav"}
    assert "is no recording that can be read" in next(iter(source.bad.values()))
    counted = source.lost  # type: ignore[attr-defined]
    assert {what.split()[0] for what in counted} == {"silent", "clips"}
    read = torch.cat([batch.indices for batch in source.batches(range(len(source)), 3)])
    assert len(read) == 6  # silent and short clips stay
