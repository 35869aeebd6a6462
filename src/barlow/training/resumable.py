"""All that a run needs to go on, and when it was last written."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim import Optimizer

from barlow.training.checkpoint import load_checkpoint, random_state, restore_random_state, save_checkpoint
from barlow.training.journal import Journal
from barlow.training.non_finite import require_finite_weights
from barlow.training.processes import agreed

DRAWN_ANEW = "dropout, sub-batches of W-MSE and directions of SIGReg"
"""What torch's own generators decide, each process having its own; views follow from seed and step alone."""


@dataclass
class Resumable:
    """The state of a run and its checkpoint file.

    Attributes:
        method: its weights and buffers.
        optimizer: its moments.
        fabric: processes.
        path: the checkpoint.
        journal: told of every checkpoint and resume.
        minutes: time between checkpoints.
    """

    method: nn.Module
    optimizer: Optimizer
    fabric: Fabric
    path: Path
    journal: Journal
    minutes: float
    _saved_at: float = field(default_factory=time.monotonic)

    def resume(self) -> int:
        """Load the checkpoint if there is one; return the number of steps already done."""
        if not agreed(self.fabric, self.path.exists())[0]:
            self.journal.rewind(0)  # steps of a sitting that was killed before its first checkpoint
            return 0
        state = load_checkpoint(self.path)
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.fabric.strategy.precision.load_state_dict(state.get("precision", {}))
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

        Raises:
            NonFiniteLossError: there are weights that are not finite; the checkpoint before stays.
        """
        require_finite_weights(self.method, step, self.journal)
        random = self._random_of_all()
        if self.fabric.is_global_zero:
            state = {
                "step": step,
                "method": self.method.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "precision": self.fabric.strategy.precision.state_dict(),  # the scale of losses in float16
                "random": random,
            }
            save_checkpoint(self.path, state)
            self.journal.write("checkpoint", step=step)
        self.fabric.barrier()
        self._saved_at = time.monotonic()

    def save_if_due(self, step: int) -> None:
        """Save when the interval is over, as the first process's clock says."""
        due = self.fabric.is_global_zero and time.monotonic() - self._saved_at >= self.minutes * 60
        if agreed(self.fabric, due)[0]:
            self.save(step)

    def _random_of_all(self) -> list[Any]:
        mine = random_state()
        if self.fabric.world_size == 1:
            return [mine]
        states: list[Any] = [None] * self.fabric.world_size
        torch.distributed.all_gather_object(states, mine)
        return states
