"""Checkpoints: the complete state of a run in one file that is always whole, random generators included."""

import random
import time
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from barlow.files import durable_file, make_folder
from barlow.seams import Around, inside
from barlow.training.journal import KEPT, Journal
from barlow.training.processes import agreed
from barlow.training.schedule import Schedule
from barlow.training.sharding import gather, restore_state, spread, state_of

MOST_NAMED = 3
"""Differences between a checkpoint and its run that an error names."""
DRAWN_ANEW = "dropout, sub-batches of W-MSE and directions of SIGReg"
"""What torch's own generators decide, each process having its own; views follow from seed and step alone."""


@dataclass
class Resumable:
    """The state of a run and its checkpoint file: weights and buffers, the optimizer's moments, generators.

    Attributes:
        journal: told of every checkpoint and resume.
        minutes: time between checkpoints.
        schedule: whose decisions go with the state.
        identity: numbers of the run by name, kept in the file and compared when the run goes on.
        trained: the copy of the method that is trained, in shards; None: the method itself.
    """

    method: nn.Module
    optimizer: Optimizer
    fabric: Fabric
    path: Path
    journal: Journal
    minutes: float
    schedule: Schedule
    identity: Mapping[str, Any] = field(default_factory=dict)
    trained: nn.Module | None = None
    _saved_at: float = field(default_factory=time.monotonic)

    def resume(self) -> int:
        """Load the checkpoint if there is one; return the number of steps already done."""
        if not agreed(self.fabric, self.path.exists())[0]:
            self.journal.rewind(0)  # steps of a sitting that was killed before its first checkpoint
            return 0
        state = load_checkpoint(self.path)
        restore_method(self.method, state, self.path, self.identity)
        spread(self.method, self.trained or self.method)
        restore_state(self.optimizer, state["optimizer"])
        if precision := state.get("precision"):  # nothing but in float16, and in checkpoints of before
            self.fabric.strategy.precision.load_state_dict(precision)
        self.schedule.restore(state.get("schedule", []))  # not in checkpoints of before
        step = int(state["step"])
        self.journal.rewind(step)
        if len(state["random"]) == self.fabric.world_size:
            restore_random_state(state["random"][self.fabric.global_rank])
        else:
            before = f"{len(state['random'])} processes before, {self.fabric.world_size} now"
            self.journal.write("warning", message=f"{before}: {DRAWN_ANEW} go on with other random numbers")
        self.journal.write("resume", step=step)
        return step

    def save(self, step: int) -> None:
        """Write the state after `step` steps; every process takes part, the first one writes.

        The journal up to here is on the disk before the checkpoint counts. NonFiniteLossError: there are weights that
        are not finite; the checkpoint before stays. FileNotFoundError: the folder is gone.
        """
        gather(self.trained or self.method, self.method)
        require_finite_weights(self.method, step, self.journal)
        self.journal.sync()
        random, moments = self._random_of_all(), state_of(self.optimizer)
        if self.fabric.is_global_zero:
            state = {
                "step": step,
                "recipe": dict(self.identity),
                "method": inside(self.method).state_dict(),
                "around": _around(self.method),
                "optimizer": moments,
                "precision": self.fabric.strategy.precision.state_dict(),  # the scale of losses in float16
                "random": random,
                "schedule": self.schedule.state(),
            }
            make_folder(self.path.parent)
            save_checkpoint(self.path, state)
            self.journal.write("checkpoint", step=step)
        self.fabric.barrier()
        self._saved_at = time.monotonic()

    def is_due(self) -> bool:
        """Whether the interval is over; the first process's clock says so, for all."""
        return self.fabric.is_global_zero and time.monotonic() - self._saved_at >= self.minutes * 60

    def _random_of_all(self) -> list[Any]:
        mine = random_state()
        if self.fabric.world_size == 1:
            return [mine]
        states: list[Any] = [None] * self.fabric.world_size
        torch.distributed.all_gather_object(states, mine)
        return states


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


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state` so that `path` holds the old checkpoint or the whole new one, even after `kill -9`.

    Since the rename is atomic and follows the sync, the next checkpoint never breaks the last one, and there is no use
    in keeping the one before it. `state` holds tensors, plain Python values, and dicts, lists, tuples and sets of them,
    so that it loads without unpickling objects; anything else, a NumPy value for one, is a ValueError with its place.
    """
    _require_plain(state, "state")
    with durable_file(path, kept=KEPT) as file:
        torch.save(dict(state), file)


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


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return the state that `save_checkpoint` wrote, its tensors on the CPU.

    Checks every byte first: torch alone does not notice a flipped bit. ValueError: no such file, one that is truncated
    or corrupted, or one that holds other objects.
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


def restore_method(
    method: nn.Module, state: Mapping[str, Any], path: Path, identity: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Put the weights of a checkpoint into the method of a run; ValueError where the file is of another run.

    What is around the method gets its own weights too.

    `identity` are the numbers of this run; those that the file carries too have to be the same. Files of before carry
    none: then the first weights that do not fit are named.
    """
    theirs = state.get("recipe", {})
    differing = [
        f"{name} is {theirs[name]!r} there and {here!r} here"
        for name, here in identity.items()
        if name in theirs and theirs[name] != here
    ]
    own, around = inside(method), state.get("around", {})
    differing = differing or [*shape_differences(own, state["method"]), *_differing(_around(method), around)]
    if differing:
        more = f" and {len(differing) - MOST_NAMED} more" if len(differing) > MOST_NAMED else ""
        raise ValueError(
            f"checkpoint: {path} is of another run: {'; '.join(differing[:MOST_NAMED])}{more}; wanted the file that "
            "this run wrote, or another folder to start anew in"
        )
    own.load_state_dict(state["method"])
    method.load_state_dict(around, strict=False)  # the rest is there already


def shape_differences(method: nn.Module, weights: Mapping[str, Any]) -> list[str]:
    """Name the weights of a file that do not fit a method, each with both shapes."""
    return _differing(method.state_dict(), weights)


def _around(method: nn.Module) -> dict[str, Any]:
    """The weights of what is around a method, without those of the method itself; nothing of a method alone."""
    depth, one = 0, method
    while isinstance(one, Around):
        depth, one = depth + 1, one.method
    return {name: value for name, value in method.state_dict().items() if not name.startswith("method." * depth)}


def _differing(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    shapes = {name: (_shape(found.get(name)), _shape(wanted.get(name))) for name in {**wanted, **found}}
    return [f"{name} is {a} there and {b} here" for name, (a, b) in shapes.items() if a != b]


def _shape(value: Any) -> str:
    return f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else "missing"


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
    """Put the generators back to where `random_state` found them, in this process or in an earlier one.

    A run that goes on with another number of GPUs cannot repeat their draws; their generators are then left alone.
    """
    random.setstate(state["python"])
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


class NonFiniteLossError(ValueError):
    """The loss, one of its parts, or the weights became infinite or not a number."""


def require_finite_weights(method: nn.Module, step: int, journal: Journal) -> None:
    """Refuse weights that are not finite, before they are saved: a finite loss may have had a gradient that was not."""
    broken = [name for name, weight in method.named_parameters() if not bool(weight.detach().isfinite().all())]
    if broken:
        message = (
            f"{len(broken)} of the weights, {broken[0]!r} first, are not finite after step {step}: a gradient was not, "
            "though the loss was"
        )
        journal.write("error", message=message, step=step)
        raise non_finite(message)


def non_finite(message: str) -> NonFiniteLossError:
    """Return the error that ends a run, with what a person can do."""
    return NonFiniteLossError(f"{message}; the last good checkpoint is kept. A lower learning rate or warm-up helps")
