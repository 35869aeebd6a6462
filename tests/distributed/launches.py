"""How runs over processes are started, and how two runs are compared."""

import json
import os
import subprocess
import sys
from pathlib import Path

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
