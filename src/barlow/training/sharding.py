"""Runs whose parameters lie in shards over the processes (FSDP): the whole network beside what is trained in parts.

What is trained is a copy of the method whose parameters, gradients and moments are divided. The method itself stays
whole, in the memory of the host, and takes over the weights where they are looked at: checkpoints, figures, the end.
So a checkpoint is that of any other run, and goes on in shards or not, with as many processes as there are then.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from barlow.seams import Method

SHARDED = (nn.modules.conv._ConvNd, nn.Linear)
"""Layers that are gathered one by one when they are needed, and let go; the small rest of a method is one part."""


def sharded_strategy(processes: int) -> ModelParallelStrategy:
    """Return Fabric's strategy that divides parameters over so many processes."""
    return ModelParallelStrategy(_in_parts, data_parallel_size=processes, tensor_parallel_size=1)


def _in_parts(method: nn.Module, mesh: Any) -> nn.Module:
    along = mesh["data_parallel"]
    for part in [one for one in method.modules() if isinstance(one, SHARDED)]:
        fully_shard(part, mesh=along)
    fully_shard(method, mesh=along)
    return method


def in_shards(fabric: Fabric) -> bool:
    """Whether the engine divides parameters over its processes."""
    return isinstance(fabric.strategy, ModelParallelStrategy)


def set_up(method: Method, optimizer: Optimizer, fabric: Fabric) -> tuple[Method, nn.Module, Any]:
    """Put a method and its optimizer where the engine wants them.

    Returns:
        What is trained: the method itself, or, in shards, a copy of it; the same as the engine calls it; and the
        engine's optimizer, whose groups hold the parameters of what is trained.
    """
    if not in_shards(fabric):
        return (method, *fabric.setup(method, optimizer))
    trained = copy.deepcopy(method).to(memory_format=torch.contiguous_format)  # what can be divided
    names = {id(one): name for name, one in method.named_parameters()}
    wrapped = fabric.setup_module(trained)  # part by part to its device
    parts = dict(trained.named_parameters())
    for group in optimizer.param_groups:  # made before there were parts
        group["params"] = [parts[names[id(one)]] for one in group["params"]]
    return trained, wrapped, fabric.setup_optimizers(optimizer)


def gather(trained: nn.Module, method: nn.Module) -> None:
    """Let `method` have the weights and buffers of what is trained; every process takes part."""
    if trained is not method:
        method.load_state_dict({name: whole(one) for name, one in trained.state_dict().items()})


@contextmanager
def gathered(trained: nn.Module, method: nn.Module, fabric: Fabric) -> Iterator[None]:
    """Have `method` whole, with the weights of what is trained, where the first process looks at it in the block."""
    if trained is method:
        yield
        return
    gather(trained, method)
    if fabric.is_global_zero:
        method.to(fabric.device)
    yield
    method.cpu()


def spread(method: nn.Module, trained: nn.Module) -> None:
    """Let what is trained have the weights and buffers of `method`; every process takes part."""
    if trained is not method:
        state, parts = method.state_dict(), trained.state_dict()
        trained.load_state_dict({name: _like(parts[name], one) for name, one in state.items()})


def state_of(optimizer: Optimizer) -> dict[str, Any]:
    """Return the state of an optimizer with its moments whole; every process takes part."""
    state = optimizer.state_dict()
    moments = {place: {name: whole(one) for name, one in of.items()} for place, of in state["state"].items()}
    return {**state, "state": moments}


def restore_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Give an optimizer the state that `state_of` returned, here or elsewhere; its moments lie as its parameters do."""
    optimizer.load_state_dict(state)
    for parameter, of in optimizer.state.items():
        optimizer.state[parameter] = {name: _like(parameter, one) for name, one in of.items()}


def whole(value: Any) -> Any:
    """Return a tensor that may lie in shards as one; anything else as it is."""
    return value.full_tensor().detach() if isinstance(value, DTensor) else value


def _like(part: Any, value: Any) -> Any:
    """The part of a whole tensor that this process has, where `part` lies in shards."""
    if not isinstance(part, DTensor) or not isinstance(value, Tensor) or value.shape != part.shape:
        return value
    if isinstance(value, DTensor):
        return value
    return distribute_tensor(value.detach().to(part.device).contiguous(), part.device_mesh, part.placements)
