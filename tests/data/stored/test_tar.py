"""What lies in a tar archive, against Python's own reader."""

import io
import tarfile
from pathlib import Path

import pytest

from barlow.data.stored.contents import Wanted
from barlow.data.stored.shards import shards
from barlow.data.stored.tar import members

WANTED = Wanted(endings=frozenset((".jpg",)))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BARLOW_CACHE", str(tmp_path / "cache"))


def archive(path: Path, named: dict[str, bytes], kind: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=kind) as file:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        file.addfile(folder)
        for name, content in named.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_and_places_are_those_of_the_standard_library(tmp_path: Path, kind: int) -> None:
    long = "folder/" * 12 + "a" * 90 + ".jpg"  # of 174 letters: ustar splits it, the others say it before
    named = {"a.jpg": b"1" * 700, "ä/b.jpg": b"", "./c.jpg": b"3" * 512, long: b"4", "last.jpg": b"5"}
    content = archive(tmp_path / "a.tar", named, kind).read_bytes()
    found = list(members(lambda start, size: content[start : start + size]))
    with tarfile.open(tmp_path / "a.tar") as file:
        wanted = [(m.name.removeprefix("./"), m.offset_data, m.size) for m in file.getmembers() if m.isfile()]
    assert [tuple(one) for one in found] == wanted


def test_the_files_of_a_sample_are_told_from_one_another(tmp_path: Path) -> None:
    named = {
        "1.mask.jpg": b"mask", "1.jpg": b"one", "1.cls": b"owl", "._2.jpg": b"junk",
        "2.json": b'{"label": "cat"}', "2.jpg": b"two", "3.txt": b"alone", "4.left.jpg": b"four",
    }  # fmt: skip
    found = shards([str(archive(tmp_path / "a.tar", named))], WANTED)
    assert [found.contents.content(place) for place in range(len(found.contents))] == [b"one", b"two", b"four"]
    assert found.labels.class_names == ("cat", "owl")
    assert found.labels.values is not None
    assert found.labels.values.tolist() == [1, 0, -1]


def test_an_archive_that_breaks_off_gives_what_lies_before(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", {f"{k}.jpg": bytes([k]) * 600 for k in range(4)})
    path.write_bytes(path.read_bytes()[: 512 * 9])  # in the middle of the third
    found = shards([str(path)], WANTED)
    assert len(found.contents) == 3
    assert found.contents.content(1) == b"\1" * 600
    with pytest.raises(ValueError, match="ends before it"):
        found.contents.content(2)
    path.write_bytes(path.read_bytes()[: 512 * 4] + b"x" * 5000)
    again = shards([str(path)], WANTED)
    assert len(again.contents) == 1
    assert "breaks off" in again.notes[0]
    path.write_bytes(b"x" * 5000)
    with pytest.raises(ValueError, match="is no tar archive"):
        shards([str(path)], WANTED)


def test_headers_are_read_once_and_anew_where_a_shard_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "a.tar", {"1.jpg": b"one"})
    assert len(shards([str(path)], WANTED).contents) == 1
    monkeypatch.setattr("barlow.data.stored.shards._index_one", None)  # from the cache alone
    assert shards([str(path)], WANTED).contents.content(0) == b"one"
    monkeypatch.undo()
    monkeypatch.setenv("BARLOW_CACHE", str(tmp_path / "cache"))
    archive(path, {"1.jpg": b"other", "2.jpg": b"two"})
    assert shards([str(path)], WANTED).contents.content(0) == b"other"
