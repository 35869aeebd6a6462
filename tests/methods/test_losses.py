"""Losses as modules are the functions; in a process group both are those of the whole batch; none breaks a graph."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import start_processes

import barlow
from barlow.methods.swav import sinkhorn
from barlow.methods.vicregl import Embeddings
from barlow.seams import Terms
from barlow.statistics import collectives
from barlow.statistics.collectives import (
    all_mean,
    gather_for,
    gather_rows,
    gather_with_grad,
    identity,
    mean_for,
    own_rows,
)

MODULES = [name for name in barlow.__all__ if name.endswith("Loss")]
SIZES = [7, 11]
D = 3


def function_of(module: str) -> Any:
    return getattr(barlow, {"CCASSGLoss": "cca_ssg_loss", "SimCLRLoss": "simclr_loss", "SimSiamLoss": "simsiam_loss",
        "BarlowTwinsLoss": "barlow_twins_loss", "OptimalProjectorLoss": "optimal_projector_loss"}.get(
        module, module.removesuffix("Loss").lower() + "_loss"))  # fmt: skip


def rows(number: int, seed: int = 0, width: int = D) -> Tensor:
    """Rows whose shards differ in mean and scale."""
    z = torch.randn(number, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return z * torch.linspace(1, 3, number, dtype=torch.float64)[:, None]


def whole() -> list[Tensor]:
    return [rows(sum(SIZES), seed) for seed in range(4)]


def located(z: Tensor, other: Tensor) -> Embeddings:
    return Embeddings(z, torch.stack([z, other], dim=1), torch.stack([other, z], dim=1)[..., :2].detach())


def directions() -> Tensor:
    return torch.nn.functional.normalize(rows(D, 9, 6), dim=0)


Call = Callable[..., Terms]
FUNCTIONS: dict[str, Call] = {
    "barlow_twins": lambda a, b, c, d, **how: barlow.barlow_twins_loss(a, b, bias="removed", **how),
    "barlow_twins gram": lambda a, b, c, d, **how: barlow.barlow_twins_loss(a, b, form="gram", **how),
    "byol": lambda a, b, c, d, **how: barlow.byol_loss(a, b, c, d, **how),
    "cca_ssg": lambda a, b, c, d, **how: barlow.cca_ssg_loss(a, b, **how),
    "optimal_projector": lambda a, b, c, d, **how: barlow.optimal_projector_loss(a, b, **how),
    "sigreg": lambda a, b, c, d, **how: barlow.sigreg_loss(torch.stack([a, b]), directions(), **how),
    "simclr": lambda a, b, c, d, **how: barlow.simclr_loss(a, b, **how),
    "simsiam": lambda a, b, c, d, **how: barlow.simsiam_loss(a, b, c, d, **how),
    "swav": lambda a, b, c, d, **how: barlow.swav_loss(torch.stack([a, b, c]), sinkhorn(d)[None], **how),
    "vicreg": lambda a, b, c, d, **how: barlow.vicreg_loss(a, b, **how),
    "vicregl": lambda a, b, c, d, **how: barlow.vicregl_loss([located(a, c), located(b, d)], **how),
    "wmse": lambda a, b, c, d, **how: barlow.wmse_loss([a, b], sub_batches=sub_batches(len(a)), **how),
    "SwAVLoss": lambda a, b, c, d, **how: barlow.SwAVLoss(**how)(torch.stack([a, b, c])),
    "SIGRegLoss": lambda a, b, c, d, **how: barlow.SIGRegLoss(num_directions=4, **how)(a, b),
    "SimCLRLoss": lambda a, b, c, d, **how: barlow.SimCLRLoss(**how)(a, b),
    "BarlowTwinsLoss": lambda a, b, c, d, **how: barlow.BarlowTwinsLoss(**how)(a, b),
    "VICRegLoss": lambda a, b, c, d, **how: barlow.VICRegLoss(**how)(a, b),
    "VICRegLLoss": lambda a, b, c, d, **how: barlow.VICRegLLoss(**how)([located(a, c), located(b, d)]),
    "BYOLLoss": lambda a, b, c, d, **how: barlow.BYOLLoss(**how)(a, b, c, d),
    "SimSiamLoss": lambda a, b, c, d, **how: barlow.SimSiamLoss(**how)(a, b, c, d),
    "CCASSGLoss": lambda a, b, c, d, **how: barlow.CCASSGLoss(**how)(a, b),
    "OptimalProjectorLoss": lambda a, b, c, d, **how: barlow.OptimalProjectorLoss(**how)(a, b),
}  # fmt: skip
"""Each loss of embeddings of up to four kinds, as people call it: with nothing said of processes."""


def sub_batches(number: int) -> list[Tensor]:
    """Those of the shards, where all rows are in one process."""
    order = torch.arange(number)
    return list(order.split(SIZES)) if number == sum(SIZES) else [order]


def loss_and_gradient(name: str, z: list[Tensor], **how: Any) -> tuple[Tensor, Tensor]:
    leaves = [one.clone().requires_grad_() for one in z]
    torch.manual_seed(0)
    terms = FUNCTIONS[name](*leaves, **how)
    terms.backward()
    return terms.total.detach(), torch.cat([torch.zeros_like(z[0]) if x.grad is None else x.grad for x in leaves], 1)


def work(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=len(SIZES))
    own = [z.split(SIZES)[rank] for z in whole()]
    found = {name: loss_and_gradient(name, own) for name in FUNCTIONS}
    found["alone"] = loss_and_gradient("vicreg", own, all_mean=identity)
    found["simclr alone"] = loss_and_gradient("simclr", own, all_mean=identity)
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, tuple[Tensor, Tensor]]]:
    folder = tmp_path_factory.mktemp("losses")
    start_processes(work, args=(str(folder),), nprocs=len(SIZES), start_method="fork")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(len(SIZES))]


@pytest.mark.dist
@pytest.mark.parametrize("name", FUNCTIONS)
def test_in_a_process_group_a_loss_is_that_of_the_whole_batch_without_a_word(name: str, shards: Any) -> None:
    loss, gradient = loss_and_gradient(name, whole())
    for shard in shards:
        torch.testing.assert_close(shard[name][0], loss, rtol=1e-9, atol=1e-9)
    # Each process has the gradient of the sum over processes; DDP divides by their number.
    got = torch.cat([shard[name][1] for shard in shards]) / len(SIZES)
    torch.testing.assert_close(got, gradient, rtol=1e-8, atol=1e-9)


@pytest.mark.dist
def test_a_process_that_wants_its_own_samples_alone_says_so(shards: Any) -> None:
    for rank, shard in enumerate(shards):
        own = [z.split(SIZES)[rank] for z in whole()]
        torch.testing.assert_close(shard["alone"][0], loss_and_gradient("vicreg", own)[0])
        torch.testing.assert_close(shard["simclr alone"][0], loss_and_gradient("simclr", own)[0])
        assert abs(float(shard["alone"][0] - shard["vicreg"][0])) > 0.1


def test_what_a_group_cannot_carry_is_warned_of_once_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    z = torch.zeros(2, 2)
    assert mean_for(z) is identity
    monkeypatch.setattr(collectives, "num_processes", lambda: 2)
    monkeypatch.setattr(dist, "get_backend_config", lambda: "cuda:nccl")
    collectives._say_once.cache_clear()
    with pytest.warns(UserWarning, match=r"all_mean: the process group .* own samples .*gather=.*MeanOver") as said:
        assert (mean_for(z), gather_for(z), mean_for(z)) == (identity, own_rows, identity)
    assert len(said) == 1
    monkeypatch.setattr(dist, "get_backend_config", lambda: "cpu:gloo,cuda:nccl")
    assert mean_for(z) is all_mean
    assert mean_for(z, identity) is identity
    assert gather_for(z, gradient=True) is gather_with_grad
    assert gather_for(z, None, all_mean) is gather_rows
    assert gather_for(z, None, identity) is own_rows
    with pytest.warns(UserWarning, match=r"gather: got none beside an all_mean of your own"):
        assert gather_for(z, None, lambda mean, number: mean) is own_rows


@pytest.mark.parametrize("name", MODULES)
def test_a_module_takes_the_numbers_of_its_function_with_its_defaults(name: str) -> None:
    module, function = getattr(barlow, name), function_of(name)
    ours, theirs = (
        {one.name: one.default for one in inspect.signature(thing).parameters.values() if one.kind is one.KEYWORD_ONLY}
        for thing in (module, function)
    )
    theirs.pop("sub_batches", None)  # of one batch
    assert ours.items() >= theirs.items()
    assert f"barlow.{function.__name__}" in (module.__doc__ or "")
    assert list(module().parameters()) == []


def test_a_module_shows_and_uses_its_numbers() -> None:
    a, b, c, d = whole()
    loss = barlow.BarlowTwinsLoss(redundancy_weight=0.2, normalization="raw")
    assert repr(loss) == ("BarlowTwinsLoss(redundancy_weight=0.2, normalization='raw', form='auto', bias='kept')")
    expected = barlow.barlow_twins_loss(a, b, redundancy_weight=0.2, normalization="raw")
    assert float(loss(a, b)) == float(expected)
    assert float(barlow.SimSiamLoss()(a, b, c, d)) == float(barlow.simsiam_loss(a, b, c, d))
    scores = torch.stack([a, b, c])
    codes = torch.stack([sinkhorn(z, epsilon=0.3) for z in (a, b)])
    swav = barlow.SwAVLoss(temperature=0.5, epsilon=0.3)(scores)
    assert float(swav) == float(barlow.swav_loss(scores, codes, temperature=0.5))


GRAPHS = """
import torch, barlow
from barlow.methods.vicregl import Embeddings
def z(n=8, d=4): return torch.randn(n, d, requires_grad=True)
def located(): return Embeddings(z(), torch.randn(8, 5, 3), torch.rand(8, 5, 2))
units = torch.nn.functional.normalize(torch.randn(4, 6), dim=0)
calls = [
    (barlow.BarlowTwinsLoss(form="direct"), (z(), z())), (barlow.BarlowTwinsLoss(form="gram"), (z(), z())),
    (barlow.BarlowTwinsLoss(bias="removed"), (z(), z())),
    (barlow.BarlowTwinsLoss(normalization="whiten"), (z(), z())), (barlow.CCASSGLoss(), (z(), z())),
    (barlow.OptimalProjectorLoss(), (z(), z())), (barlow.SimCLRLoss(), (z(), z())), (barlow.VICRegLoss(), (z(), z())),
    (barlow.BYOLLoss(), (z(), z(), z(), z())), (barlow.SimSiamLoss(), (z(), z(), z(), z())),
    (barlow.VICRegLLoss(), ([located(), located()],)), (barlow.WMSELoss(w_size=16), (z(64), z(64))),
    (barlow.SIGRegLoss(num_directions=6), (z(), z())), (barlow.SwAVLoss(), (torch.randn(3, 8, 5, requires_grad=True),)),
]
seen = set()
for loss, given in calls:
    torch._dynamo.reset()
    torch.manual_seed(0)
    plain = loss(*given).total
    torch.manual_seed(0)
    terms = torch.compile(loss, fullgraph=True, backend="eager")(*given)
    terms.backward()
    torch.testing.assert_close(terms.total, plain, rtol=1e-4, atol=1e-5)
    seen.add(type(loss).__name__)
print(sorted(seen))
"""


def test_no_loss_breaks_a_graph_of_torch_compile() -> None:
    """In a process of its own: the run-time type checks of the tests are no part of the library."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", GRAPHS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == str(sorted(MODULES))
