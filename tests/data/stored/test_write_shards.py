"""What comes one after the other is kept as shards: whole, labelled, and gone on with."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import barlow
from barlow.data.stored.contents import Wanted
from barlow.data.stored.formats import open_stored
from barlow.data.stored.write_shards import write_shards
from tests.data.stored.making import CLASSES, dataset, pictures

WANTED = Wanted(endings=frozenset((".png",)))
SAMPLES = pictures(25)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BARLOW_CACHE", str(tmp_path / "cache"))


def contents(folder: Path) -> list[bytes]:
    found = open_stored(folder, WANTED).contents
    return [bytes(found.content(place)) for place in range(len(found))]  # type: ignore[arg-type]


def test_samples_and_labels_come_back(tmp_path: Path) -> None:
    paths = write_shards(((s.path, s.content, s.label) for s in SAMPLES), tmp_path / "shards", per_shard=10)
    assert [path.name for path in paths] == [f"shards-{number:06d}.tar" for number in range(3)]
    assert contents(tmp_path / "shards") == [sample.content for sample in SAMPLES]
    labels = open_stored(tmp_path / "shards", WANTED).labels
    assert labels.class_names == CLASSES
    assert labels.values is not None
    assert [CLASSES[label] for label in labels.values] == [sample.label for sample in SAMPLES]


def test_a_call_that_was_killed_goes_on(tmp_path: Path) -> None:
    def killed(at: int) -> Iterator[tuple[str, bytes]]:
        for number, sample in enumerate(SAMPLES):
            if number == at:
                raise KeyboardInterrupt
            yield sample.path, sample.content

    with pytest.raises(KeyboardInterrupt):
        write_shards(killed(14), tmp_path / "shards", per_shard=10)
    assert len(list((tmp_path / "shards").iterdir())) == 1  # nothing half
    write_shards(killed(99), tmp_path / "shards", per_shard=10)
    assert contents(tmp_path / "shards") == [sample.content for sample in SAMPLES]


@pytest.mark.parametrize("done", [0, 1])
def test_a_stream_of_hugging_face_is_kept_as_it_is_stored(tmp_path: Path, done: int) -> None:
    stream = dataset(SAMPLES).to_iterable_dataset()
    if done:
        write_shards(stream.take(10), tmp_path / "shards", per_shard=10)
    write_shards(stream, tmp_path / "shards", per_shard=10)
    assert contents(tmp_path / "shards") == [sample.content for sample in SAMPLES]


def test_streams_themselves_are_refused_with_the_call_that_keeps_them() -> None:
    with pytest.raises(ValueError, match=r"one after the other.*barlow\.write_shards"):
        barlow.load_source(dataset(SAMPLES).to_iterable_dataset())


@pytest.mark.parametrize("row", [b"bytes", ("name", "text"), {"label": 3}, {"image": {"bytes": None, "path": None}}])
def test_other_samples_are_refused(tmp_path: Path, row: Any) -> None:
    with pytest.raises(ValueError, match="samples: "):
        write_shards([row], tmp_path / "shards")


def test_the_page_about_data_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/data.md"""
    page = (Path(__file__).parents[3] / "docs/data.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"pictures": [sample.content for sample in SAMPLES]}
    exec(compile(code, "docs/data.md", "exec"), names)
    assert len(names["source"]) == 25
