"""The loop: source -> views -> method -> terms -> journal. It knows neither the method nor the modality.

    for each step:  views = draw(batch);  terms = method(views);  backward;  optimizer step;  journal

Nothing random is carried from step to step except torch's generators (dropout), which the checkpoint holds: the
order of samples follows from (seed, epoch), the views from (seed, step, process). So a run that was killed goes on
from its last checkpoint to the same final weights, bit for bit on a CPU.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from barlow.data.source import Batch, Source
from barlow.methods.terms import Terms
from barlow.training.checkpoint import load_checkpoint, random_state, restore_random_state, save_checkpoint
from barlow.training.interrupt import StopFlag, graceful_stop
from barlow.training.journal import Journal, read_journal
from barlow.training.progress import StepProgress
from barlow.training.schedules import set_learning_rate
from barlow.views.views import Views

MAX_STEP_RECORDS = 2000
"""Step records in the journal of one run; a longer run records every k-th step."""


class NonFiniteLossError(ValueError):
    """The loss or one of its parts became infinite or not a number."""


@dataclass(frozen=True)
class Probe:
    """Figures taken from the method between epochs: `figures(step)` every `every_epochs`, first before training."""

    every_epochs: int
    figures: Callable[[int], dict[str, float]]


@dataclass(frozen=True)
class Plan:
    """The numbers of the loop; see `Recipe` for what they mean.

    Attributes:
        epochs: passes over the data.
        batch_size: samples per step over all processes.
        seed: decides order and views.
        factor: step -> multiple of the peak learning rate.
        clip_norm: largest gradient norm, 0 for none.
        checkpoint_minutes: time between checkpoints; the most that a kill can lose.
        floor: what the loss cannot go below, None where no such number is known.
    """

    epochs: int
    batch_size: int
    seed: int
    factor: Callable[[int], float]
    clip_norm: float = 0.0
    checkpoint_minutes: float = 5.0
    floor: float | None = None


def steps_per_epoch(num_samples: int, batch_size: int) -> int:
    """Return the full batches in one pass; the incomplete one is left to the next epoch's other order."""
    return max(1, num_samples // batch_size)


def epoch_order(num_samples: int, *, plan: Plan, epoch: int, first_step: int, rank: int, world: int) -> Tensor:
    """Return the positions that process `rank` reads in `epoch` from its step `first_step` on, batch after batch.

    One permutation from (seed, epoch) on every process; batch b is the b-th run of `batch_size` positions, and
    process r takes every W-th of them from r on. So W processes together see the batches that one would see.
    """
    generator = torch.Generator().manual_seed(hash_seed(plan.seed, epoch, 0))
    order = torch.randperm(num_samples, generator=generator)
    count = steps_per_epoch(num_samples, plan.batch_size)
    batches = order[: count * plan.batch_size].view(count, -1)
    return batches[first_step:, rank::world].reshape(-1)


def hash_seed(*numbers: int) -> int:
    """Mix whole numbers into one seed; neighbouring inputs give unrelated generators (a 64-bit FNV-style mix)."""
    mixed = 0xCBF29CE484222325
    for number in numbers:
        mixed = ((mixed ^ (number & 0xFFFFFFFFFFFFFFFF)) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        mixed ^= mixed >> 29
    return mixed >> 1


def pretrain(
    source: Source,
    views: Views,
    method: nn.Module,
    optimizer: Optimizer,
    plan: Plan,
    *,
    fabric: Fabric,
    folder: Path,
    journal: Journal,
    probes: Sequence[Probe] = (),
    progress: StepProgress,
) -> bool:
    """Train `method` on two or more views of every batch, from the last checkpoint in `folder` if there is one.

    Args:
        source: samples by position.
        views: the pipelines.
        method: views -> Terms, not yet set up with `fabric`.
        optimizer: over the parameters of `method`; groups carry their peak learning rate.
        plan: the numbers.
        fabric: devices, precision and processes.
        folder: the run folder; the checkpoint is `checkpoints/last.ckpt`.
        journal: where every event goes.
        probes: figures between epochs.
        progress: shows rate and time left.

    Returns:
        True when the last step was reached, False when a signal asked to stop: the checkpoint is written then.

    Raises:
        NonFiniteLossError: a term is not finite; the last good checkpoint stays.
    """
    checkpoint = folder / "checkpoints" / "last.ckpt"
    per_epoch = steps_per_epoch(len(source), plan.batch_size)
    total_steps = plan.epochs * per_epoch
    state = _State(method, optimizer, fabric, checkpoint, journal, plan.checkpoint_minutes)
    first_step = state.resume()
    wrapped, wrapped_optimizer = fabric.setup(method, optimizer)
    every = max(1, total_steps // MAX_STEP_RECORDS)
    if first_step == 0:
        _probe(probes, method, fabric, journal, step=0, epoch=0, due=lambda _: True)
    noted = {r["index"] for r in read_journal(journal.path) if r["event"] == "bad_sample"} if journal.enabled else set()
    started = time.perf_counter()
    with graceful_stop() as stop, progress.running(total_steps, start=first_step):
        for step, batch in _batches(source, plan, fabric, first_step=first_step):
            samples = fabric.to_device(batch.samples)
            drawn = views.draw(samples, _generator(plan.seed, step, fabric.global_rank))
            set_learning_rate(optimizer, plan.factor(step))
            method.train()
            terms: Terms = wrapped(drawn)
            loss = _finite_loss(terms, step, journal)
            fabric.backward(terms.total)
            if plan.clip_norm:
                fabric.clip_gradients(wrapped, wrapped_optimizer, max_norm=plan.clip_norm)
            wrapped_optimizer.step()
            wrapped_optimizer.zero_grad(set_to_none=True)
            rate = progress.advance(len(batch.indices) * fabric.world_size, loss=loss, floor=plan.floor)
            done = step + 1
            if done % every == 0 or done == total_steps:
                fields = {"learning_rate": optimizer.param_groups[0]["lr"], "samples_per_second": rate}
                _record(journal, terms, done, done / per_epoch, plan.floor, fields)
            if done % per_epoch == 0:
                _note_bad_samples(source, journal, noted)
                epoch = done // per_epoch
                due = _due_at(epoch, plan.epochs)
                _probe(probes, method, fabric, journal, step=done, epoch=epoch, due=due)
            if _anywhere(stop, fabric):
                state.save(done)
                journal.write("interrupted", step=done, seconds=time.perf_counter() - started)
                return done == total_steps
            state.save_if_due(done, last=done == total_steps)
    journal.write("finish", step=total_steps, seconds=time.perf_counter() - started)
    return True


@dataclass
class _State:
    """All that a run needs to go on, and when it was last written."""

    method: nn.Module
    optimizer: Optimizer
    fabric: Fabric
    path: Path
    journal: Journal
    minutes: float

    def resume(self) -> int:
        """Load the checkpoint if there is one; return the number of steps already done."""
        self.saved_at = time.monotonic()
        if not self.path.exists():
            return 0
        state = load_checkpoint(self.path)
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])
        restore_random_state(state["random"][self.fabric.global_rank])
        step = int(state["step"])
        self.journal.rewind(step)
        self.journal.write("resume", step=step)
        return step

    def save(self, step: int) -> None:
        """Write the state after `step` steps; every process takes part, the first one writes."""
        random = self._random_of_all()
        if self.fabric.is_global_zero:
            state = {
                "step": step,
                "method": self.method.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "random": random,
            }
            save_checkpoint(self.path, state)
            self.journal.write("checkpoint", step=step)
        self.fabric.barrier()
        self.saved_at = time.monotonic()

    def save_if_due(self, step: int, *, last: bool) -> None:
        """Save when the interval is over, as the first process's clock says, or at the end."""
        due = last or time.monotonic() - self.saved_at >= self.minutes * 60
        if self.fabric.world_size > 1:
            due = bool(self.fabric.broadcast(due, src=0))
        if due:
            self.save(step)

    def _random_of_all(self) -> list[Any]:
        mine = random_state()
        if self.fabric.world_size == 1:
            return [mine]
        states: list[Any] = [None] * self.fabric.world_size
        torch.distributed.all_gather_object(states, mine)
        return states


def _batches(source: Source, plan: Plan, fabric: Fabric, *, first_step: int) -> Iterator[tuple[int, Batch]]:
    """Yield (step, this process's batch) from `first_step` to the end of the run."""
    per_epoch = steps_per_epoch(len(source), plan.batch_size)
    world, rank = fabric.world_size, fabric.global_rank
    local = len(range(rank, plan.batch_size, world))
    for epoch in range(first_step // per_epoch, plan.epochs):
        start = max(first_step - epoch * per_epoch, 0)
        order = epoch_order(len(source), plan=plan, epoch=epoch, first_step=start, rank=rank, world=world)
        for offset, batch in enumerate(source.batches(order.tolist(), local)):
            yield epoch * per_epoch + start + offset, batch


def _generator(seed: int, step: int, rank: int) -> torch.Generator:
    return torch.Generator().manual_seed(hash_seed(seed, step, rank + 1))


def _finite_loss(terms: Terms, step: int, journal: Journal) -> float:
    loss = float(terms.total.detach())
    if loss - loss == 0.0:  # false for inf and nan, without another look at the tensor
        return loss
    parts = {name: float(value.detach()) for name, value in terms.parts.items()}
    culprit = next((name for name, value in parts.items() if value - value != 0.0), "total")
    message = f"the loss is {loss} at step {step + 1}: the first term that is not finite is {culprit!r}"
    journal.write("error", message=message, step=step + 1, parts=parts)
    raise NonFiniteLossError(f"{message}; the last good checkpoint is kept. A lower learning rate or warm-up helps")


def _record(
    journal: Journal, terms: Terms, step: int, epoch: float, floor: float | None, fields: dict[str, float]
) -> None:
    loss = float(terms.total.detach())
    parts = {name: float(value.detach()) for name, value in terms.parts.items()}
    above = {} if floor is None else {"floor": floor, "excess": loss - floor}
    journal.write("step", step=step, epoch=epoch, loss=loss, parts=parts, **above, **fields)


def _note_bad_samples(source: Source, journal: Journal, noted: set[int]) -> None:
    """Write what could not be read since the last time."""
    for index in sorted(source.bad.keys() - noted):
        journal.write("bad_sample", index=index, what=source.describe(index), reason=source.bad[index])
    noted.update(source.bad)


def _due_at(epoch: int, epochs: int) -> Callable[[Probe], bool]:
    return lambda probe: epoch % probe.every_epochs == 0 or epoch == epochs


def _probe(
    probes: Sequence[Probe],
    method: nn.Module,
    fabric: Fabric,
    journal: Journal,
    *,
    step: int,
    epoch: int,
    due: Callable[[Probe], bool],
) -> None:
    """Take the figures that are due, on the first process, in evaluation mode; leave no trace in any generator."""
    if not any(due(probe) for probe in probes):
        return
    if fabric.is_global_zero:
        method.eval()
        before = random_state()
        figures: dict[str, float] = {}
        with torch.inference_mode(), fabric.autocast():
            for probe in probes:
                figures |= probe.figures(step) if due(probe) else {}
        restore_random_state(before)
        method.train()
        journal.write("probe", step=step, epoch=epoch, figures=figures)
    fabric.barrier()


def _anywhere(stop: StopFlag, fabric: Fabric) -> bool:
    """Whether any process was asked to stop; all of them then stop after the same step."""
    if fabric.world_size == 1:
        return bool(stop)
    asked = torch.tensor(float(bool(stop)), device=fabric.device)
    fabric.all_reduce(asked, reduce_op="max")
    return bool(asked)
