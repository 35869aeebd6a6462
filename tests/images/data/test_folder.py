import errno
import multiprocessing
import os
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from barlow.data.arrays import ArraySource
from barlow.data.bad_samples import BadDataError
from barlow.data.memory import FillingSource
from barlow.data.packed_paths import PackedPaths
from barlow.data.streaming import StreamSource
from barlow.images.data.folder import folder_source, index_folder, split_folders
from barlow.images.data.load import load_source
from barlow.images.data.options import LoadOptions
from barlow.seams import Source
from tests.images.data.making import Pixels, png, write_folder, write_image

IN_MEMORY: dict[str, Any] = {}
STREAMED: dict[str, Any] = {"memory_budget": 0, "num_workers": 0}
IN_MEMORY_AND_STREAMED = pytest.mark.parametrize("options", [IN_MEMORY, STREAMED], ids=["in memory", "streamed"])


def opened(root: Path, **options: Any) -> ArraySource | FillingSource | StreamSource:
    return folder_source(root, LoadOptions(**options))


def read_all(source: Source) -> list[torch.Tensor]:
    return [image for batch in source.batches(range(len(source)), 7) for image in batch.samples]


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_images_are_found_at_any_depth_in_sorted_order(tmp_path: Path) -> None:
    touch(tmp_path, "b/x.JPG", "a/deep/er/y.png", "z.webp", "a/b.tiff", "a/a.gif", "m.bmp", "folder.jpg/n.jpeg")
    found = list(index_folder(tmp_path).paths)
    assert found == [
        "a/a.gif",
        "a/b.tiff",
        "a/deep/er/y.png",
        "b/x.JPG",
        "folder.jpg/n.jpeg",
        "m.bmp",
        "z.webp",
    ]


def test_other_files_are_counted_by_ending_and_hidden_ones_are_not_seen(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.txt", "c.TXT", "LICENSE", ".hidden.png", ".git/d.png", "__MACOSX/._a.png")
    index = index_folder(tmp_path)
    assert list(index.paths) == ["a.png"]
    assert index.ignored == {".txt": 2, "no ending": 1}


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    root = tmp_path / "root"
    touch(root, "real/a.png", "other/b.png")
    touch(tmp_path, "outside/c.png", "outside/deeper/d.png")
    (root / "real" / "up").symlink_to(root)
    (root / "a_link_to_real").symlink_to(root / "real")
    (root / "far").symlink_to(tmp_path / "outside")
    (tmp_path / "outside" / "deeper" / "back").symlink_to(tmp_path / "outside")
    (root / "file.png").symlink_to(root / "real" / "a.png")
    found = list(index_folder(root).paths)
    assert found == ["far/c.png", "far/deeper/d.png", "file.png", "other/b.png", "real/a.png"]


def test_broken_links_are_listed_so_that_they_become_bad_samples(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert list(index_folder(tmp_path).paths) == ["gone.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_pipes_named_like_images_are_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    index = index_folder(tmp_path)
    assert len(index.paths) == 0
    assert index.ignored == {".png": 1}


def test_a_folder_that_cannot_be_opened_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "open/a.png", "locked/b.png")
    scan = os.scandir

    def refuse(place: Path) -> object:
        if place.name == "locked":
            raise PermissionError("locked")
        return scan(place)

    monkeypatch.setattr(os, "scandir", refuse)
    index = index_folder(tmp_path)
    assert list(index.paths) == ["open/a.png"]
    assert index.ignored == {"folders that cannot be opened": 1}


@pytest.mark.parametrize("count", [2_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_hundred_thousand_paths_are_indexed_in_under_five_seconds(tmp_path: Path, count: int) -> None:
    for folder in range(10):
        place = str(tmp_path / f"class{folder}")
        os.mkdir(place)  # noqa: PTH102 - strings, because making the files is the slow part of this test
        for number in range(count // 10):
            os.close(os.open(f"{place}/{number:06d}.jpg", os.O_CREAT))
    times = []
    for _ in range(3):
        start = time.process_time()  # of the processor, files included: what other programs do does not count
        index = index_folder(tmp_path)
        folders = index.first_folders()
        times.append(time.process_time() - start)
    assert len(index.paths) == count
    assert len(set(folders)) == 10
    assert min(times) < 5 * count / 100_000


def test_paths_keep_any_name_and_travel_to_other_processes(tmp_path: Path) -> None:
    names = ["plain.png", "", "Größe/日本.jpg", os.fsdecode(b"not-utf8-\xff.png")]
    paths = pickle.loads(pickle.dumps(PackedPaths(names)))
    assert list(paths) == names
    assert paths[2] == names[2]
    with pytest.raises(IndexError):
        paths[4]


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (["train", "test"], {"train": "train", "test": "test"}),
        (["Training", "Validation"], {"train": "Training", "val": "Validation", "test": "Validation"}),
        (["train", "val", "test", "extra"], {"train": "train", "val": "val", "test": "test"}),
        (["train"], {"train": "train"}),
        (["train", "car", "bus"], {}),
        (["test", "val"], {}),
        (["cats", "dogs"], {}),
        ([], {}),
    ],
)
def test_split_folders_are_known_by_name(tmp_path: Path, folders: list[str], splits: dict[str, str]) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir()
    assert split_folders(tmp_path) == splits


@IN_MEMORY_AND_STREAMED
def test_a_folder_without_classes_gives_its_images_in_order(tmp_path: Path, options: dict[str, Any]) -> None:
    written = write_folder(tmp_path / "photos", 9)
    source = opened(tmp_path / "photos", **options)
    assert isinstance(source, StreamSource if options is STREAMED else ArraySource)
    assert source.name == "photos"
    assert len(source) == 9
    assert source.labels is None
    assert list(source.class_names) == []
    assert source.describe(3) == f"{tmp_path}/photos/0003.png"
    for image, pixels in zip(read_all(source), written, strict=True):
        assert torch.equal(image, torch.from_numpy(pixels).permute(2, 0, 1))
    assert isinstance(source, Source)


@IN_MEMORY_AND_STREAMED
def test_images_of_different_sizes_come_as_a_list_and_equal_ones_stacked(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    for number in range(6):
        write_image(tmp_path / f"{number}.png", size=(10, 8) if number < 3 else (12, 6), seed=number)
    source = opened(tmp_path, **options)
    equal, mixed, other = list(source.batches([0, 1, 2, 3, 5, 4], 2))
    assert equal.samples.shape == (2, 3, 8, 10)
    assert isinstance(mixed.samples, list)
    assert [image.shape for image in mixed.samples] == [(3, 8, 10), (3, 6, 12)]
    assert other.samples.shape == (2, 3, 6, 12)
    assert other.indices.tolist() == [5, 4]


def test_class_folders_give_labels_at_any_depth(tmp_path: Path) -> None:
    write_folder(tmp_path / "dog", 2)
    write_folder(tmp_path / "cat" / "deeper", 3)
    source = opened(tmp_path)
    assert source.labels is not None
    assert source.labels.tolist() == [0, 0, 0, 1, 1]
    assert list(source.class_names) == ["cat", "dog"]
    assert opened(tmp_path, labels="none").labels is None


def test_an_image_beside_the_class_folders_means_no_labels(tmp_path: Path) -> None:
    write_folder(tmp_path / "dog", 2)
    write_folder(tmp_path / "cat", 2)
    write_folder(tmp_path, 1)
    assert opened(tmp_path).labels is None
    with pytest.raises(ValueError, match="labels: required, but there are none: 1 images lie in"):
        opened(tmp_path, labels="required")


def test_one_folder_or_a_folder_per_image_is_no_class(tmp_path: Path) -> None:
    write_folder(tmp_path / "one" / "all", 4)
    assert opened(tmp_path / "one").labels is None
    for number in range(4):
        write_folder(tmp_path / "each" / str(number), 1)
    assert opened(tmp_path / "each").labels is None


def test_split_folders_share_the_numbers_of_their_classes(tmp_path: Path) -> None:
    for name, count in (
        ("train/ant", 2),
        ("train/bee", 2),
        ("train/cow", 2),
        ("test/bee", 2),
        ("test/cow", 3),
    ):
        write_folder(tmp_path / name, count)
    train, test = opened(tmp_path), opened(tmp_path, split="test")
    assert train.labels is not None
    assert test.labels is not None
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert test.labels.tolist() == [1, 1, 2, 2, 2]
    assert train.class_names == test.class_names == ("ant", "bee", "cow")
    assert train.name == test.name == tmp_path.name


def test_splits_without_classes_are_splits_too(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", 3)
    write_folder(tmp_path / "val", 2)
    assert [len(opened(tmp_path, split=split)) for split in ("train", "val", "test")] == [3, 2, 2]
    assert opened(tmp_path).labels is None


def test_a_split_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    write_folder(tmp_path, 2)
    with pytest.raises(
        ValueError, match=r"split: got 'test', which is not in .*: it has no folders named train and test"
    ):
        opened(tmp_path, split="test")


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", 2)
    write_folder(tmp_path / "test", 2)
    write_folder(tmp_path / "extra", 2)
    (tmp_path / "train" / "list.csv").touch()
    notes = opened(tmp_path).notes
    assert notes[0].endswith(f"files in {tmp_path}/train that are no images, left out: 1, by ending .csv (1)")
    assert notes[1] == "folders beside the splits are left out: extra"


def test_too_few_images_are_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data: no images in .*, wanted at least 2 .*\.jpg"):
        opened(tmp_path)
    (tmp_path / "table.csv").touch()
    with pytest.raises(ValueError, match=r"data: no images in .* beside 1 other files"):
        opened(tmp_path)
    write_folder(tmp_path, 1)
    with pytest.raises(ValueError, match="data: 1 image in"):
        opened(tmp_path)
    assert len(opened(tmp_path, min_samples=1)) == 1


@IN_MEMORY_AND_STREAMED
def test_all_grey_files_give_one_channel_and_a_stray_colour_is_turned_grey(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    write_folder(tmp_path, 300, grey=True, size=(3, 3))
    stray = tmp_path / "0000.png"
    write_image(stray, size=(3, 3))
    source = opened(tmp_path, **options)
    batch = next(iter(source.batches([0, 1], 2)))
    assert batch.samples.shape == (2, 1, 3, 3)
    assert torch.equal(batch.samples[0, 0], torch.tensor(list(Image.open(stray).convert("L").tobytes())).view(3, 3))


def test_one_colour_among_few_grey_ones_makes_three_channels(tmp_path: Path) -> None:
    write_folder(tmp_path, 5, grey=True)
    write_image(tmp_path / "colour.png")
    assert {len(image) for image in read_all(opened(tmp_path))} == {3}
    assert {len(image) for image in read_all(opened(tmp_path, channels=1))} == {1}


def test_the_short_side_is_capped_while_decoding(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg", size=(200, 100))
    write_image(tmp_path / "b.png", size=(30, 90))
    first, second = read_all(opened(tmp_path, decode_size=40))
    assert first.shape == (3, 40, 80)
    assert second.shape == (3, 90, 30)


def break_files(root: Path, count: int) -> None:
    for number in range(count):
        path = root / f"{number:04d}.png"
        path.write_bytes(path.read_bytes()[:60] if number % 2 else b"")


@IN_MEMORY_AND_STREAMED
def test_a_few_bad_files_are_left_out_and_the_others_keep_their_positions(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    written = write_folder(tmp_path, 200, size=(4, 4))
    break_files(tmp_path, 2)
    source = opened(tmp_path, **options)
    batches = list(source.batches([0, 5, 1, 6], 2))
    assert [batch.indices.tolist() for batch in batches] == [[5], [6]]
    assert torch.equal(batches[0].samples[0], torch.from_numpy(written[5]).permute(2, 0, 1))
    assert len(source) == 200
    assert source.bad.keys() == {0, 1}
    assert source.bad[0] == "the file is empty"


def test_a_batch_of_nothing_but_bad_files_is_not_yielded(tmp_path: Path) -> None:
    write_folder(tmp_path, 200, size=(4, 4))
    break_files(tmp_path, 2)
    for options in (IN_MEMORY, STREAMED):
        batches = list(opened(tmp_path, **options).batches([0, 1, 2], 1))
        assert [batch.indices.tolist() for batch in batches] == [[2]]


@IN_MEMORY_AND_STREAMED
def test_more_than_one_percent_of_bad_files_stops_and_names_them(tmp_path: Path, options: dict[str, Any]) -> None:
    write_folder(tmp_path, 200, size=(4, 4))
    break_files(tmp_path, 4)
    with pytest.raises(BadDataError, match=r"4 of .* samples cannot be read.*0000\.png \(the file is empty\); .*0001"):
        list(opened(tmp_path, **options).batches(range(200), 50))


@IN_MEMORY_AND_STREAMED
def test_a_broken_file_among_few_is_left_out(tmp_path: Path, options: dict[str, Any]) -> None:
    write_folder(tmp_path, 41, size=(4, 4))
    break_files(tmp_path, 1)
    source = opened(tmp_path, **options)
    assert sum(len(batch.indices) for batch in source.batches(range(41), 8)) == 40
    assert source.bad == {0: "the file is empty"}


def test_a_picture_over_the_limit_of_pillow_is_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path, 4, size=(4, 4))
    Image.new("L", (60, 60)).save(tmp_path / "vast.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # refused from twice that
    source = opened(tmp_path, num_workers=0)
    assert len(source) == 5
    (reason,) = source.bad.values()
    assert reason == "3600 pixels, wanted at most 2000: Pillow decodes no larger ones"
    assert source.describe(next(iter(source.bad))).endswith("vast.png")


@pytest.mark.skipif(os.name != "posix", reason="links to themselves")
def test_a_link_to_itself_is_left_out_and_counted(tmp_path: Path) -> None:
    write_folder(tmp_path, 4, size=(4, 4))
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "loop").symlink_to("loop")
    source = opened(tmp_path)
    assert sum(len(batch.indices) for batch in source.batches(range(len(source)), 8)) == 4
    (reason,) = source.bad.values()
    assert reason == os.strerror(errno.ELOOP)
    assert any("no ending (1)" in note for note in source.notes)


def test_a_list_of_paths_is_read_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = write_folder(tmp_path / "photos", 3, size=(4, 4))
    monkeypatch.chdir(tmp_path)
    paths = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.png"))
    for given in ([paths[2], paths[0]], (str(paths[2]), str(paths[0].absolute()))):
        source = load_source(given)
        (batch,) = source.batches([0, 1], 2)
        assert torch.equal(batch.samples[0], torch.from_numpy(written[2]).permute(2, 0, 1))
        assert source.describe(1) == str(tmp_path / paths[0])
        assert source.name == "photos"
    with pytest.raises(ValueError, match="data: got 1 paths, wanted at least 2 image files"):
        load_source(paths[:1])
    assert len(load_source(str(paths[0]), min_samples=1)) == 1
    assert load_source([*paths, "none.png"]).bad == {3: "No such file or directory"}


def test_a_folder_of_text_with_the_endings_of_images_stops_too(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_text("text")
    with pytest.raises(BadDataError, match="3 of 3 samples"):
        opened(tmp_path)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning", "ignore:This DataLoader will:UserWarning")
def test_workers_read_the_same_images_and_are_gone_once_a_folder_is_in_memory(tmp_path: Path) -> None:
    write_folder(tmp_path, 150, size=(5, 4))
    with_workers = opened(tmp_path, num_workers=2)
    assert multiprocessing.active_children() == []
    without = opened(tmp_path, num_workers=0)
    assert torch.equal(torch.stack(read_all(with_workers)), torch.stack(read_all(without)))


def test_readers_travel_to_processes_that_start_from_nothing(tmp_path: Path) -> None:
    write_folder(tmp_path, 2)
    source = opened(tmp_path, **STREAMED)
    assert isinstance(source, StreamSource)
    reader = pickle.loads(pickle.dumps(source.reader))
    assert torch.equal(reader.read(1), source.reader.read(1))


def test_progress_is_told_while_a_folder_is_read_into_memory(tmp_path: Path) -> None:
    write_folder(tmp_path, 100, size=(4, 4))
    told: list[tuple[int, int]] = []
    opened(tmp_path, num_workers=0, progress=lambda done, total: told.append((done, total)))
    assert told == [(64, 100), (100, 100)]


def test_a_folder_above_the_memory_budget_is_streamed(tmp_path: Path) -> None:
    write_folder(tmp_path, 10, size=(20, 10))
    needed = 10 * 20 * 10 * 3
    assert isinstance(opened(tmp_path, memory_budget=needed), ArraySource)
    assert isinstance(opened(tmp_path, memory_budget=needed - 1), StreamSource)


def write_deep(folder: Path, tops: list[float], suffix: str = ".png", dtype: str = "uint16") -> list[Pixels]:
    """Write grey images of more than 8 bits with the largest values `tops`."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [np.linspace(0, top, 200).reshape(10, 20).astype(dtype) for top in tops]
    for number, pixels in enumerate(written):
        Image.fromarray(pixels).save(folder / f"{number:03d}{suffix}")
    return written


@IN_MEMORY_AND_STREAMED
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_twelve_bit_images_keep_their_grey_levels_and_the_journal_is_told(
    tmp_path: Path, suffix: str, options: dict[str, Any]
) -> None:
    written = write_deep(tmp_path, [300, 3000, 4000], suffix)
    source = opened(tmp_path, **options)
    for image, pixels in zip(read_all(source), written, strict=True):
        assert torch.equal(image[0], torch.from_numpy(np.rint(pixels * (255 / 4095)).astype(np.uint8)))
    (note,) = source.notes
    assert "read as 12 bits, 0 to 4095 become 0 to 255: 4000 is the largest value of 3 images looked at" in note


def test_splits_of_a_folder_share_one_scale(tmp_path: Path) -> None:
    write_deep(tmp_path / "train", [4000, 4000])
    write_deep(tmp_path / "test", [1000, 1000])
    for split, top in (("train", 249), ("test", 62)):
        source = opened(tmp_path, split=split)
        assert [int(image.max()) for image in read_all(source)] == [top, top]
        assert "4000 is the largest value of 4 images looked at" in source.notes[0]


def test_a_broken_image_beyond_8_bits_does_not_hinder_the_look_at_the_others(tmp_path: Path) -> None:
    write_deep(tmp_path, [3000] * 101)
    broken = tmp_path / "001.png"
    broken.write_bytes(broken.read_bytes()[:80])
    source = opened(tmp_path)
    assert list(source.bad) == [1]
    assert "of 100 images looked at" in source.notes[0]


def test_few_bright_pictures_among_many_dim_ones_keep_their_structure(tmp_path: Path) -> None:
    write_deep(tmp_path, [60000 if number % 101 == 50 else 900 for number in range(303)])
    source = opened(tmp_path, num_workers=0)
    bright = [image for image in read_all(source) if int(image.max()) > 100]
    assert [len(image.unique()) for image in bright] == [200] * 3
    assert source.reading["white_level"] == {"integer": 65535}
    assert source.lost == {}


def test_what_is_brighter_than_the_files_looked_at_is_clipped_counted_and_where_it_is_too_much_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barlow.images.data.encoded.NUM_BIT_DEPTHS", 2)
    write_deep(tmp_path, [4500, 4000, 4000, 60000, *[4000] * 200])
    source = opened(tmp_path, **STREAMED)
    list(source.batches(range(204), 50))
    assert source.reading["white_level"] == {"integer": 4095}
    assert source.lost == {"pixel values above 4095, which became white": {0: 18}}
    assert source.bad[3].startswith("pixel values from 0 to 60000, wanted 0 to 4095")
    assert source.bad.keys() == {3}


@IN_MEMORY_AND_STREAMED
def test_one_value_above_1_leaves_fractions_in_tiff_fractions(tmp_path: Path, options: dict[str, Any]) -> None:
    for top in (1.0, 1.00005, 1.2):
        folder = tmp_path / str(top)
        write_deep(folder, [0.9] * 11, ".tif", "float32")
        pixels = np.linspace(0.1, 0.9, 200, dtype=np.float32).reshape(10, 20)
        pixels[0, 0] = top
        Image.fromarray(pixels).save(folder / "bright.tif")
        source = opened(folder, **options)
        assert len(read_all(source)[-1].unique()) > 180
        assert source.reading["white_level"] == {"floating": 1}
        assert bool(source.lost) == (top == 1.2)


def test_a_white_that_is_said_or_of_a_run_is_not_told_anew(tmp_path: Path) -> None:
    write_deep(tmp_path, [900, 800])
    of_run = {"white_level": {"integer": 65535}, "decode_size": 448}
    for asked, white in (({"white_level": 2000}, 2000), ({"facts": of_run}, 65535), ({}, 1023)):
        source = load_source(tmp_path, num_workers=0, **asked)
        assert [int(image.max()) for image in read_all(source)] == [round(top * 255 / white) for top in (900, 800)]
        assert getattr(source, "reading")["white_level"] == {"integer": white}  # noqa: B009 (not of the protocol)
    with pytest.raises(BadDataError, match=r"pixel values from 0 to 900, wanted 0 to 255 .*--white-level"):
        load_source(tmp_path, num_workers=0, facts={"white_level": {}})
    old = load_source(tmp_path, num_workers=0, facts={"image_shape": [1, 10, 20]})
    assert "recipe.json of the run does not say which value was white" in getattr(old, "notes")[-1]  # noqa: B009


@pytest.mark.parametrize("largest", [1.0, 255.0])
def test_fractions_in_tiff_have_one_scale_too(tmp_path: Path, largest: float) -> None:
    write_deep(tmp_path, [0.4, largest, 0.8], ".tif", "float32")
    tops = [int(image.max()) for image in read_all(opened(tmp_path))]
    assert tops == [round(top / largest * 255) for top in (0.4, largest, 0.8)]


def test_colour_of_sixteen_bits_of_which_half_is_lost_is_told_of(tmp_path: Path) -> None:
    for number in range(3):
        rows = b"".join(b"\0" + bytes(range(12)) for _ in range(2))
        (tmp_path / f"{number}.png").write_bytes(png(2, 2, 16, 2, rows))
    (note,) = opened(tmp_path).notes
    assert "16 bits per channel" in note
    assert "upper 8" in note


def test_paths_stand_in_the_order_of_their_text_whatever_folders_are_called(tmp_path: Path) -> None:
    names = [
        *("b.png", "a-/1.png", "a/2.png", "a/b/3.png", "a/b-.png"),
        *("a/c.png", "a0/4.png", "ab.png", "b/é.png", "a.png"),
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    index = index_folder(tmp_path)
    assert list(index.paths) == sorted(names)
    assert [folder for folder, number in index.runs for _ in range(number)] == [
        name.rpartition("/")[0] for name in sorted(names)
    ]
    assert index.first_folders() == {"": 3, "a": 4, "a-": 1, "a0": 1, "b": 1}
