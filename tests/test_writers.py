"""One writer a folder: the second is refused by the name of the first, and what is dead is in nobody's way."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from barlow.files import write_json
from barlow.writers import LOCK, FolderTakenError, Writer, one_writer, read_writer, refuse_second

HOLD = """
import pathlib, sys, time
from barlow.writers import one_writer
with one_writer(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="what lives is told by /proc")


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds the folder "run"."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def hold(folder: Path, writer: Writer) -> None:
    write_json(folder / LOCK, asdict(writer))


def test_a_second_process_is_refused_with_the_pid_and_host_of_the_first(
    tmp_path: Path, holder: "subprocess.Popen[str]"
) -> None:
    said = rf"^out: .*run' is being written by process {holder.pid} on {socket.gethostname()} \(-c .*\); wait until"
    with pytest.raises(FolderTakenError, match=said), one_writer(tmp_path / "run", patience=0.0):
        pass
    writer = read_writer(tmp_path / "run")
    assert writer is not None
    assert writer.pid == holder.pid


def test_the_lock_of_a_killed_process_and_what_it_left_aside_are_in_nobodys_way(
    tmp_path: Path, holder: "subprocess.Popen[str]"
) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir()
    for left in (run / f"summary.json.{holder.pid}.partial", run / "checkpoints" / f"last.ckpt.{holder.pid}.partial"):
        left.touch()
    (run / "mine.partial").touch()
    os.kill(holder.pid, signal.SIGKILL)
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet buried
    with one_writer(run, patience=0.0):
        writer = read_writer(run)
        assert writer is not None
        assert writer.pid == os.getpid()
    assert sorted(path.name for path in run.rglob("*")) == ["checkpoints", "mine.partial"]


def test_another_process_of_the_same_number_is_not_taken_for_the_first(tmp_path: Path) -> None:
    hold(tmp_path, replace(Writer.here(), pid=os.getppid(), began="before the last start of the machine"))
    with one_writer(tmp_path, patience=0.0):
        pass
    hold(tmp_path, replace(Writer.here(), began="long ago"))  # our own number, used before
    with one_writer(tmp_path, patience=0.0):
        pass
    assert not (tmp_path / LOCK).exists()


@pytest.mark.parametrize("elsewhere", [{"host": "node7"}, {"machine": "pid:[1]"}])
def test_a_process_of_another_machine_is_believed_to_live_and_the_user_told_what_to_do(
    elsewhere: dict[str, str], tmp_path: Path
) -> None:
    hold(tmp_path, replace(Writer.here(), pid=2**22 + 1, **elsewhere))
    with pytest.raises(FolderTakenError, match=rf"if that process is gone, .* remove {tmp_path / LOCK}"):
        refuse_second(tmp_path, patience=0.0)
    assert (tmp_path / LOCK).exists()


def test_a_process_may_hold_its_folder_twice_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with one_writer(folder):
        with one_writer(folder):
            pass
        assert (folder / LOCK).exists()
    assert list(tmp_path.iterdir()) == [], "a folder that got nothing is not left"


def test_a_folder_that_was_exchanged_under_way_keeps_the_lock_of_its_new_writer(tmp_path: Path) -> None:
    other = replace(Writer.here(), host="node7")
    with one_writer(tmp_path):
        hold(tmp_path, other)
    assert read_writer(tmp_path) == other


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"pid": 1}', json.dumps({"pid": 1, "nonsense": 2})])
def test_a_lock_that_says_nothing_holds_nobody_off(content: str, tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(content)
    with one_writer(tmp_path, patience=0.0):
        assert read_writer(tmp_path) == Writer.here()
