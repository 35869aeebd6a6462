"""One step of every case, in one process with all samples and in W processes with a shard each."""

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from barlow.methods.method import Method
from barlow.networks.sync_batch_norm import synchronise_batch_norms
from tests.distributed.cases import CASES, Case, built, views_of

Found = dict[str, Tensor]
"""Loss, gradients and running statistics by name."""

DTYPES = {"float32": torch.float32, "float64": torch.float64}
BROKEN = ("own norms", "own loss")
"""BatchNorm statistics, or those of the loss, of each process alone: what many codes do."""


def found_in(method: Method, views: list[Tensor]) -> Found:
    """Take loss, gradients (averaged over processes, as DDP does) and the statistics that stay."""
    torch.manual_seed(1)  # what a method draws (directions, permutations) is drawn alike everywhere
    method.start_step(1.5, 3)
    total = method(views).total
    total.backward()
    found = {f"gradient {name}": p.grad for name, p in method.named_parameters() if p.grad is not None}
    if dist.is_initialized():
        flat = torch.cat([gradient.flatten() for gradient in found.values()])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        sizes = [gradient.numel() for gradient in found.values()]
        found = dict(zip(found, flat.split(sizes), strict=True))
    return found | {"loss": total.detach()} | {f"buffer {name}": b.clone() for name, b in method.named_buffers()}


def alone(case: Case, dtype: torch.dtype) -> Found:
    """One process with all samples."""
    method = built(case, dtype)
    return found_in(method, views_of(case, dtype))


def together(case: Case, dtype: torch.dtype, *, broken: str = "") -> Found:
    """This process's part of a step over all processes, its gradients averaged as the loop has them averaged."""
    sizes = list(case.sizes(dist.get_world_size()))
    method = built(case, dtype)
    if broken != "own norms":
        synchronise_batch_norms(method)
    module: Any = sys.modules[type(method).__module__]
    real = module.num_processes
    if broken == "own loss":
        module.num_processes = lambda: 1
    try:
        return found_in(method, [view.split(sizes)[dist.get_rank()] for view in views_of(case, dtype)])
    finally:
        module.num_processes = real


def work(rank: int, world: int, folder: str) -> None:
    """One process: every case, exact and broken."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    found = {
        name: {kind: together(case, dtype) for kind, dtype in DTYPES.items()}
        | {broken: together(case, torch.float64, broken=broken) for broken in BROKEN}
        for name, case in CASES.items()
    }
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()
