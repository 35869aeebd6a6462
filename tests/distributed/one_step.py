"""One step of every case, in one process with all samples and in W processes with a shard each."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from barlow.statistics.collectives import identity
from barlow.training.sync_batch_norm import synchronise_batch_norms
from tests.distributed.cases import CASES, OFFICIAL_CODE, SIZES, Case, backbone, shard_of, views_of

Found = dict[str, Tensor]
"""Loss, gradients and running statistics by name."""

Change = Callable[[nn.Module], None]

DTYPES = {"float32": torch.float32, "float64": torch.float64}
BROKEN = ("own norms", "own loss")
"""BatchNorm statistics, or those of the loss, of each process alone: what many codes do."""
AS_IF_ALONE: dict[str, Callable[[], Any]] = {"num_processes": lambda: 1, "all_mean_here": lambda: identity}
"""What a method asks, with the answers of a single process."""


def found_in(case: Case, views: list[Any], sizes: Sequence[int], dtype: torch.dtype, norms: Change) -> Found:
    """Take two steps' forward passes and the second's gradients, averaged over processes as DDP does."""
    torch.manual_seed(0)  # the same weights everywhere, and then the same draws: directions, permutations
    method = case.build(backbone()).to(dtype).train()
    norms(method)
    case.cut(method, sizes)
    method.start_step(1.5, 3)
    method(views)  # fills SwAV's queue
    total = method(views).total
    total.backward()
    found = {f"gradient {name}": p.grad for name, p in method.named_parameters() if p.grad is not None}
    if dist.is_initialized():
        flat = torch.cat([gradient.flatten() for gradient in found.values()])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        parts = flat.split([gradient.numel() for gradient in found.values()])
        found = {name: part.view_as(found[name]) for name, part in zip(found, parts, strict=True)}
    found |= {f"buffer {name}": buffer.clone() for name, buffer in method.named_buffers()}
    return found | {"loss": total.detach()}


def alone(case: Case, dtype: torch.dtype, world: int) -> Found:
    """One process with all samples."""
    return found_in(case, views_of(case, dtype), SIZES[world], dtype, lambda method: None)


def together(case: Case, dtype: torch.dtype, *, broken: str = "") -> Found:
    """This process's part of a step over all processes."""
    sizes, rank = SIZES[dist.get_world_size()], dist.get_rank()
    module: Any = sys.modules[case.build(backbone()).__module__]
    real = {name: getattr(module, name) for name in AS_IF_ALONE if hasattr(module, name)}
    if broken == "own loss":
        vars(module).update({name: AS_IF_ALONE[name] for name in real})
    try:
        shard = [shard_of(view, sizes, rank) for view in views_of(case, dtype)]
        norms = (lambda method: None) if broken == "own norms" else synchronise_batch_norms
        return found_in(case, shard, [sizes[rank]], dtype, norms)
    finally:
        vars(module).update(real)


def work(rank: int, world: int, folder: str) -> None:
    """One process: every case, exact and broken."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    found = {
        name: {kind: together(case, dtype) for kind, dtype in DTYPES.items()}
        | {broken: together(case, torch.float64, broken=broken) for broken in BROKEN}
        for name, case in CASES.items()
    }
    found["official code"] = {"float64": together(OFFICIAL_CODE, torch.float64)}
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()
