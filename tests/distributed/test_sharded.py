"""Losses, BatchNorm and steps are the same where the parameters of a method lie in shards on the processes (FSDP)."""

import multiprocessing
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.multiprocessing.spawn import start_processes

import barlow
from barlow.training.checkpoint import load_checkpoint
from barlow.training.journal import read_journal
from tests.distributed.launches import (
    BARLOW,
    assert_went_on,
    killed_after_a_checkpoint,
    last_saved,
    run,
    write_pictures,
)
from tests.distributed.sharded_step import NAMES, work

pytestmark = pytest.mark.dist


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, dict[str, Tensor]]]]:
    folder: Path = tmp_path_factory.mktemp("gloo")
    multiprocessing.get_context("forkserver").set_forkserver_preload(["tests.distributed.sharded_step"])
    start_processes(work, args=(2, str(folder)), nprocs=2, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", NAMES)
def test_three_steps_in_shards_are_those_of_ddp(
    found: list[dict[str, dict[str, dict[str, Tensor]]]], name: str
) -> None:
    for process in found:
        sharded, ddp = process[name]["fsdp"], process[name]["ddp"]
        assert sharded["held"] < 0.7 * ddp["held"]  # it is in shards: each process has about half
        assert ddp["losses"][2] != ddp["losses"][0]
        for key in ddp.keys() - {"held"}:
            torch.testing.assert_close(sharded[key], ddp[key], rtol=1e-10, atol=1e-12)


NUMBERS = ["--recipe", "digits", "--width", "4", "--projector", "16-16", "--batch-size", "15", "--precision", "32-true"]
EPOCHS_OF_RUN = 20
"""Three steps each, long enough to be killed in."""


def losses_of(out: Path) -> dict[int, float]:
    """Loss by step."""
    return {int(r["step"]): float(r["loss"]) for r in read_journal(out / "journal.jsonl") if r["event"] == "step"}


def test_a_run_in_shards_is_killed_goes_on_and_is_the_run_of_ddp(tmp_path: Path) -> None:
    """The whole way: train, checkpoint, kill, the same command again, features out of the folder."""
    data = write_pictures(tmp_path / "pictures.npy", side=8)
    command = [*BARLOW, str(data), *NUMBERS, "--epochs", str(EPOCHS_OF_RUN), "--devices", "2"]
    command += ["--checkpoint-minutes", "0.002"]
    ours, ddp = tmp_path / "shards", tmp_path / "ddp"
    in_shards = [*command, "--shard", "--out", str(ours)]
    assert killed_after_a_checkpoint(in_shards, ours, tmp_path / "said") == 2
    saved = last_saved(ours)
    alone = shutil.copytree(ours, tmp_path / "alone")
    one_process = [*command, "--devices", "1", "--out", str(alone)]  # the last word on devices counts
    for words in (in_shards, [*command, "--out", str(ddp)], one_process):
        done = run(words)
        assert done.returncode == 0, done.stderr
    for out in (ours, alone):  # the checkpoint is that of any run: in shards or not
        assert_went_on(out, saved, 3 * EPOCHS_OF_RUN)
        assert losses_of(out) == pytest.approx(losses_of(ddp), rel=2e-3)
    states = [load_checkpoint(one / "checkpoints" / "last.ckpt") for one in (ours, ddp)]
    for part in ("method", "optimizer"):  # one file, whole, as every other run leaves it
        assert shapes(states[0][part]) == shapes(states[1][part])
    found, expected = (barlow.open_run(one).embed(str(data)) for one in (ours, ddp))
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-3)


def shapes(state: Any) -> Any:
    """The same with the shape of each tensor instead of it; nothing lies in shards."""
    if isinstance(state, dict):
        return {key: shapes(one) for key, one in state.items()}
    assert not isinstance(state, DTensor)
    return tuple(state.shape) if isinstance(state, Tensor) else None
