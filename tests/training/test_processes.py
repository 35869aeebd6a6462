"""Another process is called lost only where an exchange with it has failed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch.distributed as dist

from barlow.training.journal import Journal, read_journal
from barlow.training.processes import naming_a_loss

pytestmark = pytest.mark.usefixtures("as_users_call_it")  # engines that are not there

TWO: Any = SimpleNamespace(world_size=2, global_rank=0)
GLOO = "[/w/third_party/gloo/gloo/transport/tcp/pair.cc:545] Read error [127.0.0.1]:25307: Connection reset by peer"


@pytest.mark.parametrize("error", [RuntimeError(GLOO), dist.DistBackendError("timeout"), dist.DistNetworkError("gone")])
def test_an_exchange_that_fails_is_a_lost_process(error: RuntimeError, tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "journal.jsonl") as journal,
        pytest.raises(ConnectionError, match=r"process 0 \(of 2\) has lost another one"),
        naming_a_loss(TWO, journal),
    ):
        raise error
    assert [record["event"] for record in read_journal(tmp_path / "journal.jsonl")] == ["error"]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DataLoader worker (pid 7) exited unexpectedly: Broken pipe"),
        RuntimeError("viewer: Connection reset by peer"),
        RuntimeError("disk: Connection closed by peer"),
        BrokenPipeError(32, "Broken pipe"),
    ],
)
def test_another_broken_pipe_is_not(error: Exception, tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "journal.jsonl") as journal,
        pytest.raises(type(error)) as raised,
        naming_a_loss(TWO, journal),
    ):
        raise error
    assert raised.value is error
    assert read_journal(tmp_path / "journal.jsonl") == []


def test_one_process_alone_loses_nobody(tmp_path: Path) -> None:
    alone: Any = SimpleNamespace(world_size=1, global_rank=0)
    with (
        Journal(tmp_path / "journal.jsonl") as journal,
        pytest.raises(RuntimeError, match="gloo"),
        naming_a_loss(alone, journal),
    ):
        raise RuntimeError(GLOO)
