"""A GPU that is not there: tensors that say they are on one, compute on the CPU, and note who makes the host wait.

`OnGpu` holds what is on the device; every operation on one gives another. `Pretended` is the mode in which tensors get
there (`to`, `device=`), and away. Waits are noted in `waits`: reading a number or a truth, sizes that depend on values,
copies that are not both pinned and asked not to block, tensors made on the device from Python's numbers.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

GPU = torch.device("cuda", 0)
CPU = torch.device("cpu")
READS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal", "is_nonzero", "bincount")

waits: list[str] = []
under_way: list[tuple[Tensor, Tensor]] = []
"""Copies to the host that nobody has waited for yet: where they go there are zeros."""


class OnGpu(Tensor):
    """A tensor on the device; `held` has its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "OnGpu":
        made: OnGpu = Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype
        )
        made.held = inner
        return made

    device = property(lambda self: GPU)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"OnGpu({tuple(self.shape)})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        if name in READS:
            waits.append(name)
        if name in ("index", "index_put", "index_put_"):
            _note_indices(name, args)
        if name == "copy_":
            return _copied(*args, **kwargs)
        _refuse_mixed(name, args)
        result = func(*tree_map(_inner, args), **tree_map(_inner, kwargs))
        first = func._schema.arguments[0].alias_info if func._schema.arguments else None
        if "out" in kwargs:
            return kwargs["out"]
        if first is not None and first.is_write:
            return args[0]
        return tree_map(lambda x: OnGpu(x) if isinstance(x, Tensor) and not isinstance(x, OnGpu) else x, result)


def _inner(x: Any) -> Any:
    return x.held if isinstance(x, OnGpu) else x


def _note_indices(name: str, args: Any) -> None:
    for index in args[1]:
        if index is not None and (index.dtype == torch.bool or not isinstance(index, OnGpu)):
            waits.append(f"{name} by {index.dtype} of {'the device' if isinstance(index, OnGpu) else 'the CPU'}")


def _refuse_mixed(name: str, args: Any) -> None:
    """As CUDA does; in the backward pass autograd's own zeros are plain here."""
    if torch._C._current_graph_task_id() == -1 and name not in ("index", "index_put", "index_put_"):
        for one in args:
            if isinstance(one, Tensor) and not isinstance(one, OnGpu) and one.ndim:
                raise AssertionError(f"{name}: one tensor is on the CPU, another on the device")


def _copied(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    host = [one for one in (target, source) if not isinstance(one, OnGpu)]
    if any(one.ndim for one in host) and not (non_blocking and all(getattr(one, "pinned", False) for one in host)):
        waits.append("copy_")
    if not isinstance(target, OnGpu) and non_blocking:
        under_way.append((target.zero_(), _inner(source).clone()))
    else:
        _inner(target).copy_(_inner(source))
    return target


class Pretended(TorchFunctionMode):
    """While it lasts, `to(GPU)` and `device=GPU` lead to the device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        pinned = kwargs.pop("pin_memory", False)
        if name in ("to", "cpu", "numpy", "tolist"):
            return self._moved(name, func, args, kwargs)
        if kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cuda":
            if name in ("tensor", "as_tensor", "new_tensor"):
                waits.append(f"{name} of numbers")
            kwargs["device"] = CPU
            return OnGpu(func(*tree_map(_inner, args), **kwargs))
        if kwargs.get("device") == "cpu":
            args = tree_map(_inner, args)
        result = func(*args, **kwargs)
        if pinned or (name in ("copy_", "cat") and getattr(result, "pinned", False)):
            result.pinned = True
        return result

    def _moved(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        one, wanted = args[0], [*args[1:], *kwargs.values()]
        places = [torch.device(x) for x in wanted if isinstance(x, (str, torch.device))]
        rest = [x for x in args[1:] if not isinstance(x, (str, torch.device))]
        options = {key: x for key, x in kwargs.items() if key != "device"}
        if isinstance(one, OnGpu) and (name != "to" or (places and places[0].type == "cpu")):
            waits.append(name)
            return func(one.held, *rest, **options)
        if isinstance(one, OnGpu):
            return func(one, *rest, **options) if rest or options else one
        if not places or places[0].type == "cpu":
            return func(*args, **kwargs)
        if one.ndim and not (kwargs.get("non_blocking") and getattr(one, "pinned", False)):
            waits.append("to the device")
        return OnGpu(one.clone())


class Event:
    """In the stead of `torch.cuda.Event`: what is under way arrives when it is waited for."""

    def record(self) -> None: ...

    def synchronize(self) -> None:
        while under_way:
            target, values = under_way.pop()
            target.copy_(values)


class PretendedFabric:
    """The engine on the device that is not there, alone and in float32."""

    device, world_size, global_rank, is_global_zero = GPU, 1, 0, True
    strategy = None  # one device: nothing lies in shards

    def setup(self, method: nn.Module, optimizer: Any) -> tuple[nn.Module, Any]:
        return method, optimizer

    def backward(self, loss: Tensor) -> None:
        loss.backward()


def put(module: nn.Module) -> None:
    """Move the parameters and buffers of a module there, in place."""
    for part in module.modules():
        for name, parameter in list(part._parameters.items()):
            if parameter is not None:
                moved = nn.Parameter(OnGpu(parameter.detach()), requires_grad=parameter.requires_grad)
                part._parameters[name] = moved
        for name, buffer in list(part._buffers.items()):
            if buffer is not None:
                part._buffers[name] = OnGpu(buffer)
