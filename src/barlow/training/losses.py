"""The losses of a run as numbers: looked at in every step, written now and then, without a GPU being waited for.

A number of a GPU is there when everything before it is done, so a host that asks for it at once has no work ready for
the GPU afterwards. On CUDA the terms of a step are therefore copied beside its work, and looked at in the next step. So
a loss that is not finite ends a run one step later than on a CPU, with the same step and term in the journal; and since
everything is looked at before a checkpoint, the last good one stays.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from barlow.seams import Terms
from barlow.training.checkpoint import non_finite
from barlow.training.journal import Journal


@dataclass
class _OfStep:
    """The terms of one step on their way to the host.

    Attributes:
        values: the total, then the parts; of use once `arrived`.
        arrived: event on the GPU, None where the values are there.
        record: further fields of a record of the step, None where the journal has none of it.
    """

    step: int
    names: tuple[str, ...]
    values: Tensor
    arrived: Any
    record: dict[str, Any] | None = None


class Losses:
    """What the loop is told of its losses, and what the journal is."""

    def __init__(self, journal: Journal, floor: float | None) -> None:
        """`floor` is what the loss cannot go below, None where no such number is known."""
        self._journal, self._floor = journal, floor
        self._last: _OfStep | None = None
        self.loss = float("nan")

    def follow(self, terms: Terms, step: int) -> float:
        """Take the terms of step `step` (from 1); return the newest loss that is known, NaN before there is one.

        NonFiniteLossError, noted in the journal, where the one that has become known is not finite.
        """
        self.settle()
        self._last = _on_their_way(terms, step)
        if self._last.arrived is None:
            self._look()
        return self.loss

    def record(self, **fields: Any) -> None:
        """Write the newest step with its terms and these fields; where they are still on their way, with the next."""
        if self._last is not None:
            self._last.record = fields
            if self._last.arrived is None:
                self.settle()

    def settle(self) -> None:
        """Wait for what is on its way, look at it and write its record; before checkpoints and at the end."""
        if self._last is None:
            return
        if self._last.arrived is not None:
            self._last.arrived.synchronize()
            self._last.arrived = None
            self._look()
        self._write()
        self._last = None

    def _look(self) -> None:
        assert self._last is not None
        loss, *parts = self._last.values.tolist()
        if loss - loss != 0.0:  # inf and nan
            self._refuse(loss, dict(zip(self._last.names, parts, strict=True)), self._last.step)
        self.loss = loss

    def _refuse(self, loss: float, parts: dict[str, float], step: int) -> None:
        culprit = next((name for name, value in parts.items() if value - value != 0.0), "total")
        message = f"the loss is {loss} at step {step}: the first term that is not finite is {culprit!r}"
        self._journal.write("error", message=message, step=step, parts=parts)
        raise non_finite(message)

    def _write(self) -> None:
        assert self._last is not None
        if self._last.record is None:
            return
        loss, *parts = self._last.values.tolist()
        above = {} if self._floor is None else {"floor": self._floor, "excess": loss - self._floor}
        named = dict(zip(self._last.names, parts, strict=True))
        head = {"step": self._last.step, "epoch": self._last.record.pop("epoch")}
        self._journal.write("step", **head, loss=loss, parts=named, **above, **self._last.record)


def _on_their_way(terms: Terms, step: int) -> _OfStep:
    """Start the copy of all terms: one, into pinned memory, with an event behind it."""
    total = terms.total.detach()
    names = tuple(terms.parts)
    if not total.is_cuda:
        numbers = [float(total), *(float(part.detach()) for part in terms.parts.values())]
        return _OfStep(step, names, torch.tensor(numbers, dtype=torch.float64), None)
    parts = [part.detach().to(total.device, total.dtype, non_blocking=True) for part in terms.parts.values()]
    there = torch.stack([total, *parts])
    here = torch.empty_like(there, device="cpu", pin_memory=True).copy_(there, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()
    return _OfStep(step, names, here, arrived)
