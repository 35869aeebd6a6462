"""The contract of every format of stored samples, the same for all and for pictures and sound alike."""

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from barlow.data.bad_samples import BadDataError
from barlow.data.stored.contents import Stored, Wanted
from barlow.data.stored.formats import FORMATS as TABLE, format_of, open_stored, stored_splits
from barlow.data.subsets import subset
from barlow.modalities import load_training, modality_for
from barlow.seams import Source, seeded_batches
from barlow.training.order import batches_from
from barlow.training.plan import Plan
from tests.data.stored.making import CLASSES, FORMATS, KINDS, dataset, listed, manifest, pictures, tars

PLAN = Plan(3, 8, seed=0, factor=lambda _: 1.0, clip_norm=0.0, checkpoint_minutes=1.0, floor=None)
ENDINGS = frozenset((".png", ".wav"))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BARLOW_CACHE", str(tmp_path / "cache"))


def loaded(data: Any, **asked: Any) -> Source:
    return load_training(modality_for(data), data, num_workers=0, **asked)


def values(source: Source, order: Sequence[int]) -> torch.Tensor:
    return torch.cat([batch.samples for batch in source.batches(order, 5)])


@pytest.fixture(params=[(kind, name) for kind in KINDS for name in FORMATS], ids=" ".join)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Any, Any]:
    """Kind of samples, the data in one format, and the same samples in a folder."""
    kind, name = request.param
    samples = KINDS[kind](24)
    return kind, FORMATS[name](samples, tmp_path / "one"), FORMATS["folder"](samples, tmp_path / "other")


@pytest.mark.parametrize("memory_budget", [0, None], ids=["read when asked for", "in memory"])
def test_samples_labels_and_order_are_those_of_a_folder(made: tuple[str, Any, Any], memory_budget: int | None) -> None:
    kind, data, plain = made
    found, wanted = (loaded(one, memory_budget=memory_budget) for one in (data, plain))
    assert modality_for(data).name == kind
    assert len(found) == len(wanted) == 24
    order = [7, 3, 3, 23, 0, 11]
    assert [index for batch in found.batches(order, 4) for index in batch.indices.tolist()] == order
    assert torch.equal(values(found, order), values(wanted, order))
    assert found.labels is not None
    assert wanted.labels is not None
    assert torch.equal(found.labels, wanted.labels)
    assert tuple(found.class_names) in (CLASSES, ("0", "1", "2"))
    assert loaded(data, labels="none", memory_budget=0).labels is None


def test_a_run_goes_on_to_the_bit_and_processes_share_without_duplicates(made: tuple[str, Any, Any]) -> None:
    _, data, _ = made
    source = loaded(data, memory_budget=0)
    whole, resumed = steps(source, 0, 0, 1), steps(loaded(data, memory_budget=0), 4, 0, 1)
    assert list(resumed) == list(range(4, 9))
    assert all(torch.equal(samples, whole[step]) for step, samples in resumed.items())
    shares = [steps(source, 0, rank, 2) for rank in range(2)]
    for step, samples in whole.items():
        assert torch.equal(torch.stack([share[step] for share in shares], 1).flatten(0, 1), samples)
    assert len(torch.cat([whole[step].flatten(1) for step in range(3)]).unique(dim=0)) == 24


def steps(source: Source, first: int, rank: int, world: int) -> dict[int, torch.Tensor]:
    found = {}
    for step, share in batches_from(source, PLAN, first_step=first, rank=rank, world=world):
        assert share is not None
        found[step] = share.samples
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FORMATS)
def test_bad_samples_are_left_out_and_too_many_end_a_run(kind: str, name: str, tmp_path: Path) -> None:
    source = loaded(FORMATS[name](KINDS[kind](20, bad=(6,)), tmp_path / "one"), memory_budget=0)
    plain = loaded(FORMATS["folder"](KINDS[kind](20, bad=(6,)), tmp_path / "two"), memory_budget=0)
    for one in (source, plain):
        assert sum(len(batch.indices) for batch in one.batches(range(20), 8)) == 19
    assert source.bad == plain.bad
    assert list(source.bad.values()) != []
    many = loaded(FORMATS[name](KINDS[kind](20, bad=range(5)), tmp_path / "three"), memory_budget=0)
    with pytest.raises(BadDataError, match="of 20 samples cannot be read"):
        list(many.batches(range(20), 8))


def test_contents_travel_to_other_processes_and_say_their_names(made: tuple[str, Any, Any]) -> None:
    _, data, _ = made
    if isinstance(data, Path) and not format_of(data):
        return  # the plain folder
    stored = open_stored(data, Wanted(endings=ENDINGS, columns=("image", "audio")))
    copied = pickle.loads(pickle.dumps(stored.contents))
    assert copied.content(5) == stored.contents.content(5)
    names = [copied.describe(position) for position in range(len(copied))]
    assert len(set(names)) == 24


def test_workers_give_the_same_samples(tmp_path: Path) -> None:
    data = tars(pictures(600), tmp_path, cls=False, most=200)
    alone, helped = (
        load_training(modality_for(data), data, num_workers=workers, memory_budget=0) for workers in (0, 2)
    )
    order = list(range(599, -1, -1))
    first, second = (torch.cat([b.samples for b in seeded_batches(s, order, 64, 3)]) for s in (alone, helped))
    assert torch.equal(first, second)
    assert torch.equal(values(subset(helped, [4, 2]), [0, 1]), values(alone, [4, 2]))


@pytest.mark.parametrize("name", ["shards in folders", "parquet of structs", "csv", "save_to_disk"])
def test_splits_are_told_and_share_their_classes(name: str, tmp_path: Path) -> None:
    samples = pictures(30)
    data = SPLIT[name](samples[:21], samples[21:], tmp_path)
    assert set(stored_splits(data)) == {"train", "test"}
    kind = modality_for(data)
    assert kind.name == "images"
    assert [len(kind.load(data, split=split)) for split in ("train", "test")] == [21, 9]
    with pytest.raises(ValueError, match=r"split: got 'tset'.*did you mean 'test'"):
        kind.load(data, split="tset")


def _split_tars(train: Any, test: Any, place: Path) -> Path:
    for split, samples in (("train", train), ("test", test)):
        tars(samples, place / split, cls=False).rename(place / f"made-{split}")
    folder = place / "both"
    folder.mkdir()
    for split in ("train", "test"):
        (place / f"made-{split}").rename(folder / split)
    return folder


def _split_tables(train: Any, test: Any, place: Path) -> Path:
    (place / "tables").mkdir()
    for split, samples in (("train", train), ("test", test)):
        dataset(samples).to_parquet(str(place / "tables" / f"{split}-00000.parquet"))
    return place / "tables"


def _split_manifest(train: Any, test: Any, place: Path) -> Path:
    table = manifest([*train, *test], place)
    head, *rows = table.read_text().splitlines()
    named = [f"{row},{'train' if number < len(train) else 'test'}" for number, row in enumerate(rows)]
    table.write_text("\n".join([f"{head},split", *named]) + "\n")
    return table


def _split_saved(train: Any, test: Any, place: Path) -> Path:
    import datasets

    datasets.DatasetDict({"train": dataset(train), "test": dataset(test)}).save_to_disk(str(place / "saved"))
    return place / "saved"


SPLIT: dict[str, Callable[[Any, Any, Path], Path]] = {
    "shards in folders": _split_tars,
    "parquet of structs": _split_tables,
    "csv": _split_manifest,
    "save_to_disk": _split_saved,
}


def test_groups_come_from_a_table(tmp_path: Path) -> None:
    source: Any = loaded(manifest(pictures(12), tmp_path), memory_budget=0)
    assert source.group_names == ("speaker cat", "speaker dog", "speaker owl")
    assert torch.equal(source.groups, source.labels)


def test_lists_of_paths_alone_have_no_labels_and_the_error_says_why(tmp_path: Path) -> None:
    path = listed(pictures(6), tmp_path)
    path.write_text("\n".join(line.rpartition(" ")[0] for line in path.read_text().splitlines()))
    assert loaded(path).labels is None
    with pytest.raises(ValueError, match=r"labels: required.*list\.txt are paths alone"):
        loaded(path, labels="required")


def test_every_format_of_the_table_is_held_to_the_contract(tmp_path: Path) -> None:
    samples = pictures(6)
    covered = {format_of(make(samples, tmp_path / f"{number}")) for number, make in enumerate(FORMATS.values())}
    assert covered - {""} == TABLE.keys() - {"hf:"}  # by name: tests/data/stored/test_hub.py
    assert isinstance(open_stored(tmp_path / "7" / "table.csv", Wanted()), Stored)
