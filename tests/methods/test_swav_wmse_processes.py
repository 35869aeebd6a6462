"""SwAV and W-MSE on two real processes with different and unequal data against one process with all of it.

Three steps with a queue: codes, loss and averaged gradients of each, and the queue that every process keeps.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from barlow.methods.heads import HeadSpec
from barlow.methods.swav import swav
from barlow.methods.wmse import random_sub_batches, wmse, wmse_loss
from barlow.seams import Method

SIZES = (5, 7)
STEPS = 4


def views_of(step: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(step)
    return list(torch.randn(4, sum(SIZES), 6, generator=generator, dtype=torch.float64))


def swav_method() -> Method:
    torch.manual_seed(0)
    head = HeadSpec("16-4", norm="none")
    method = swav(nn.Linear(6, 8), head, 8, num_prototypes=9, queue_length=25, queue_start=0.0, freeze_prototypes=0.0)
    return method.double()


def gradients(method: Method, total: Tensor) -> Tensor:
    method.zero_grad()
    total.backward()
    return torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None])


def train(method: Method, batches: Sequence[list[Tensor]], *, average: bool) -> dict[str, Tensor]:
    """Plain gradient steps with the gradients that DDP would give."""
    found: dict[str, Tensor] = {}
    for step, views in enumerate(batches):
        terms = method(views)
        gradient = gradients(method, terms.total)
        if average:
            dist.all_reduce(gradient)
            gradient /= dist.get_world_size()
        found |= {f"loss {step}": terms.total.detach(), f"gradient {step}": gradient.clone()}
        found |= {f"{name} {step}": part.detach() for name, part in terms.parts.items()}
        start = 0
        with torch.no_grad():
            for parameter in method.parameters():
                parameter.sub_(gradient[start : start + parameter.numel()].view_as(parameter), alpha=0.1)
                start += parameter.numel()
    return found | {f"state {name}": value for name, value in method.state_dict().items()}


def wmse_method() -> Method:
    torch.manual_seed(0)
    return wmse(nn.Linear(6, 8), HeadSpec("3", norm="none"), 8, w_size=4, iterations=3).double()


def work(rank: int, folder: str) -> None:
    """One process: its rows of every batch."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=len(SIZES))
    shards = [[view.split(SIZES)[rank] for view in views_of(step)] for step in range(STEPS)]
    found = train(swav_method(), shards, average=True)
    method = wmse_method()
    torch.manual_seed(10 + rank)
    torch.save(found | {f"wmse {k}": v for k, v in train(method, shards[:1], average=True).items()}, f"{folder}/{rank}")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("gloo")
    spawn(work, args=(str(folder),), nprocs=len(SIZES))
    return [torch.load(Path(folder) / str(rank), weights_only=True) for rank in range(len(SIZES))]


@pytest.mark.dist
def test_two_processes_of_swav_take_the_steps_of_one_and_keep_its_queue(found: list[dict[str, Tensor]]) -> None:
    whole = train(swav_method(), [views_of(step) for step in range(STEPS)], average=False)
    assert int(whole["state queue.filled"]) == 25
    for rank in found:
        for name, value in whole.items():
            torch.testing.assert_close(rank[name], value, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.dist
def test_codes_of_each_process_alone_would_break_the_test_above(found: list[dict[str, Tensor]]) -> None:
    alone = [train(swav_method(), [[v.split(SIZES)[r] for v in views_of(0)]], average=False) for r in range(2)]
    mean = torch.stack([part["gradient 0"] for part in alone]).mean(0)
    assert (mean - found[0]["gradient 0"]).abs().max() > 1e-3


@pytest.mark.dist
def test_two_processes_of_wmse_equal_one_with_the_same_sub_batches(found: list[dict[str, Tensor]]) -> None:
    parts: list[Tensor] = []
    for rank, size in enumerate(SIZES):
        torch.manual_seed(10 + rank)
        parts += [part + sum(SIZES[:rank]) for part in random_sub_batches(size, 4, 3)]
    method = wmse_method()
    z = [method.projector(method.represent(view)) for view in views_of(0)]
    total = wmse_loss(z, sub_batches=parts).total
    expected = gradients(method, total)
    for rank_found in found:
        torch.testing.assert_close(rank_found["wmse loss 0"], total.detach(), rtol=1e-12, atol=0)
        torch.testing.assert_close(rank_found["wmse gradient 0"], expected, rtol=1e-9, atol=1e-12)
