"""Whole runs over two processes, started in both ways: one journal, the losses of one process, no hang, no desync."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import barlow
from barlow.training.journal import read_journal
from barlow.training.machine import Machine
from tests.distributed.launches import (
    BARLOW,
    EPOCHS,
    TORCHRUN,
    assert_equal_runs,
    environment,
    events,
    run,
    write_pictures,
)

pytestmark = pytest.mark.dist

NUMBERS = ["--recipe", "digits", "--width", "4", "--projector", "16-16", "--batch-size", "15", "--precision", "32-true"]
"""Fifteen samples for two processes: eight and seven."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data") / "pictures.npy", side=8)


@pytest.fixture(scope="module")
def one_process(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one") / "run"
    done = run([*BARLOW, str(data), *NUMBERS, "--epochs", str(EPOCHS), "--out", str(out)])
    assert done.returncode == 0, done.stderr
    return out


def test_devices_2_writes_one_journal_with_the_losses_of_one_process(
    data: Path, one_process: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    done = run([*BARLOW, str(data), *NUMBERS, "--epochs", str(EPOCHS), "--out", str(out), "--devices", "2"])
    assert done.returncode == 0, done.stderr
    assert_equal_runs(out, one_process)


def test_torchrun_writes_one_journal_with_the_losses_of_one_process(
    data: Path, one_process: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = [*TORCHRUN, *BARLOW[1:], str(data), *NUMBERS, "--epochs", str(EPOCHS), "--out", str(out)]
    done = run(command)
    assert done.returncode == 0, done.stderr
    assert_equal_runs(out, one_process)


def first_child_of(process: subprocess.Popen[Any]) -> int:
    """The first of the processes that this one has started."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = (map(int, line.split()) for line in listed.splitlines())
    return min(pid for pid, parent in pairs if parent == process.pid)


def killed_after_a_checkpoint(command: list[str], out: Path, said: Path) -> int:
    """Start a run, kill its first child as the system does when memory is short; return the exit status."""
    with said.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment())
        deadline = time.monotonic() + 300
        while not (out / "journal.jsonl").exists() or "checkpoint" not in events(out):
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.05)
        os.kill(first_child_of(process), signal.SIGKILL)
        status: int = process.wait(timeout=300)
    assert "has lost another one" in said.read_text()
    assert "The same command goes on from the last checkpoint" in said.read_text()
    assert "finish" not in events(out)
    return status


def assert_went_on(out: Path, saved: int, steps: int) -> None:
    """From its last checkpoint to its end, every step once."""
    records = read_journal(out / "journal.jsonl")
    (resumed,) = (r["step"] for r in records if r["event"] == "resume")
    assert resumed == saved > 0
    assert events(out).count("start") == events(out).count("finish") == 1
    assert [r["step"] for r in records if r["event"] == "step"] == list(range(1, steps + 1))


def last_saved(out: Path) -> int:
    steps = [int(r["step"]) for r in read_journal(out / "journal.jsonl") if r["event"] == "checkpoint"]
    return max(steps)


def test_the_death_of_one_process_ends_the_run_with_a_sentence_and_the_same_command_goes_on(
    data: Path, tmp_path: Path
) -> None:
    out, said = tmp_path / "run", tmp_path / "said"
    epochs = 40
    command = [*BARLOW, str(data), *NUMBERS, "--epochs", str(epochs), "--out", str(out), "--devices", "2"]
    command += ["--checkpoint-minutes", "0.002"]
    assert killed_after_a_checkpoint(command, out, said) == 2, said.read_text()  # the first has started the second
    assert "Traceback" not in said.read_text()
    saved = last_saved(out)
    done = run(command)
    assert done.returncode == 0, done.stderr
    assert_went_on(out, saved, 3 * epochs)


def test_under_torchrun_the_death_of_the_first_process_ends_the_run_too_and_one_process_can_go_on(
    data: Path, tmp_path: Path
) -> None:
    out, said = tmp_path / "run", tmp_path / "said"
    epochs = 40
    command = [*TORCHRUN, *BARLOW[1:], str(data), *NUMBERS, "--epochs", str(epochs), "--out", str(out)]
    command += ["--checkpoint-minutes", "0.002"]
    assert killed_after_a_checkpoint(command, out, said) != 0, said.read_text()  # torchrun has started both
    assert "process 1 (of 2) has lost another one" in said.read_text()
    saved = last_saved(out)
    barlow.resume(out, machine=Machine(quiet=True, devices="1"))
    assert_went_on(out, saved, 3 * epochs)


UNREADABLE = """
import sys, torch, barlow
from barlow.data.arrays import ArraySource
from barlow.training.machine import Machine
from barlow.training.order import epoch_order
from barlow.training.plan import Plan

plan = Plan(2, 10, seed=0, factor=float, clip_norm=0.0, checkpoint_minutes=1.0, floor=None)
share = epoch_order(40, plan=plan, epoch=1, first_step=1, rank=1, world=2)[:5].tolist()
samples = torch.randint(0, 256, (40, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
source = ArraySource(samples, bad=dict.fromkeys(share, "made bad"))
numbers = dict(width=4, projector="16-16", epochs=2, batch_size=10, precision="32-true")
run = barlow.pretrain(source, recipe="digits", out=sys.argv[1], machine=Machine(quiet=True), **numbers)
assert run.finished and run.summary["label_free"]
"""


def test_a_share_of_which_nothing_can_be_read_costs_one_step_and_keeps_the_processes_in_step(tmp_path: Path) -> None:
    script, out = tmp_path / "script.py", tmp_path / "run"
    script.write_text(UNREADABLE)
    done = run([*TORCHRUN, str(script), str(out)])
    assert done.returncode == 0, done.stderr
    records = read_journal(out / "journal.jsonl")
    assert [r["step"] for r in records if r["event"] == "step"] == [1, 2, 3, 4, 5, 7, 8]
    (warning,) = (r["message"] for r in records if r["event"] == "warning" and "left out" in r["message"])
    assert warning.startswith("step 6 ")
    assert sum(r["event"] == "bad_sample" for r in records) == 5
    assert records[-1]["event"] == "evaluation"
