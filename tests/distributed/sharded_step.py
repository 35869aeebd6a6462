"""Three steps of a method whose parameters lie in shards on W processes (FSDP), and the same with all on each (DDP)."""

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from barlow.training.sync_batch_norm import synchronise_batch_norms
from tests.distributed.cases import CASES, SIZES, backbone, shard_of, views_of

NAMES = ("barlow_twins", "vicreg below N = D", "simclr")
"""Methods that are told apart by what they exchange: means and a matrix, two matrices, embeddings with gradient."""


def steps(name: str, *, sharded: bool) -> dict[str, Tensor]:
    """Return losses and whole parameters after three steps of SGD."""
    case = CASES[name]
    torch.manual_seed(0)
    method = case.build(backbone()).double().train()
    synchronise_batch_norms(method)
    sizes, rank = SIZES[dist.get_world_size()], dist.get_rank()
    called: Any = method
    if sharded:
        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        for part in [one for one in method.modules() if isinstance(one, (nn.Conv2d, nn.Linear))]:
            fully_shard(part, mesh=mesh)
        fully_shard(method, mesh=mesh)
    else:
        called = DistributedDataParallel(method, broadcast_buffers=False)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.05, momentum=0.9)
    shard = [shard_of(view, sizes, rank) for view in views_of(case, torch.float64)]
    losses = []
    for step in range(3):
        method.start_step(float(step), 3)
        loss = called(shard).total
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    weights = {key: whole(one) for key, one in method.named_parameters()}
    held = sum(one.to_local().numel() if hasattr(one, "to_local") else one.numel() for one in method.parameters())
    return {"losses": torch.stack(losses), "held": torch.tensor(held), **weights}


def whole(parameter: Any) -> Tensor:
    """Return a parameter that may lie in shards as one tensor."""
    found = parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter
    return torch.as_tensor(found.detach().clone())


def work(rank: int, world: int, folder: str) -> None:
    """One process: every method, in shards and whole."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    found = {name: {kind: steps(name, sharded=kind == "fsdp") for kind in ("fsdp", "ddp")} for name in NAMES}
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()
