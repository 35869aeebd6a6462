"""Two real processes with different and unequal data against one process with all of it, value and gradient."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn

from barlow.collectives import all_mean, gather_rows, identity, num_processes
from barlow.methods.barlow_twins import barlow_twins_loss

SIZES = (5, 11)
LAMBDA = 0.05


def network() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(6, 4).double()


def views() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, sum(SIZES), 6, generator=generator, dtype=torch.float64)
    return a, (a + b)


def work(rank: int, folder: str) -> None:
    """One process: its shard's loss, gradients averaged as DDP averages them, and the same with own statistics."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=len(SIZES))
    shard = [view.split(list(SIZES))[rank] for view in views()]
    found: dict[str, torch.Tensor] = {}
    for name, reduce in (("global", all_mean), ("local", identity)):
        net = network()
        loss = barlow_twins_loss(*(net(v) for v in shard), redundancy_weight=LAMBDA, all_mean=reduce).total
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
        dist.all_reduce(gradient)
        found |= {f"{name} loss": loss.detach(), f"{name} gradient": gradient / len(SIZES)}
    found["rows"] = gather_rows(shard[0])
    found["processes"] = torch.tensor(num_processes())
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, torch.Tensor]]:
    folder = tmp_path_factory.mktemp("gloo")
    spawn(work, args=(str(folder),), nprocs=len(SIZES))
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(len(SIZES))]


def whole() -> tuple[torch.Tensor, torch.Tensor]:
    net = network()
    loss = barlow_twins_loss(*(net(v) for v in views()), redundancy_weight=LAMBDA).total
    loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])


@pytest.mark.dist
def test_unequal_shards_give_the_loss_and_the_averaged_gradient_of_one_process(
    found: list[dict[str, torch.Tensor]],
) -> None:
    loss, gradient = whole()
    for rank in found:
        assert int(rank["processes"]) == 2
        torch.testing.assert_close(rank["global loss"], loss, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(rank["global gradient"], gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.dist
def test_statistics_of_each_process_alone_would_break_the_test_above(found: list[dict[str, torch.Tensor]]) -> None:
    loss, gradient = whole()
    for rank in found:
        assert abs(rank["local loss"] - loss) > 1e-3
        assert (rank["local gradient"] - gradient).abs().max() > 1e-3


@pytest.mark.dist
def test_rows_are_gathered_in_the_order_of_the_processes(found: list[dict[str, torch.Tensor]]) -> None:
    for rank in found:
        assert torch.equal(rank["rows"], views()[0])


def test_alone_everything_is_the_identity() -> None:
    x = torch.randn(3, 2)
    assert num_processes() == 1
    assert all_mean(x, 3) is x
    assert gather_rows(x) is x
