"""How runs over processes are started, and how two runs are compared."""

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

EPOCHS, STEPS = 2, 6
"""Of 48 pictures in batches of 15."""

BARLOW = [sys.executable, "-m", "barlow", "pretrain"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def environment() -> dict[str, str]:
    """Without what an earlier launch in this process may have left."""
    left = ("LOCAL_RANK", "RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return {name: value for name, value in os.environ.items() if name not in left}


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=400, env=environment(), check=False)


def write_pictures(path: Path, side: int) -> Path:
    """Write pictures in an order of brightness and contrast: two shards of a batch never have equal statistics."""
    random = np.random.default_rng(0)
    pictures = random.integers(0, 60, (48, side, side)) * np.linspace(1, 3, 48)[:, None, None]
    np.save(path, pictures.astype(np.uint8))
    return path


def losses(folder: Path) -> list[float]:
    return [record["loss"] for record in read_journal(folder / "journal.jsonl") if record["event"] == "step"]


def events(folder: Path) -> list[str]:
    return [record["event"] for record in read_journal(folder / "journal.jsonl")]


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
