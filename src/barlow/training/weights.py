"""The weights of a backbone in a file: safetensors, never a pickle."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from barlow.files import durable_file

WEIGHTS = "backbone.safetensors"
"""File name in the folder of checkpoints of a run."""


def write_weights(path: Path, network: nn.Module, more: Mapping[str, Tensor] | None = None) -> None:
    """Write the weights of a network, and `more` by name; makes the folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # safetensors wants memory of its own and in order, which channels_last weights are not.
    layout, given = torch.contiguous_format, network.state_dict() | dict(more or {})
    state = {name: t.detach().cpu().clone(memory_format=layout) for name, t in given.items()}
    with durable_file(path) as file:
        file.write(save(state))


def read_weights(path: Path, network: nn.Module) -> None:
    """Fill a network with the weights in a file; ValueError where they are none, or do not fit."""
    if not path.is_file():
        raise ValueError(f"folder: {str(path.parent)!r} has no {path.name}; wanted: what a finished run left")
    try:
        network.load_state_dict(load_file(path))
    except (RuntimeError, SafetensorError) as error:
        raise ValueError(f"folder: the weights in {str(path.parent)!r} do not fit the network: {error}") from error
