"""Methods with a state or views of their own, through Fabric and the loop: two processes take the steps of one."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.distributed.launches import TORCHRUN, assert_equal_runs, run, write_pictures
from tests.distributed.pretrained_methods import OPTIONS, pretrain_all

pytestmark = pytest.mark.dist

Runs = dict[str, Path]
"""Number of processes in words -> folder with a run of every method."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Two launches for all methods; most of their time goes into imports."""
    folder = tmp_path_factory.mktemp("methods")
    pictures = write_pictures(folder / "pictures.npy", side=16)  # maps of 2 x 2 positions
    done = run([*TORCHRUN, "-m", "tests.distributed.pretrained_methods", str(pictures), str(folder / "two")])
    assert done.returncode == 0, done.stderr
    pretrain_all(pictures, folder / "one")
    return {"one": folder / "one", "two": folder / "two"}


@pytest.mark.parametrize("method", OPTIONS)
def test_two_processes_have_the_losses_of_one(runs: Runs, method: str) -> None:
    assert_equal_runs(runs["two"] / method, runs["one"] / method)


def test_the_queue_of_swav_holds_the_same_embeddings_and_was_used(runs: Runs) -> None:
    queues = []
    for folder in runs.values():
        state = torch.load(folder / "swav" / "checkpoints" / "last.ckpt", weights_only=True)["method"]
        assert int(state["queue.filled"]) == OPTIONS["swav"]["queue_length"]
        queues.append(in_one_order(state["queue.rows"]))
    torch.testing.assert_close(*queues, rtol=1e-3, atol=1e-4)


def in_one_order(rows: Tensor) -> Tensor:
    """Rows by their first number: processes push their shares one after the other, which no code depends on."""
    return torch.stack([view[view[:, 0].argsort()] for view in rows])
