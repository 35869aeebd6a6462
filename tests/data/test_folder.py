import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from barlow.data.arrays import ArraySource
from barlow.data.bad_samples import BadDataError
from barlow.data.folder import folder_source
from barlow.data.reading import Reading
from barlow.data.source import Source
from barlow.data.streaming import StreamSource
from tests.data.making import Pixels, png, write_folder, write_picture

STREAMED = Reading(memory_budget=0, num_workers=0)


def read_all(source: Source) -> list[torch.Tensor]:
    return [picture for batch in source.batches(range(len(source)), 7) for picture in batch.samples]


@pytest.mark.parametrize("reading", [Reading(), STREAMED])
def test_a_folder_without_classes_gives_its_pictures_in_order(tmp_path: Path, reading: Reading) -> None:
    written = write_folder(tmp_path / "photos", 9)
    source = folder_source(tmp_path / "photos", reading=reading)
    assert isinstance(source, StreamSource if reading is STREAMED else ArraySource)
    assert source.name == "photos"
    assert len(source) == 9
    assert source.labels is None
    assert list(source.class_names) == []
    assert source.describe(3) == f"{tmp_path}/photos/0003.png"
    for picture, pixels in zip(read_all(source), written, strict=True):
        assert torch.equal(picture, torch.from_numpy(pixels).permute(2, 0, 1))
    assert isinstance(source, Source)


@pytest.mark.parametrize("reading", [Reading(), STREAMED])
def test_pictures_of_different_sizes_come_as_a_list_and_equal_ones_stacked(tmp_path: Path, reading: Reading) -> None:
    for number in range(6):
        write_picture(tmp_path / f"{number}.png", size=(10, 8) if number < 3 else (12, 6), seed=number)
    source = folder_source(tmp_path, reading=reading)
    equal, mixed, other = list(source.batches([0, 1, 2, 3, 5, 4], 2))
    assert equal.samples.shape == (2, 3, 8, 10)
    assert isinstance(mixed.samples, list)
    assert [picture.shape for picture in mixed.samples] == [(3, 8, 10), (3, 6, 12)]
    assert other.samples.shape == (2, 3, 6, 12)
    assert other.indices.tolist() == [5, 4]


def test_class_folders_give_labels_at_any_depth(tmp_path: Path) -> None:
    write_folder(tmp_path / "dog", 2)
    write_folder(tmp_path / "cat" / "deeper", 3)
    source = folder_source(tmp_path)
    assert source.labels is not None
    assert source.labels.tolist() == [0, 0, 0, 1, 1]
    assert list(source.class_names) == ["cat", "dog"]
    assert folder_source(tmp_path, labels="none").labels is None


def test_a_picture_beside_the_class_folders_means_no_labels(tmp_path: Path) -> None:
    write_folder(tmp_path / "dog", 2)
    write_folder(tmp_path / "cat", 2)
    write_folder(tmp_path, 1)
    assert folder_source(tmp_path).labels is None
    with pytest.raises(ValueError, match="labels: required, but there are none: 1 pictures lie in"):
        folder_source(tmp_path, labels="required")


def test_one_folder_or_a_folder_per_picture_is_no_class(tmp_path: Path) -> None:
    write_folder(tmp_path / "one" / "all", 4)
    assert folder_source(tmp_path / "one").labels is None
    for number in range(4):
        write_folder(tmp_path / "each" / str(number), 1)
    assert folder_source(tmp_path / "each").labels is None


def test_split_folders_share_the_numbers_of_their_classes(tmp_path: Path) -> None:
    for name, count in (
        ("train/ant", 2),
        ("train/bee", 2),
        ("train/cow", 2),
        ("test/bee", 2),
        ("test/cow", 3),
    ):
        write_folder(tmp_path / name, count)
    train, test = folder_source(tmp_path), folder_source(tmp_path, split="test")
    assert train.labels is not None
    assert test.labels is not None
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert test.labels.tolist() == [1, 1, 2, 2, 2]
    assert train.class_names == test.class_names == ("ant", "bee", "cow")
    assert train.name == test.name == tmp_path.name


def test_splits_without_classes_are_splits_too(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", 3)
    write_folder(tmp_path / "val", 2)
    assert [len(folder_source(tmp_path, split=split)) for split in ("train", "val", "test")] == [3, 2, 2]
    assert folder_source(tmp_path).labels is None


def test_a_split_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    write_folder(tmp_path, 2)
    with pytest.raises(ValueError, match=r"split: no 'test' in .*: it has no folders named train and test"):
        folder_source(tmp_path, split="test")


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", 2)
    write_folder(tmp_path / "test", 2)
    write_folder(tmp_path / "extra", 2)
    (tmp_path / "train" / "list.csv").touch()
    notes = folder_source(tmp_path).notes
    assert notes[0].endswith(f"files in {tmp_path}/train that are no pictures, left out: 1, by ending .csv (1)")
    assert notes[1] == "folders beside the splits are left out: extra"


def test_too_few_pictures_are_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data: no pictures in .*, wanted at least 2 .*\.jpg"):
        folder_source(tmp_path)
    (tmp_path / "table.csv").touch()
    with pytest.raises(ValueError, match=r"data: no pictures in .* beside 1 other files"):
        folder_source(tmp_path)
    write_folder(tmp_path, 1)
    with pytest.raises(ValueError, match="data: 1 picture in"):
        folder_source(tmp_path)
    assert len(folder_source(tmp_path, reading=Reading(min_samples=1))) == 1


@pytest.mark.parametrize("reading", [Reading(), STREAMED])
def test_all_grey_files_give_one_channel_and_a_stray_colour_is_turned_grey(tmp_path: Path, reading: Reading) -> None:
    write_folder(tmp_path, 300, grey=True, size=(3, 3))
    stray = tmp_path / "0000.png"
    write_picture(stray, size=(3, 3))
    source = folder_source(tmp_path, reading=reading)
    batch = next(iter(source.batches([0, 1], 2)))
    assert batch.samples.shape == (2, 1, 3, 3)
    assert torch.equal(batch.samples[0, 0], torch.tensor(list(Image.open(stray).convert("L").tobytes())).view(3, 3))


def test_one_colour_among_few_grey_ones_makes_three_channels(tmp_path: Path) -> None:
    write_folder(tmp_path, 5, grey=True)
    write_picture(tmp_path / "colour.png")
    assert {len(picture) for picture in read_all(folder_source(tmp_path))} == {3}
    assert {len(picture) for picture in read_all(folder_source(tmp_path, reading=Reading(channels=1)))} == {1}


def test_the_short_side_is_capped_while_decoding(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg", size=(200, 100))
    write_picture(tmp_path / "b.png", size=(30, 90))
    first, second = read_all(folder_source(tmp_path, reading=Reading(decode_size=40)))
    assert first.shape == (3, 40, 80)
    assert second.shape == (3, 90, 30)


def break_files(root: Path, count: int) -> None:
    for number in range(count):
        path = root / f"{number:04d}.png"
        path.write_bytes(path.read_bytes()[:60] if number % 2 else b"")


@pytest.mark.parametrize("reading", [Reading(), STREAMED])
def test_a_few_bad_files_are_left_out_and_the_others_keep_their_positions(tmp_path: Path, reading: Reading) -> None:
    written = write_folder(tmp_path, 200, size=(4, 4))
    break_files(tmp_path, 2)
    source = folder_source(tmp_path, reading=reading)
    batches = list(source.batches([0, 5, 1, 6], 2))
    assert [batch.indices.tolist() for batch in batches] == [[5], [6]]
    assert torch.equal(batches[0].samples[0], torch.from_numpy(written[5]).permute(2, 0, 1))
    assert len(source) == 200
    assert source.bad.keys() == {0, 1}
    assert source.bad[0] == "the file is empty"


def test_a_batch_of_nothing_but_bad_files_is_not_yielded(tmp_path: Path) -> None:
    write_folder(tmp_path, 200, size=(4, 4))
    break_files(tmp_path, 2)
    for reading in (Reading(), STREAMED):
        batches = list(folder_source(tmp_path, reading=reading).batches([0, 1, 2], 1))
        assert [batch.indices.tolist() for batch in batches] == [[2]]


@pytest.mark.parametrize("reading", [Reading(), STREAMED])
def test_more_than_one_percent_of_bad_files_stops_and_names_them(tmp_path: Path, reading: Reading) -> None:
    write_folder(tmp_path, 200, size=(4, 4))
    break_files(tmp_path, 3)
    with pytest.raises(BadDataError, match=r"3 of .* samples cannot be read.*0000\.png \(the file is empty\); .*0001"):
        list(folder_source(tmp_path, reading=reading).batches(range(200), 50))


def test_a_folder_of_text_with_the_endings_of_pictures_stops_too(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_text("text")
    with pytest.raises(BadDataError, match="3 of 3 samples"):
        folder_source(tmp_path)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning", "ignore:This DataLoader will:UserWarning")
def test_workers_read_the_same_pictures_and_are_gone_once_a_folder_is_in_memory(tmp_path: Path) -> None:
    write_folder(tmp_path, 150, size=(5, 4))
    with_workers = folder_source(tmp_path, reading=Reading(num_workers=2))
    assert multiprocessing.active_children() == []
    without = folder_source(tmp_path, reading=Reading(num_workers=0))
    assert torch.equal(torch.stack(read_all(with_workers)), torch.stack(read_all(without)))


def test_readers_travel_to_processes_that_start_from_nothing(tmp_path: Path) -> None:
    write_folder(tmp_path, 2)
    source = folder_source(tmp_path, reading=STREAMED)
    assert isinstance(source, StreamSource)
    reader = pickle.loads(pickle.dumps(source.reader))
    assert torch.equal(reader.read(1), source.reader.read(1))


def test_progress_is_told_while_a_folder_is_read_into_memory(tmp_path: Path) -> None:
    write_folder(tmp_path, 100, size=(4, 4))
    told: list[tuple[int, int]] = []
    folder_source(tmp_path, reading=Reading(num_workers=0, progress=lambda done, total: told.append((done, total))))
    assert told == [(64, 100), (100, 100)]


def test_a_folder_above_the_memory_budget_is_streamed(tmp_path: Path) -> None:
    write_folder(tmp_path, 10, size=(20, 10))
    needed = 10 * 20 * 10 * 3
    assert isinstance(folder_source(tmp_path, reading=Reading(memory_budget=needed)), ArraySource)
    assert isinstance(folder_source(tmp_path, reading=Reading(memory_budget=needed - 1)), StreamSource)


def write_deep(folder: Path, tops: list[float], suffix: str = ".png", dtype: str = "uint16") -> list[Pixels]:
    """Write grey pictures of more than 8 bits with the largest values `tops`."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [np.linspace(0, top, 200).reshape(10, 20).astype(dtype) for top in tops]
    for number, pixels in enumerate(written):
        Image.fromarray(pixels).save(folder / f"{number:03d}{suffix}")
    return written


@pytest.mark.parametrize("reading", [Reading(), STREAMED])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_twelve_bit_pictures_keep_their_grey_levels_and_the_journal_is_told(
    tmp_path: Path, suffix: str, reading: Reading
) -> None:
    written = write_deep(tmp_path, [300, 3000, 4000], suffix)
    source = folder_source(tmp_path, reading=reading)
    for picture, pixels in zip(read_all(source), written, strict=True):
        assert torch.equal(picture[0], torch.from_numpy(np.rint(pixels * (255 / 4095)).astype(np.uint8)))
    (note,) = source.notes
    assert "read as 12 bits, 0 to 4095 become 0 to 255: 4000 is the largest value of 3 pictures looked at" in note


def test_splits_of_a_folder_share_one_scale(tmp_path: Path) -> None:
    write_deep(tmp_path / "train", [4000, 4000])
    write_deep(tmp_path / "test", [1000, 1000])
    for split, top in (("train", 249), ("test", 62)):
        source = folder_source(tmp_path, split=split)
        assert [int(picture.max()) for picture in read_all(source)] == [top, top]
        assert "4000 is the largest value of 4 pictures looked at" in source.notes[0]


def test_a_broken_picture_beyond_8_bits_does_not_hinder_the_look_at_the_others(tmp_path: Path) -> None:
    write_deep(tmp_path, [3000] * 101)
    broken = tmp_path / "001.png"
    broken.write_bytes(broken.read_bytes()[:80])
    source = folder_source(tmp_path)
    assert list(source.bad) == [1]
    assert "of 31 pictures looked at" in source.notes[0]


@pytest.mark.parametrize("largest", [1.0, 255.0])
def test_fractions_in_tiff_have_one_scale_too(tmp_path: Path, largest: float) -> None:
    write_deep(tmp_path, [0.4, largest, 0.8], ".tif", "float32")
    tops = [int(picture.max()) for picture in read_all(folder_source(tmp_path))]
    assert tops == [round(top / largest * 255) for top in (0.4, largest, 0.8)]


def test_colour_of_sixteen_bits_of_which_half_is_lost_is_told_of(tmp_path: Path) -> None:
    for number in range(3):
        rows = b"".join(b"\0" + bytes(range(12)) for _ in range(2))
        (tmp_path / f"{number}.png").write_bytes(png(2, 2, 16, 2, rows))
    (note,) = folder_source(tmp_path).notes
    assert "16 bits per channel" in note
    assert "upper 8" in note
