"""Data sets of Hugging Face by name: from the cache on this disk alone, unless a download was asked for."""

import socket
from pathlib import Path
from typing import Any

import pytest

from barlow.data.stored.contents import Wanted
from barlow.data.stored.formats import format_of, open_stored, stored_splits
from barlow.modalities import modality_for
from barlow.runs.own_data import place_facts
from tests.data.stored.making import CLASSES, dataset, pictures, recordings

WANTED = Wanted(endings=frozenset((".png",)), columns=("image",))


def refused(*_: Any, **__: Any) -> Any:
    raise AssertionError("the network was asked")


def test_what_is_not_in_the_cache_is_refused_without_a_look_at_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", refused)
    with pytest.raises(ValueError, match=r"'hf:nobody/nothing' is not in the cache of this disk.*--download"):
        open_stored("hf:nobody/nothing", WANTED)


def test_a_data_set_of_the_cache_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    found = datasets.DatasetDict({"train": dataset(pictures(9)), "validation": dataset(pictures(6))})
    asked: list[tuple[str, Any]] = []

    def load_dataset(name: str, configuration: Any) -> Any:
        asked.append((name, configuration))
        return found

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert format_of("hf:user/name:small") == "hf:"
    assert set(stored_splits("hf:user/name")) == {"train", "val", "test"}
    stored = open_stored("hf:user/name:small", WANTED)
    assert asked[-1] == ("user/name", "small")
    assert stored.labels.class_names == CLASSES
    assert stored.contents.content(3) == pictures(9)[3].content
    assert stored.contents.describe(3) == "hf:user/name:small#row=3"
    assert modality_for("hf:user/name").name == "images"


def test_a_run_finds_it_again_by_the_same_name(tmp_path: Path) -> None:
    assert place_facts(modality_for("digits"), "hf:user/name", tmp_path) == {"path": "hf:user/name"}
    assert place_facts(modality_for("digits"), "memory://some/shards", tmp_path) == {"path": "memory://some/shards"}


def test_sound_given_as_an_object_is_sound() -> None:
    found = dataset(recordings(6))
    kind = modality_for(found)
    assert kind.name == "audio"
    assert len(kind.load(found)) == 6


def snapshot(cache: Path, name: str) -> Path:
    """Lay out files as the cache of the hub does: a snapshot of links to blobs, and the branch that names it."""
    folder = cache / f"datasets--{name.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    (folder / "blobs").mkdir()
    data = folder / "snapshots" / commit / "data"
    data.mkdir(parents=True)
    for split, count in (("train", 9), ("test", 6)):
        dataset(pictures(count)).to_parquet(folder / "blobs" / split)
        (data / f"{split}-00000-of-00001.parquet").symlink_to(Path("../../../blobs") / split)
    return folder


def test_files_of_the_hubs_cache_are_read_by_the_name_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "arrow")
    monkeypatch.setattr(socket.socket, "connect", refused)
    snapshot(tmp_path / "hub", "someone/flowers")
    assert set(stored_splits("hf:someone/flowers")) == {"train", "test"}
    stored = open_stored("hf:someone/flowers", WANTED)
    assert stored.labels.class_names == CLASSES
    assert [stored.contents.content(row) for row in range(9)] == [one.content for one in pictures(9)]
    source = modality_for("hf:someone/flowers").load("hf:someone/flowers", split="test")
    assert len(source) == 6
    with pytest.raises(ValueError, match="'hf:someone/trees' is not in the cache of this disk"):
        open_stored("hf:someone/trees", WANTED)
