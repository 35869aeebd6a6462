"""Weights from a file into a network: never unpickled, matched by exact prefix, nothing lost in silence."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import adapt_input_conv
from torch import Tensor, nn

CONTAINERS = ("state_dict", "model", "backbone")
"""Entries under which training scripts keep the weights (the official Barlow Twins checkpoint: "model")."""
PREFIXES = (
    "",
    "module.",
    "backbone.",
    "network.",
    "module.backbone.",
    "backbone.network.",
    "module.network.",
    "module.backbone.network.",
)
"""What wrappers put before a backbone's own names: DataParallel, a method's attribute, and `Backbone`."""
HEADS = ("fc", "classifier", "head", "heads", "projector")
"""Names whose weights a backbone has no use for, so that leaving them out is not worth a warning."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint, from safetensors or from a torch file with `weights_only=True`.

    Args:
        path: the file; one that keeps its weights under "state_dict", "model" or "backbone" is opened there.

    Returns:
        Tensors on the CPU by name, as they are called in the file.

    Raises:
        ValueError: no such file, a file of another kind, or one without tensors.
    """
    if not path.is_file():
        raise ValueError(f"pretrained: no file {str(path)!r}; wanted: '', 'default' or the path of a file of weights")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an unusual pickle protocol: it reads it, or raises
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ValueError(
            f"pretrained: {str(path)!r} is neither safetensors nor a torch file of plain tensors (foreign "
            f"files are never unpickled): {next(iter(str(error).splitlines()), type(error).__name__)}"
        ) from error
    for container in CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(container), Mapping):
            content = content[container]
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, Mapping) else {}
    if not tensors:
        raise ValueError(f"pretrained: {str(path)!r} holds no tensors by name")
    return tensors


def load_weights(network: nn.Module, path: Path) -> None:
    """Load the weights of a file into a network; every parameter of the network has to be found in it.

    A prefix that wrappers add ("module.", "backbone.", ...) is recognised and taken off whole. A first
    convolution for three channels is adapted to another number. Weights in the file that the network does not
    know are left out, with a warning unless they belong to a head.

    Args:
        network: changed in place.
        path: safetensors, or a torch file that `weights_only=True` can read.

    Raises:
        ValueError: the file cannot be read, or weights are missing in it or have another shape; the message
            lists them.
    """
    found = read_weights(path)
    wanted = network.state_dict()
    prefix = max(PREFIXES, key=lambda candidate: sum(candidate + name in found for name in wanted))
    state = {name: found[prefix + name] for name in wanted if prefix + name in found}
    state = {name: _to_channels(value, wanted[name]) for name, value in state.items()}
    # Checkpoints of before 2018 have no such counter, and nothing reads it.
    missing = [n for n in wanted if n not in state and not n.endswith("num_batches_tracked")]
    if missing:
        raise ValueError(
            f"pretrained: {str(path)!r} lacks {len(missing)} of the {len(wanted)} weights of "
            f"{type(network).__name__}: {_listed(missing)}; the file has {_listed(list(found))}"
        )
    wrong = [n for n, value in state.items() if value.shape != wanted[n].shape]
    if wrong:
        shapes = [f"{n}: {tuple(state[n].shape)} in the file, {tuple(wanted[n].shape)} wanted" for n in wrong]
        raise ValueError(
            f"pretrained: {str(path)!r} has other shapes (another stem, width or image size?): {_listed(shapes)}"
        )
    network.load_state_dict(state, strict=False)
    left = [n for n in found if n.startswith(prefix) and n.removeprefix(prefix) not in wanted]
    left = [n for n in left if n.removeprefix(prefix).split(".")[0] not in HEADS]
    if left:
        warnings.warn(f"pretrained: {len(left)} weights of {path.name} were left out: {_listed(left)}", stacklevel=2)


def _to_channels(value: Tensor, like: Tensor) -> Tensor:
    """Adapt an RGB convolution to the input channels of `like` where that is all that differs."""
    same_but_channels = value.ndim == 4 and value.shape[:1] + value.shape[2:] == like.shape[:1] + like.shape[2:]
    if same_but_channels and value.shape[1] == 3 != like.shape[1]:
        adapted: Tensor = adapt_input_conv(like.shape[1], value)
        return adapted
    return value


def _listed(names: list[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
