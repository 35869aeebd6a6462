"""State dicts out of files of other projects: safetensors, or torch files of plain tensors, never unpickled."""

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

State = dict[str, Tensor]

_DEEPEST = 3
"""Levels of dicts that are looked into: {"state_dict": {"teacher": {name: tensor}}} is as deep as scripts go."""
_OPTIMIZERS = "optim"
"""What entries with the state of an optimizer begin with; their tensors are no weights."""
_REFUSED = re.compile(r"GLOBAL (\S+)")
"""How torch names the class or function that it refuses to import."""


def read_states(path: Path) -> dict[str, State]:
    """Read every state dict of a file.

    Args:
        path: `.safetensors`, or anything that `torch.load(weights_only=True)` reads: `.pth`, `.pt`, `.ckpt`, `.tar`.

    Returns:
        Tensors on the CPU by name, as they are called in the file, by the place of their dict in the file: "" at the
        top, "state_dict", "model", "student.backbone". Optimizer states are left out.

    Raises:
        ValueError: no such file, one of another kind, one without tensors by name, or a pickle of more than tensors
            and plain values, which could run code; says how to save its weights alone.
    """
    if path.is_dir():
        raise ValueError(f"path: {str(path)!r} is a folder, wanted a file of weights")
    if not path.is_file():
        raise ValueError(f"path: there is no file {str(path)!r}")
    try:
        if path.suffix == ".safetensors":
            return {"": load_file(path)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an unusual pickle protocol: it reads it, or raises
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise _refusal(path, error) from error
    states: dict[str, State] = {}
    _collect(content, "", states)
    if not states:
        raise ValueError(f"path: {str(path)!r} holds no tensors by name, but a {type(content).__name__}")
    return states


def _collect(content: Any, place: str, states: dict[str, State]) -> None:
    """Add the tensors of a dict, and of the dicts inside, to `states`."""
    if not isinstance(content, Mapping) or place.count(".") >= _DEEPEST:
        return
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if tensors:
        states[place] = tensors
    for name, value in content.items():
        if isinstance(name, str) and not name.startswith(_OPTIMIZERS):
            _collect(value, f"{place}.{name}".removeprefix("."), states)


def _refusal(path: Path, error: Exception) -> ValueError:
    """Say why a file is not read, and what to do where it holds objects."""
    refused = _REFUSED.search(str(error))
    if refused is None:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        return ValueError(
            f"path: {str(path)!r} is neither safetensors nor a torch file of plain tensors (foreign files are never "
            f"unpickled): {reason}"
        )
    return ValueError(
        f"path: {str(path)!r} holds more than tensors and plain values: {refused[1]}. To read that could run code, so "
        "nothing of it was read. If you trust its origin, save its weights alone, in the environment that wrote it: "
        f"c = torch.load({path.name!r}, map_location='cpu', weights_only=False); "
        "torch.save({'state_dict': c['state_dict']}, 'weights.pth') (for a whole module: c.state_dict())"
    )
