"""Durable files: whole or not there, nothing left aside when a write fails."""

import errno
import os
import stat
from pathlib import Path

import pytest
import torch

from barlow.files import durable_file, durable_path, read_json, remove_left_aside, why_not_own, write_json
from barlow.training.weights import write_weights


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


def test_what_a_living_process_has_aside_is_left_to_it(tmp_path: Path) -> None:
    others = [tmp_path / f"a.json.{pid}.partial" for pid in (os.getppid(), 2**22 + 1)]
    for path in (*others, tmp_path / "b.json.4194305.partial"):
        path.touch()
    write_json(tmp_path / "a.json", 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.json", f"a.json.{os.getppid()}.partial", "b.json.4194305.partial",
    ]  # fmt: skip
    remove_left_aside(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", f"a.json.{os.getppid()}.partial"]


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_files_have_the_permissions_that_the_user_gives_new_files(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        write_json(tmp_path / "a.json", 1)
        write_weights(tmp_path / "b" / "w.safetensors", torch.nn.Linear(1, 1))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o666 & ~mask
    assert stat.S_IMODE((tmp_path / "b" / "w.safetensors").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on the device for {}; the old one is kept"),
        (PermissionError(errno.EACCES, "Permission denied"), "permission denied for {}; the old one is kept"),
    ],
)
def test_an_error_of_the_system_names_the_file(error: OSError, said: str, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    with pytest.raises(type(error)) as caught, durable_path(path, kept="the old one is kept"):
        raise error
    assert caught.value.strerror == said.format(path)
    with pytest.raises(OSError, match="no space left on the device") as hidden, durable_path(path):
        hide_a_full_disk()
    assert hidden.value.errno == errno.ENOSPC
    with pytest.raises(RuntimeError, match="size mismatch"), durable_path(path):
        raise RuntimeError("size mismatch")
    assert list(tmp_path.iterdir()) == []


def hide_a_full_disk() -> None:
    """As torch does, which says that its writer failed."""
    try:
        raise OSError(errno.ENOSPC, "No space left on device")
    except OSError as error:
        raise RuntimeError("unexpected pos 64 vs 0") from error


def test_a_link_in_the_place_of_a_file_is_replaced_and_its_target_left(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    for name in ("a.json", f"a.json.{os.getpid()}.partial"):
        (tmp_path / name).symlink_to(tmp_path / "theirs")
    write_json(tmp_path / "a.json", 1)
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert not (tmp_path / "a.json").is_symlink()


def test_links_out_of_a_folder_pipes_and_devices_are_none_of_its_own(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "own").touch()
    os.mkfifo(run / "pipe")
    for name, target in {
        "inside": "own",
        "out": "../run2",
        "nowhere": "none",
        "loop": "loop",
        "null": "/dev/null",
    }.items():
        (run / name).symlink_to(target)
    (tmp_path / "run2").mkdir()
    found = {path.name: why_not_own(path, run) for path in run.iterdir()}
    assert [found.pop(name) for name in ("own", "inside", "checkpoints")] == ["", "", ""]
    assert why_not_own(run / "missing", run) == ""
    assert found["pipe"] == "is a pipe, a socket or a device"
    assert found["out"] == f"is a link out of it, to {tmp_path / 'run2'}"
    assert found["nowhere"] == found["loop"] == "is a link that leads nowhere"
    assert found["null"].startswith("is a link out of it")
