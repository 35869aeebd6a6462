"""Losses, BatchNorm and steps are the same where the parameters of a method lie in shards on the processes (FSDP)."""

import multiprocessing
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.spawn import start_processes

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
