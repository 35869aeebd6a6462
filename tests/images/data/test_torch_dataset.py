from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from barlow.data.arrays import ArraySource
from barlow.data.bad_samples import BadDataError
from barlow.data.streaming import StreamSource
from barlow.images.data.load import load_source
from barlow.images.data.options import LoadOptions
from barlow.images.data.torch_dataset import dataset_source, labels_of
from tests.images.data.making import noise


def opened(dataset: Any, **options: Any) -> ArraySource | StreamSource:
    return dataset_source(dataset, LoadOptions(**{"num_workers": 0, **options}))


class Items(Dataset[Any]):
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


COLOUR = noise(4, 5, 3)
PLANES = torch.from_numpy(COLOUR).permute(2, 0, 1)


@pytest.mark.parametrize(
    "item",
    [
        PLANES,
        COLOUR,
        PLANES.float() / 255,
        COLOUR.astype(np.float64) / 255,
        Image.fromarray(COLOUR),
        (Image.fromarray(COLOUR), 3),
        [PLANES, {"boxes": []}],
        {"image": PLANES, "label": 2},
        {"img": Image.fromarray(COLOUR)},
        {"photo": PLANES, "label": torch.tensor(2), "caption": "a cat", "boxes": [[1, 2], [3, 4]]},
    ],
)
def test_items_of_every_kind_become_the_same_image(item: Any) -> None:
    source = opened(Items([item, item]))
    (batch,) = source.batches([1, 0], 2)
    assert torch.equal(batch.samples, torch.stack([PLANES, PLANES]))
    assert source.labels is None
    assert source.name == "Items"
    assert source.describe(1) == "item 1"


def test_items_of_different_sizes_come_as_a_list() -> None:
    source = opened(Items([PLANES, PLANES[:, :3]]))
    (batch,) = source.batches([0, 1], 2)
    assert [image.shape for image in batch.samples] == [(3, 4, 5), (3, 3, 5)]


def test_a_mixture_of_grey_and_colour_gets_one_number_of_channels() -> None:
    grey = Image.fromarray(COLOUR[..., 0])
    items = [grey, Image.fromarray(COLOUR), PLANES[:1], PLANES]
    (batch,) = opened(Items(items)).batches(range(4), 4)
    assert batch.samples.shape == (4, 3, 4, 5)
    assert torch.equal(batch.samples[0], batch.samples[2])
    (batch,) = opened(Items([grey, grey])).batches(range(2), 2)
    assert batch.samples.shape == (2, 1, 4, 5)
    (batch,) = opened(Items(items), channels=1).batches(range(4), 4)
    assert (batch.samples[1].int() - batch.samples[3].int()).abs().max() <= 1


def test_items_that_cannot_be_read_are_bad_samples() -> None:
    items: list[Any] = [PLANES] * 300
    items[5] = PLANES.float() * 2 - 1
    items[6] = "a path"
    items[7] = {"left": PLANES, "right": PLANES}
    source = opened(Items(items))
    (batch,) = source.batches(range(10), 10)
    assert batch.indices.tolist() == [0, 1, 2, 3, 4, 8, 9]
    assert source.bad[5].startswith("pixel values from 7 to 495, wanted 0 to 1 (views normalise by themselves)")
    assert "a str, wanted a tensor" in source.bad[6]
    assert "the keys left, right" in source.bad[7]
    with pytest.raises(BadDataError, match="3 of 4 samples"):
        list(opened(Items(items[4:8])).batches(range(4), 4))


def test_items_with_two_views_are_refused_or_noted_and_what_to_do_is_said() -> None:
    nested = Items([([PLANES, PLANES], 0)] * 4)
    with pytest.raises(ValueError, match=r"an item of 2 views, wanted one picture: leave .* pass it as views="):
        opened(nested)
    said = " ".join(opened(Items([(PLANES, PLANES)] * 4)).notes)
    assert "two pictures of one kind, of which the first is read; if they are views" in said
    mask = PLANES[:1]
    assert not opened(Items([(PLANES, mask)] * 4)).notes
    assert not opened(Items([(PLANES, 3)] * 4)).notes


@pytest.mark.parametrize(
    ("item", "found"),
    [
        ({"left": PLANES, "right": PLANES}, "2 came"),
        ({"text": "a cat", "label": torch.tensor(3)}, "0 came"),
        ({}, "0 came"),
    ],
)
def test_items_without_an_image_are_refused_by_their_keys_before_the_first_batch(item: Any, found: str) -> None:
    with pytest.raises(ValueError, match=r"none of the 2 items looked at in Items can be read: item 0") as error:
        opened(Items([item, item]))
    keys = ", ".join(item) or "none"
    assert f"an item with the keys {keys}, wanted an image under image, img, pixel_values or x" in str(error.value)
    assert found in str(error.value)


def deep_items(*tops: int, kind: str) -> list[Any]:
    """Return images of 4 x 5 pixels whose largest values are `tops`, stored with more than 8 bits."""
    values = [np.linspace(0, top, 20).round().astype(np.uint16).reshape(4, 5) for top in tops]
    if kind == "image":
        return [Image.fromarray(value) for value in values]
    return [torch.from_numpy(value.astype(np.int32)) for value in values] if kind == "tensor" else list(values)


@pytest.mark.parametrize("kind", ["array", "tensor", "image"])
def test_images_beyond_8_bits_keep_their_brightness_relations(kind: str) -> None:
    source = opened(Items(deep_items(200, 60000, 65535, kind=kind)))
    (batch,) = source.batches(range(3), 3)
    assert batch.samples.amax((1, 2, 3)).tolist() == [1, 233, 255]
    assert len(source.notes) == 1
    assert "read as 16 bits" in source.notes[0]


@pytest.mark.parametrize("kind", ["array", "tensor", "image"])
def test_twelve_bit_images_keep_their_grey_levels_and_the_journal_is_told(kind: str) -> None:
    items = deep_items(*range(50, 4050, 40), kind=kind)
    source = opened(Items(items))
    (batch,) = source.batches(range(100), 100)
    assert len(batch.samples.unique()) > 200
    assert batch.samples.amax((1, 2, 3)).tolist() == [round(top * 255 / 4095) for top in range(50, 4050, 40)]
    (note,) = source.notes
    assert "read as 12 bits, 0 to 4095 become 0 to 255" in note
    assert "of 100 images looked at, and what is above 4095 is clipped" in note
    assert source.reading["white_level"] == {"integer": 4095}


@pytest.mark.parametrize("kind", ["array", "tensor", "image"])
def test_what_is_brighter_than_the_items_looked_at_is_clipped_and_counted(kind: str) -> None:
    items = deep_items(*[4000] * 600, kind=kind)
    # evenly spaced looks at 256 of 600 leave out the first; a tenth of its values is above
    items[0] = deep_items(4500, kind=kind)[0]
    items[2] = deep_items(60000, kind=kind)[0]
    source = opened(Items(items))
    (batch,) = source.batches([0, 1, 2, 3], 4)
    assert batch.indices.tolist() == [0, 1, 3]
    assert int(batch.samples[0].max()) == 255
    assert source.lost == {"pixel values above 4095, which became white": {0: 2}}
    assert "wanted 0 to 4095" in source.bad[2]


SMOOTH = np.linspace(0.02, 0.98, 60, dtype=np.float32).reshape(3, 4, 5)


def test_floats_of_items_follow_the_one_rule_of_all_data() -> None:
    wanted = np.rint(SMOOTH * 255)
    for values, white in ((SMOOTH, 1), (SMOOTH * 255, 255)):
        source = opened(Items([torch.from_numpy(values)] * 4))
        found = next(source.batches([0], 1)).samples[0]
        assert (found.numpy() - wanted).__abs__().max() <= 1
        assert source.reading["white_level"] == {"floating": white}
        assert f"read with {white} as white" in source.notes[0]
    bright = SMOOTH.copy()
    bright[0, 0, 0] = 1.2
    source = opened(Items([torch.from_numpy(one) for one in [SMOOTH] * 20 + [bright]]))
    list(source.batches(range(21), 21))
    assert source.lost == {"pixel values above 1, which became white": {20: 1}}
    with pytest.raises(ValueError, match=r"from 0.04 to 1.96, .*% of the positive ones above 1; --white-level"):
        opened(Items([torch.from_numpy(SMOOTH * 2)] * 4))


def test_a_white_level_and_an_axis_that_are_said_are_taken() -> None:
    source = load_source(Items([torch.from_numpy(SMOOTH * 2)] * 4), white_level=2, num_workers=0)
    assert (next(source.batches([0], 1)).samples[0].numpy() - np.rint(SMOOTH * 255)).__abs__().max() <= 1
    cube = torch.from_numpy(noise(9, 8, 9))
    with pytest.raises(ValueError, match=r"could be \(N, 9 channels, 8, 9\) or \(N, 9, 8, 9 channels\)"):
        opened(Items([cube] * 4))
    for axis, shape in ((1, (9, 8, 9)), ("last", (9, 9, 8))):
        source = load_source(Items([cube] * 4), channels_axis=axis, num_workers=0)
        assert next(source.batches([0], 1)).samples[0].shape == shape


def test_items_whose_shape_is_clear_speak_for_those_whose_shape_is_not() -> None:
    clear, unclear = noise(5, 8, 3), noise(3, 8, 3, seed=1)  # height, width, channels
    source = opened(Items([clear, unclear]))
    assert torch.equal(next(source.batches([1], 1)).samples[0], torch.from_numpy(unclear).permute(2, 0, 1))
    assert source.reading["channels_axis"] == "last"


def test_whole_numbers_of_8_bits_stay_what_they_are_without_a_note() -> None:
    source = opened(Items(deep_items(200, 90, kind="tensor")))
    assert next(source.batches([0, 1], 2)).samples.amax((1, 2, 3)).tolist() == [200, 90]
    assert source.notes == ()
    assert opened(Items([PLANES, PLANES])).notes == ()


def test_a_data_set_in_memory_is_scaled_as_a_whole_and_says_so() -> None:
    source = opened(TensorDataset(torch.tensor([[[200, 3]], [[4000, 0]]])))
    assert next(source.batches([0, 1], 2)).samples.flatten().tolist() == [12, 0, 249, 0]
    assert "read as 12 bits" in source.notes[0]


class RandomTops(Items):
    """Items whose largest value is random: mostly 10 bits, seldom 12."""

    def __getitem__(self, index: int) -> Any:
        return np.full((4, 5), 4000 if np.random.rand() < 0.02 else 1000, dtype=np.uint16)  # noqa: NPY002


def test_what_is_found_by_looking_is_the_same_each_time_where_items_are_random() -> None:
    state = np.random.get_state()  # noqa: NPY002
    notes = {opened(RandomTops([0] * 50)).notes for _ in range(20)}
    assert len(notes) == 1
    np.testing.assert_equal(np.random.get_state(), state)  # noqa: NPY002


def test_labels_come_from_the_targets_and_never_from_the_items() -> None:
    dataset: Any = Items([(PLANES, 9)] * 3)
    assert labels_of(dataset).values is None
    with pytest.raises(ValueError, match="the dataset has no attribute `targets`"):
        opened(dataset, labels="required")
    dataset.targets, dataset.classes = [1, 0, 1], ["cat", "dog"]
    source = opened(Subset(dataset, [2, 1]))
    assert source.labels is not None
    assert source.labels.tolist() == [1, 0]
    assert list(source.class_names) == ["cat", "dog"]
    dataset.targets, dataset.classes = [-1, -1, -1], None
    assert labels_of(dataset).values is None


class Column(list[Any]):
    """A column of `datasets.Dataset`: a list when all of it is sliced; going over it reads items one by one."""

    def __iter__(self) -> Any:
        raise AssertionError("entry by entry")


class ClassLabel:
    def __init__(self, *names: str) -> None:
        self.names = list(names)


class Table:
    """Items by number, columns by name, as `datasets.Dataset` has them."""

    def __init__(self, columns: dict[str, list[Any]], features: dict[str, Any], transform: Any = None) -> None:
        self.columns, self.features, self.transform = columns, features, transform
        self.column_names = list(columns)

    def __len__(self) -> int:
        return len(self.columns[self.column_names[0]])

    def with_format(self, kind: None) -> "Table":
        return Table(self.columns, self.features)

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, str):
            assert self.transform is None, "a transform makes all columns, images too"
            return Column(self.columns[key])
        item = {name: values[key] for name, values in self.columns.items()}
        return self.transform(item) if self.transform else item


@pytest.mark.parametrize("column", ["label", "labels"])
@pytest.mark.parametrize("transform", [None, lambda item: {"image": np.asarray(item["image"])}])
def test_tables_with_columns_bring_their_labels_and_the_names_of_classes(column: str, transform: Any) -> None:
    images = [Image.fromarray(COLOUR)] * 3
    table = Table({"image": images, column: [1, 0, 1]}, {column: ClassLabel("cat", "dog", "emu")}, transform)
    source = opened(table, labels="required")
    assert torch.equal(next(source.batches([2], 1)).samples[0], PLANES)
    assert source.labels is not None
    assert source.labels.tolist() == [1, 0, 1]
    assert list(source.class_names) == ["cat", "dog", "emu"]
    part = labels_of(Subset(table, [1, 2]))  # type: ignore[arg-type]
    assert part.values is not None
    assert part.values.tolist() == [0, 1]


def test_a_column_of_text_makes_classes_and_one_that_says_nothing_none() -> None:
    images = [PLANES] * 3
    named = opened(Table({"image": images, "label": ["dog", "cat", "dog"]}, {"label": "string"}))
    assert named.labels is not None
    assert named.labels.tolist() == [1, 0, 1]
    assert list(named.class_names) == ["cat", "dog"]
    for values in ([-1, -1, -1], [None, None, None], [[0, 1], [], [2]], [0.5, 0.1, 0.2]):
        table = Table({"image": images, "label": values}, {"label": ClassLabel("cat", "dog")})
        assert opened(table).labels is None
        with pytest.raises(ValueError, match="no attribute `targets` and no column `label` with a class for each item"):
            opened(table, labels="required")
    assert labels_of(Table({"image": images}, {})).values is None


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([PLANES] * 3)


class StreamWithLength(Stream):
    def __len__(self) -> int:
        return 3


@pytest.mark.parametrize("dataset", [Stream(), StreamWithLength(), iter([PLANES])])
def test_datasets_without_items_by_number_are_refused_with_a_way_out(dataset: Any) -> None:
    for make in (opened, load_source):
        with pytest.raises(ValueError, match=r"data: got \w+, which gives its items one after the other") as error:
            make(dataset)
        assert "save them as a folder of images or as a .npy file" in str(error.value)
        assert "wrap them in a dataset with __len__ and __getitem__" in str(error.value)


def test_splits_in_a_dictionary_are_refused_with_their_names() -> None:
    splits = {"train": Items([PLANES] * 3), "test": Items([PLANES] * 2)}
    with pytest.raises(ValueError, match=r"data: got a dict of train, test, wanted one of them, as in data\['train'\]"):
        load_source(splits)


def test_names_of_classes_with_synonyms_are_their_first() -> None:
    dataset: Any = Items([PLANES] * 2)
    dataset.targets, dataset.classes = [0, 1], [("tench", "Tinca tinca"), ("goldfish",)]
    assert labels_of(dataset).class_names == ("tench", "goldfish")


def test_tensor_datasets_and_their_subsets_stay_in_memory() -> None:
    whole = TensorDataset(torch.from_numpy(noise(6, 3, 4, 5)), torch.tensor([0, 1, 2, 0, 1, 2]))
    source = opened(Subset(whole, [4, 2]))
    assert isinstance(source, ArraySource)
    assert torch.equal(next(source.batches([0, 1], 2)).samples, whole.tensors[0][[4, 2]])
    assert source.labels is not None
    assert source.labels.tolist() == [1, 2]
    regression = TensorDataset(torch.from_numpy(noise(6, 3, 4, 5)), torch.rand(6))
    assert opened(regression).labels is None


def test_samples_that_are_no_images_pass_unchanged() -> None:
    series = torch.linspace(-5, 5, 24).view(2, 3, 4)
    source = dataset_source(Items(list(series)), LoadOptions(num_workers=0), as_images=False)
    assert isinstance(source, StreamSource)
    assert torch.equal(next(source.batches([0, 1], 2)).samples, series)


def test_too_few_items_are_refused() -> None:
    with pytest.raises(ValueError, match="data: Items has 1 items, wanted at least 2"):
        opened(Items([PLANES]))
