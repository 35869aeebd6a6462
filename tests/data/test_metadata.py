"""A metadata.csv gives labels and groups by the paths of files, and is refused where it names none."""

from pathlib import Path

import pytest

from barlow.data.metadata import told_by_metadata


def test_columns_are_told_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("file_name,category,speaker_id,text\na.wav,dog,1,x\n./b/c.wav,cat,2,y\n")
    told = told_by_metadata(tmp_path, ["a.wav", "b/c.wav"])
    assert told is not None
    assert told.labels.class_names == ("cat", "dog")
    assert told.groups is not None
    assert told.groups.names == ("1", "2")
    assert told.note == ""


def test_without_a_table_nothing_is_told_and_one_without_names_is_refused(tmp_path: Path) -> None:
    assert told_by_metadata(tmp_path, ["a.wav"]) is None
    (tmp_path / "metadata.csv").write_text("path,label\na.wav,dog\n")
    with pytest.raises(ValueError, match="has the columns path, label, wanted one called file_name"):
        told_by_metadata(tmp_path, ["a.wav"])
    (tmp_path / "metadata.csv").write_bytes(b"\xff\xfe\x00bad\xff")
    with pytest.raises(ValueError, match="cannot be read as a table"):
        told_by_metadata(tmp_path, ["a.wav"])
