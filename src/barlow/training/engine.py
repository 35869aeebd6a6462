"""The engine: devices, processes and precision, by Lightning Fabric; the only place that chooses them."""

import ctypes
import inspect
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from barlow.errors import unknown
from barlow.recipes import Recipe
from barlow.training.machine import Machine
from barlow.training.sharding import sharded_strategy

ACCELERATORS = ("auto", "cpu", "cuda", "mps", "gpu")
"""What `Machine.accelerator` can be; "gpu" is whichever of cuda and mps is there."""


def build_fabric(recipe: Recipe, machine: Machine) -> Fabric:
    """Return the engine: devices, processes and precision; where it is a CPU, freed memory is kept from here on."""
    _check_machine(machine)
    devices, num_nodes = _processes(machine)
    engine: dict[str, Any] = {"precision": recipe.precision}  # "auto" is resolved by `resolve_precision`
    if recipe.precision in ("16-mixed", "bf16-mixed"):
        engine = {"plugins": Autocast(recipe.precision, _device_type(machine))}
    fabric = Fabric(
        accelerator=machine.accelerator,
        devices=devices,
        num_nodes=num_nodes,
        strategy=_strategy(machine, devices, num_nodes),
        **engine,
    )
    if fabric.device.type == "cpu":
        keep_freed_memory()
    return fabric


def device_of(accelerator: str) -> torch.device:
    """Return the device on which features are computed where nothing is trained; "auto" as for a run."""
    machine = Machine(accelerator=accelerator)
    _check_machine(machine)
    return torch.device(_device_type(machine))


class Autocast(MixedPrecision):
    """Mixed precision by autocast alone, which converts what goes into convolutions and products.

    Fabric's own converts all floating numbers among the views before: also the boxes of crops, where bf16 has two or
    three digits, and some of VICRegL's matches were others then.
    """

    def convert_input(self, data: Any) -> Any:
        """Return the views as they are."""
        return data


def under_autocast(represent: Callable[[Any], Tensor], fabric: Fabric) -> Callable[[Any], Tensor]:
    """Return the same function in the precision of the run; what is made of its features stays in theirs."""

    def computed(view: Any) -> Tensor:
        with fabric.autocast():
            return represent(view).float()

    return computed


def _device_type(machine: Machine) -> str:
    """What the engine will compute on: "auto" and "gpu" are CUDA where there is some, then Apple's, then the CPU."""
    if machine.accelerator in ("cpu", "cuda", "mps"):
        return machine.accelerator
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _check_machine(machine: Machine) -> None:
    if machine.accelerator not in ACCELERATORS:
        raise unknown("accelerator", machine.accelerator, ACCELERATORS)
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    here["gpu"] = any(here.values())
    if not here.get(machine.accelerator, True):
        raise ValueError(f"accelerator: got {machine.accelerator!r}, but torch sees no GPU; wanted cpu or auto")
    if machine.num_nodes < 1:
        raise ValueError(f"num_nodes: got {machine.num_nodes}, wanted a number from 1")
    devices = str(machine.devices)
    if devices == "auto":
        return
    if not devices.isdecimal() or int(devices) < 1:
        raise ValueError(f"devices: got {machine.devices!r}, wanted auto or a number from 1")
    gpus = 0 if machine.accelerator == "cpu" else torch.cuda.device_count()
    if 0 < gpus < int(devices):
        raise ValueError(f"devices: got {machine.devices!r}, wanted auto or a number up to {gpus}, the GPUs here")


def _strategy(machine: Machine, devices: int | str, num_nodes: int) -> str | DDPStrategy | ModelParallelStrategy:
    """How the processes share the work; one alone has nothing to share, in shards or not."""
    if (devices, num_nodes) == (1, 1):
        return "auto"
    return sharded_strategy(int(devices) * num_nodes) if machine.shard else _data_parallel()


def _data_parallel() -> DDPStrategy:
    """DDP that leaves buffers alone: BatchNorm is synchronised, and a method keeps its own, such as a queue, equal."""
    known = inspect.signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # renamed by torch
    without: dict[str, Any] = {name: False}
    return DDPStrategy(**without)


def _processes(machine: Machine) -> tuple[int | str, int]:
    """Processes per machine, and machines; unless told, those that torchrun has started, or one per GPU."""
    given = str(machine.devices)
    devices: int | str = int(given) if given.isdecimal() else given
    if devices != "auto":
        return devices, machine.num_nodes
    if torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        return here, int(os.environ["WORLD_SIZE"]) // here
    on_cuda = machine.accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available()
    return (torch.cuda.device_count() if on_cuda else 1), machine.num_nodes


def resolve_precision(recipe: Recipe, machine: Machine | None = None) -> Recipe:
    """Replace precision "auto" by what this machine is fast at: bf16 where it is native, float32 elsewhere."""
    if recipe.precision != "auto":
        return recipe
    device = _device_type(machine or Machine())
    native = _cpu_multiplies_bf16() if device == "cpu" else False
    if device == "cuda":  # the default says yes to GPUs that emulate it, slowly
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    return replace(recipe, precision="bf16-mixed" if native else "32-true")


def _cpu_multiplies_bf16() -> bool:
    """Whether the CPU itself multiplies bf16; where it does not, emulation is slower than float32."""
    if not hasattr(torch.cpu, "get_capabilities"):  # torch before 2.13
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
"""Numbers of the options in glibc's malloc.h."""
LARGEST_MMAP_THRESHOLD = 2**25
"""Bytes; glibc refuses more on 64-bit machines (DEFAULT_MMAP_THRESHOLD_MAX)."""
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, blocks of up to 32 MB, for its next use; whether glibc took it.

    A training step asks for the same large tensors again and again. glibc maps blocks above a few MB from the system
    and returns them as soon as they are free, so every activation of every step is made of pages that the kernel has to
    find and clear anew: 80,000 page faults in one step of a ResNet-18 of width 16 at batch 256, a fifth of its time
    (`benchmarks/pretraining.py`).

    Holds for the whole process until it ends; its peak memory stays what it was. Does nothing where the C library is
    not glibc (macOS, Windows, Alpine).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function, or no such library
        return False
    took = (mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD), mallopt(M_TRIM_THRESHOLD, NEVER))
    return took == (1, 1)
