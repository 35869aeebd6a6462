"""Whole runs over two processes, started in both ways: one journal, the losses of one process, no hang, no desync."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from barlow.training.journal import read_journal

pytestmark = pytest.mark.dist

NUMBERS = ["--recipe", "digits", "--width", "4", "--projector", "16-16", "--batch-size", "15", "--precision", "32-true"]
"""Fifteen samples for two processes: eight and seven."""
EPOCHS, STEPS = 2, 6

BARLOW = [sys.executable, "-m", "barlow", "pretrain"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def environment() -> dict[str, str]:
    """Without what an earlier launch in this process may have left."""
    left = ("LOCAL_RANK", "RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return {name: value for name, value in os.environ.items() if name not in left}


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=400, env=environment(), check=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in an order of brightness and contrast, so that two shards of a batch never have equal statistics."""
    random = np.random.default_rng(0)
    pictures = random.integers(0, 60, (48, 8, 8)) * np.linspace(1, 3, 48)[:, None, None]
    path = tmp_path_factory.mktemp("data") / "pictures.npy"
    np.save(path, pictures.astype(np.uint8))
    return path


def losses(folder: Path) -> list[float]:
    return [record["loss"] for record in read_journal(folder / "journal.jsonl") if record["event"] == "step"]


def events(folder: Path) -> list[str]:
    return [record["event"] for record in read_journal(folder / "journal.jsonl")]


@pytest.fixture(scope="module")
def one_process(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one") / "run"
    done = run([*BARLOW, str(data), *NUMBERS, "--epochs", str(EPOCHS), "--out", str(out)])
    assert done.returncode == 0, done.stderr
    return out


def assert_equal_runs(ours: Path, expected: Path) -> None:
    """The same journal but for rounding, and a backbone that loads into the plain network."""
    assert events(ours) == events(expected)
    assert len(losses(ours)) == STEPS
    assert losses(ours) == pytest.approx(losses(expected), rel=2e-4)
    figures = [json.loads((run / "summary.json").read_text())["label_free"] for run in (ours, expected)]
    assert figures[0] == pytest.approx(figures[1], rel=1e-2)
    states = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (ours, expected)]
    assert list(states[0]["method"]) == list(states[1]["method"])
    assert len(states[0]["random"]) == 2


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


def child_of(process: subprocess.Popen[Any]) -> int:
    """The second process, which the first has started."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    (child,) = (int(pid) for pid, parent in map(str.split, listed.splitlines()) if int(parent) == process.pid)
    return child


def test_the_death_of_one_process_ends_the_run_with_a_sentence_and_the_same_command_goes_on(
    data: Path, tmp_path: Path
) -> None:
    out, said = tmp_path / "run", tmp_path / "said"
    epochs = 40
    command = [*BARLOW, str(data), *NUMBERS, "--epochs", str(epochs), "--out", str(out), "--devices", "2"]
    command += ["--checkpoint-minutes", "0.002"]
    with said.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment())
        deadline = time.monotonic() + 300
        while not (out / "journal.jsonl").exists() or "checkpoint" not in events(out):
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.05)
        child = child_of(process)
        os.kill(child, signal.SIGKILL)
        assert process.wait(timeout=300) == 2, said.read_text()
    assert "has lost another one" in said.read_text()
    assert "The same command goes on from the last checkpoint" in said.read_text()
    assert "Traceback" not in said.read_text()
    assert "finish" not in events(out)
    saved = max(r["step"] for r in read_journal(out / "journal.jsonl") if r["event"] == "checkpoint")
    done = run(command)
    assert done.returncode == 0, done.stderr
    (resumed,) = (r["step"] for r in read_journal(out / "journal.jsonl") if r["event"] == "resume")
    assert resumed == saved > 0
    assert events(out).count("start") == events(out).count("finish") == 1
    steps = [r["step"] for r in read_journal(out / "journal.jsonl") if r["event"] == "step"]
    assert steps == list(range(1, epochs * 3 + 1))


UNREADABLE = """
import sys, torch, barlow
from barlow.data.arrays import ArraySource
from barlow.machine import Machine
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
