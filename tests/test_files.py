"""Durable files: whole or not there, nothing left aside when a write fails."""

from pathlib import Path

import pytest

from barlow.files import durable_file, durable_path, read_json, write_json


def test_a_file_comes_back_whole_and_its_folder_is_made(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "a.json", {"é": [1, None, 0.5]})
    assert read_json(tmp_path / "new" / "a.json") == {"é": [1, None, 0.5]}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.json"]


def killed_half_way(path: Path) -> None:
    with durable_file(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt


def test_a_write_that_fails_leaves_the_old_file_and_nothing_aside(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, 1)
    with pytest.raises(TypeError):
        write_json(path, {"tensor": object()})
    with pytest.raises(KeyboardInterrupt):
        killed_half_way(path)
    with pytest.raises(FileNotFoundError), durable_path(path):
        pass  # nothing was written aside
    assert read_json(path) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_stays_in_place_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with durable_path(path) as aside:
        aside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_what_a_killed_process_left_aside_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "a.json.partial").write_text('{"hal')
    write_json(tmp_path / "a.json", 2)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
