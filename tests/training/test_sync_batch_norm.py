"""BatchNorm over two processes with unequal shards is torch's own over all samples, in every quantity."""

import copy
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.multiprocessing.spawn import start_processes
from torch.utils._python_dispatch import TorchDispatchMode

from barlow.images.networks.backbones import build_backbone
from barlow.training.sync_batch_norm import plain_batch_norms, synchronise_batch_norms

SIZES = [3, 8]

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "rows": (nn.BatchNorm1d(4), ()),
    "sequences": (nn.BatchNorm1d(4, eps=0.1), (5,)),
    "maps": (nn.BatchNorm2d(4, momentum=0.3), (3, 2)),
    "volumes": (nn.BatchNorm3d(4), (2, 2, 2)),
    "no scale": (nn.BatchNorm1d(4, affine=False), ()),
    "no offset": (nn.BatchNorm1d(4).requires_grad_(False), ()),
    "cumulative average": (nn.BatchNorm1d(4, momentum=None), ()),
    "no running statistics": (nn.BatchNorm1d(4, track_running_stats=False), ()),
    "timm's with activation": (BatchNormAct2d(4, act_layer=nn.SiLU), (3, 2)),
}


def data(shape: tuple[int, ...], offset: float = 0.0) -> tuple[Tensor, Tensor]:
    """Input whose shards differ in mean and scale, and the gradient of the loss by the output."""
    generator = torch.Generator().manual_seed(1)
    x, grad = torch.randn(2, sum(SIZES), 4, *shape, generator=generator, dtype=torch.float64)
    return x * torch.linspace(1, 3, sum(SIZES)).view(-1, *[1] * (x.ndim - 1)) + offset, grad


def passed(layer: nn.Module, x: Tensor, grad: Tensor) -> dict[str, Tensor]:
    """Two steps, so that running statistics have moved twice; what came out of the second."""
    x = x.clone().requires_grad_()
    layer(x + 1)
    y = layer(x)
    y.backward(grad)
    found = {"y": y.detach(), "dx": x.grad} | dict(layer.named_buffers())
    found |= {f"d{name}": p.grad for name, p in layer.named_parameters() if p.grad is not None}
    layer.eval()
    found["evaluated"] = layer(x).detach()
    return {name: value for name, value in found.items() if value is not None}


class Reads(TorchDispatchMode):
    """Counts what would make the host wait for a GPU: numbers that are read."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_reads_are_counted() -> None:
    with Reads() as reads:
        float(torch.ones(()) + 1)
    assert reads.number == 1


@pytest.mark.dist
@pytest.mark.parametrize("name", LAYERS)
def test_no_number_is_read(found: "Found", name: str) -> None:
    assert [int(process[name]["reads"]) for process in found] == [0, 0]


def work(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=len(SIZES))
    found = {}
    for name, (layer, shape) in LAYERS.items():
        own = copy.deepcopy(layer).double()
        synchronise_batch_norms(own)
        x, grad = (whole.split(SIZES)[rank] for whole in data(shape))
        with Reads() as reads:
            found[name] = passed(own, x, grad)
        found[name]["reads"] = torch.tensor(reads.number)
    half = nn.BatchNorm1d(4)
    synchronise_batch_norms(half)
    found["half"] = {"y": half(data((), 50.0)[0].split(SIZES)[rank].to(torch.bfloat16)).detach()}
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


Found = list[dict[str, dict[str, Tensor]]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("norms")
    multiprocessing.get_context("forkserver").set_forkserver_preload(["tests.training.test_sync_batch_norm"])
    start_processes(work, args=(str(folder),), nprocs=len(SIZES), start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(len(SIZES))]


@pytest.mark.dist
@pytest.mark.parametrize("name", LAYERS)
def test_output_gradients_and_running_statistics_are_those_of_one_process(found: Found, name: str) -> None:
    layer, shape = LAYERS[name]
    expected = passed(copy.deepcopy(layer).double(), *data(shape))
    per_sample = {"y", "dx"} if "running" in name else {"y", "dx", "evaluated"}  # else evaluated by own statistics
    for rank, process in enumerate(found):
        for quantity, value in process[name].items():
            if quantity in per_sample:
                torch.testing.assert_close(value, expected[quantity].split(SIZES)[rank], rtol=1e-10, atol=1e-12)
            elif "running" in quantity or "batches" in quantity:
                torch.testing.assert_close(value, expected[quantity], rtol=1e-12, atol=1e-12)
    for quantity in ("dweight", "dbias"):
        if quantity in expected:
            total = found[0][name][quantity] + found[1][name][quantity]
            torch.testing.assert_close(total, expected[quantity], rtol=1e-10, atol=1e-12)


@pytest.mark.dist
def test_half_precision_input_is_measured_in_float32(found: Found) -> None:
    """With an offset of 50 a variance of bf16 numbers summed in bf16 would be far off."""
    x = data((), 50.0)[0].to(torch.bfloat16)
    expected = nn.BatchNorm1d(4)(x.float())
    ours = torch.cat([process["half"]["y"] for process in found])
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours.float(), expected, rtol=1e-2, atol=1e-2)


def test_names_parameters_and_classes_survive_the_way_there_and_back() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Sequential(nn.BatchNorm2d(4), BatchNormAct2d(4)))
    before, kinds = {name: id(p) for name, p in net.named_parameters()}, [type(m) for m in net.modules()]
    names = list(net.state_dict())
    synchronise_batch_norms(net)
    assert [type(m) for m in net.modules()] != kinds
    assert isinstance(copy.deepcopy(net)[1], nn.BatchNorm1d)
    assert {name: id(p) for name, p in net.named_parameters()} == before
    assert list(net.state_dict()) == names
    synchronise_batch_norms(net)  # twice is once
    plain_batch_norms(net)
    assert [type(m) for m in net.modules()] == kinds


def test_alone_it_is_the_plain_layer() -> None:
    layer = nn.BatchNorm1d(4).double()
    x, grad = data(())
    expected = passed(copy.deepcopy(layer), x, grad)
    synchronise_batch_norms(layer)
    for name, value in passed(layer, x, grad).items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize("name", ["resnet10", "timm:efficientnet_b0"])
def test_backbones_by_name_can_be_synchronised(name: str) -> None:
    synchronise_batch_norms(build_backbone(name, in_channels=3, image_size=32))


def test_a_norm_of_a_class_of_its_own_is_refused_by_name() -> None:
    class Own(nn.BatchNorm1d):
        pass

    with pytest.raises(ValueError, match=r"its layer '1' is a Own.*wanted BatchNorm1d.*or one process"):
        synchronise_batch_norms(nn.Sequential(nn.Linear(2, 2), Own(2)))
