"""Checkpoints: the complete state of a run in one file that is always whole, random generators included."""

import random
import zipfile
from collections import OrderedDict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn

from barlow.training.durable_file import durable_file

PLAIN = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    Tensor,
    nn.Parameter,
    torch.dtype,
    torch.device,
    torch.Size,
)


class _Absent:
    def __repr__(self) -> str:
        return "absent"


_ABSENT = _Absent()


class RecipeChangedError(ValueError):
    """A run was to be resumed with another recipe than it was started with."""

    def __init__(self, differences: list[str]) -> None:
        """Name the fields.

        Args:
            differences: what `recipe_differences` returned, not empty.
        """
        self.differences = differences
        super().__init__(
            "recipe: this run was started with other values, and resuming would mix two runs: "
            + "; ".join(differences)
            + ". Resume with the old values, or start anew in another folder"
        )


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state` so that `path` holds the old checkpoint or the whole new one, even after `kill -9`.

    Since the rename is atomic and follows the sync, the next checkpoint never breaks the last one, and
    there is no use in keeping the one before it.

    Args:
        path: the file to replace or to make; its folder is made where it is missing.
        state: tensors, plain Python values, and dicts, lists, tuples and sets of them, so that it loads
            without unpickling objects.

    Raises:
        ValueError: anything else in `state`, a NumPy value for one, with its place.
    """
    _require_plain(state, "state")
    path.parent.mkdir(parents=True, exist_ok=True)
    with durable_file(path) as file:
        torch.save(dict(state), file)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return the state that `save_checkpoint` wrote, its tensors on the CPU.

    Checks every byte first: torch alone does not notice a flipped bit.

    Args:
        path: a checkpoint.

    Returns:
        The state.

    Raises:
        ValueError: no such file, one that is truncated or corrupted, or one that holds other objects.
    """
    if not path.is_file():
        raise ValueError(f"checkpoint: there is no file {path}")
    with path.open("rb") as file:
        _require_intact(file, path)
        file.seek(0)
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds, and each means that the file is none of ours.
            reason = str(error).partition("\n")[0]
            raise ValueError(f"checkpoint: {path} is corrupted, or none that barlow wrote: {reason}") from error
    if not isinstance(state, dict):
        raise ValueError(f"checkpoint: {path} holds a {type(state).__name__}, wanted a dict that barlow wrote")
    return state


def _require_intact(file: IO[bytes], path: Path) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            broken = archive.testzip()
    except Exception as error:  # Depending on the byte that is wrong, zipfile raises anything from struct.error up.
        raise ValueError(f"checkpoint: {path} is truncated, corrupted, or no checkpoint at all ({error})") from error
    if broken is not None:
        raise ValueError(f"checkpoint: {path} is corrupted: its part {broken} does not match its checksum")


def random_state() -> dict[str, Any]:
    """Return the states of the generators of Python, NumPy and torch (CPU, every GPU), fit for a checkpoint.

    Each process has its own: with several, gather them and give each its own back.

    Returns:
        A dict for `restore_random_state`.
    """
    # The global generators are what other people's code draws from, so they belong to the state of a run.
    name, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": (str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Put the generators back to where `random_state` found them.

    A run that goes on with another number of GPUs cannot repeat their draws; their generators are then left
    alone.

    Args:
        state: what `random_state` returned, in this process or in an earlier one.
    """
    random.setstate(state["python"])
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def recipe_differences(
    old: Mapping[str, Any], new: Mapping[str, Any], *, may_change: Collection[str] = ()
) -> list[str]:
    """Return the fields that differ between two recipes, each with its old and its new value.

    Args:
        old: the recipe that the run was started with, as JSON gives it back.
        new: the recipe at hand.
        may_change: fields that decide no number of the run.

    Returns:
        One line per field, in the order of `new`; empty where the run may go on.
    """
    names = [*new, *(name for name in old if name not in new)]
    shown = {
        name: tuple(_as_json(recipe[name]) if name in recipe else _ABSENT for recipe in (old, new)) for name in names
    }
    return [
        f"{name} was {before!r}, now {now!r}"
        for name, (before, now) in shown.items()
        if before != now and name not in may_change
    ]


def _as_json(value: Any) -> Any:
    """Return a value as it comes back from JSON, which knows lists only."""
    return [_as_json(item) for item in value] if isinstance(value, list | tuple) else value


def _require_plain(value: Any, place: str) -> None:
    kind = type(value)  # Exact types: a NumPy float is a Python float to isinstance, and an object to the loader.
    if kind in PLAIN:
        return
    if kind in (dict, OrderedDict):
        for key, item in value.items():
            _require_plain(key, f"a key of {place}")
            _require_plain(item, f"{place}[{key!r}]")
    elif kind in (list, tuple, set):
        for index, item in enumerate(value):
            _require_plain(item, f"{place}[{index}]")
    else:
        raise ValueError(
            f"checkpoint: {place} is a {kind.__module__}.{kind.__qualname__}, wanted tensors and plain "
            "Python values only, so that it loads without unpickling objects"
        )
