"""VICRegL over shards and over two processes equals VICRegL of the whole batch."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import start_processes

from barlow.methods.vicregl import Embeddings, vicregl_loss
from barlow.statistics.collectives import MeanOver, all_mean, identity
from tests.methods.in_lockstep import AllMean, in_lockstep
from tests.methods.vicregl_embeddings import SHARDS, leaves, some_views


def test_shards_equal_the_whole_batch_in_value_and_gradient() -> None:
    views = some_views(sum(SHARDS))
    whole = vicregl_loss(views, matches=(3, 2)).total
    expected = torch.autograd.grad(whole, leaves(views))
    shards = [[tensor.split(list(SHARDS)) for tensor in view] for view in views]

    def loss(rank: int, mean: AllMean, _: object) -> Tensor:
        own = [Embeddings(*(parts[rank] for parts in view)) for view in shards]
        return vicregl_loss(own, matches=(3, 2), all_mean=MeanOver(mean, sum(SHARDS))).total

    totals = in_lockstep(len(SHARDS), loss)
    for total in totals:
        torch.testing.assert_close(total, whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.autograd.grad(totals[0], leaves(views)), expected, rtol=1e-10, atol=1e-12)


def heads() -> nn.ModuleList:
    """Fewer features than samples for whole images, more for positions: both exchanges of the covariance."""
    torch.manual_seed(0)
    return nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, sum(SHARDS) + 2)]).double()


def projected_loss(networks: nn.ModuleList, views: list[Embeddings], reduce: object) -> Tensor:
    return vicregl_loss(
        [Embeddings(networks[0](v.whole), networks[1](v.positions), v.places) for v in views],
        matches=(3, 2),
        all_mean=reduce,  # type: ignore[arg-type]
    ).total


def process(rank: int, folder: str) -> None:
    """One process: its shard's loss, gradients averaged as DDP averages them, and the same with own statistics."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=len(SHARDS))
    shard = [Embeddings(*(t.detach().split(list(SHARDS))[rank] for t in view)) for view in some_views(sum(SHARDS))]
    found: dict[str, Tensor] = {}
    for name, reduce in (("global", all_mean), ("local", identity)):
        networks = heads()
        loss = projected_loss(networks, shard, reduce)
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in networks.parameters() if p.grad is not None])
        dist.all_reduce(gradient)
        found |= {f"{name} loss": loss.detach(), f"{name} gradient": gradient / len(SHARDS)}
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.dist
def test_two_processes_with_unequal_data_give_the_gradient_of_one_and_own_statistics_do_not(tmp_path: Path) -> None:
    start_processes(process, args=(str(tmp_path),), nprocs=len(SHARDS), start_method="forkserver")
    networks = heads()
    loss = projected_loss(networks, some_views(sum(SHARDS)), identity)
    loss.backward()
    expected = torch.cat([p.grad.flatten() for p in networks.parameters() if p.grad is not None])
    for rank in range(len(SHARDS)):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(found["global loss"], loss.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found["global gradient"], expected, rtol=1e-9, atol=1e-12)
        assert (found["local gradient"] - expected).abs().max() > 1e-3
