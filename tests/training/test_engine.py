"""The engine: machines that are not there are refused, precision goes by the device, views are not converted."""

import platform
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from barlow.images.views.located import LocatedView
from barlow.recipes import Recipe
from barlow.training.engine import build_fabric, device_of, resolve_precision, under_autocast
from barlow.training.machine import Machine

SMALL = Recipe(backbone="resnet10", width=4, projector="16-16", views="small-grey", precision="32-true")
MIXED = replace(SMALL, precision="bf16-mixed")
CPU = Machine(devices="1", accelerator="cpu")


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        (Machine(accelerator="cuda"), "accelerator: got 'cuda', but torch sees no GPU; wanted cpu or auto"),
        (Machine(accelerator="mps"), "accelerator: got 'mps', but torch sees no GPU; wanted cpu or auto"),
        (Machine(accelerator="gpu"), "accelerator: got 'gpu', but torch sees no GPU; wanted cpu or auto"),
        (Machine(accelerator="gpuu"), "accelerator: got 'gpuu', wanted one of auto, cpu, .*; did you mean 'gpu'?"),
        (Machine(devices="x"), "devices: got 'x', wanted auto or a number from 1"),
        (Machine(devices="0"), "devices: got '0', wanted auto or a number from 1"),
        (Machine(devices="-1"), "devices: got '-1', wanted auto or a number from 1"),
        (Machine(num_nodes=0), "num_nodes: got 0, wanted a number from 1"),
    ],
)
def test_a_machine_that_is_not_there_is_refused(
    machine: Machine, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(ValueError, match=message):
        build_fabric(SMALL, machine)


def test_features_are_computed_where_a_run_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    for there, expected in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr("torch.cuda.is_available", lambda there=there: there)
        assert device_of("auto").type == expected
        assert device_of("cpu").type == "cpu"
    assert device_of("gpu").type == "cuda"
    with pytest.raises(ValueError, match="accelerator: got 'mps', but torch sees no GPU"):
        device_of("mps")


def test_more_processes_than_gpus_are_refused_unless_they_are_to_run_on_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(ValueError, match="devices: got '3', wanted auto or a number up to 2, the GPUs here"):
        build_fabric(SMALL, Machine(devices="3"))
    assert build_fabric(SMALL, Machine(devices="3", accelerator="cpu")).world_size == 3
    assert build_fabric(SMALL, Machine(devices="1", accelerator="cpu")).device.type == "cpu"


def test_auto_is_bf16_only_where_the_device_that_will_run_multiplies_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def supported(including_emulation: bool = True) -> bool:
        asked.append(including_emulation)
        return including_emulation  # a GPU of before 2020: emulated only

    auto = replace(SMALL, precision="auto")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", supported)
    assert resolve_precision(auto, Machine()).precision == "32-true"
    assert asked == [False]
    monkeypatch.setattr("barlow.training.engine._cpu_multiplies_bf16", lambda: True)
    assert resolve_precision(auto, CPU).precision == "bf16-mixed"
    assert resolve_precision(auto, Machine(accelerator="cuda")).precision == "32-true"
    assert resolve_precision(SMALL, CPU) is SMALL


def test_views_reach_the_method_as_they_were_drawn() -> None:
    """Fabric alone would bring all floating numbers to bf16, the boxes of crops among them."""
    seen: list[LocatedView] = []

    class Kept(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3, 3))

        def forward(self, view: LocatedView) -> Tensor:
            seen.append(view)
            product = view.images @ self.weight
            assert product.dtype == torch.bfloat16
            return product.sum()

    fabric = build_fabric(MIXED, CPU)
    method = Kept()
    wrapped = fabric.setup(method)
    boxes = torch.rand(2, 4)
    wrapped(LocatedView(torch.rand(2, 3), boxes, torch.zeros(2, dtype=torch.bool)))
    assert torch.equal(seen[0].boxes, boxes)
    assert seen[0].images.dtype == torch.float32


def test_features_are_computed_in_the_precision_of_the_run_and_kept_in_float32() -> None:
    found: list[torch.dtype] = []

    def represent(view: Tensor) -> Tensor:
        h = view @ view.T
        found.append(h.dtype)
        return h

    h = under_autocast(represent, build_fabric(MIXED, CPU))(torch.rand(4, 4))
    assert found == [torch.bfloat16]
    assert h.dtype == torch.float32
    assert (h @ h).dtype == torch.float32


# --- Large tensors that come and go every step cost no page faults after the first.


FAULTS = """
import resource
import sys
import torch
from barlow.training.engine import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    assert keep_freed_memory()
network = torch.nn.Sequential(*[torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU()) for _ in range(10)])
def step():
    network(torch.ones(2**14, 64)).sum().backward()  # activations of 4 MB, 1,024 pages each
for _ in range(10):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_freed_memory_is_used_again() -> None:
    def faults(mode: str) -> int:
        return int(subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, check=True).stdout)

    kept = min(faults("keep") for _ in range(3))  # a machine short of memory takes pages back, which adds faults
    assert 5 * kept < faults("return")
